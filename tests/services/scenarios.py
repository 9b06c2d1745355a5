"""One worker at a time, and what happens to it."""
import gzip
import json
import os
import subprocess
import time
from collections import Counter

from lake import counts, keys, same
from servers import BUCKET, KEY, REGION, SECRET, Case, Run, client
from stream import Feed, make_stream, partition, payloads, put


def drained(case: Case, kind):
    """Four shards, real lines, odd log groups: DuckDB counts exactly what was put."""
    stream, want = f"drained-{kind}", Counter()
    kinesis = make_stream(case.servers, stream, 4)
    groups = ["/aws/lambda/orders", "a.b#c/_-", "plain", "/ecs/web-api"]
    datas = []
    for data, want in payloads(case.lines, case.rng, 200, groups):
        datas.append(data)
    put(kinesis, stream, datas, case.rng)
    Run(case, stream, stream, "--drain", "--format", kind).done()
    told = same(counts(case.servers, stream, kind), want, f"drain as {kind}")
    return f"{told}, {read_by_the_cli(case, stream, want)}" if kind == "json" else told


def read_by_the_cli(case: Case, prefix, want) -> str:
    """The AWS CLI copies the objects, and gzip and json read each line."""
    env = {"PATH": os.environ["PATH"], "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    folder = case.folder / prefix
    subprocess.run(["aws", "--endpoint-url", f"http://127.0.0.1:{case.servers.s3}", "s3", "cp", "--recursive",
                    "--quiet", f"s3://{BUCKET}/{prefix}/log_events/", folder], env=env, check=True)
    objects = list(folder.rglob("*.json.gz"))
    rows = [json.loads(line) for path in objects for line in gzip.open(path)]
    assert len(rows) == len({row["event_id"] for row in rows}) == sum(want.values()), len(rows)
    columns = {"event_id", "timestamp", "message", "log_stream", "owner", "ingested_at"}
    assert all(set(row) == columns for row in rows), "other columns"
    return f"{len(objects)} objects by the AWS CLI"


def subscribed(case: Case):
    """Through CloudWatch Logs' own API: put-log-events, a subscription filter, the stream."""
    moto = case.servers.moto
    kinesis, logs = make_stream(case.servers, "subscribed", 1, moto), client("logs", moto)
    arn = kinesis.describe_stream_summary(StreamName="subscribed")["StreamDescriptionSummary"]["StreamARN"]
    role, now, want = "arn:aws:iam::123456789012:role/logs", int(time.time() * 1000), Counter()
    for group in ("/ecs/web", "/aws/lambda/x"):
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
        logs.put_subscription_filter(logGroupName=group, filterName="f", filterPattern="", destinationArn=arn,
                                     roleArn=role)
        for _ in range(10):
            events = [{"timestamp": now + number, "message": case.rng.choice(case.lines)} for number in range(40)]
            logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)
            want.update(partition(group, event["timestamp"]) for event in events)
    Run(case, "subscribed", "subscribed", "--drain", kinesis=moto).done()
    seen = {key: (count, count) for key, (count, _) in counts(case.servers, "subscribed").items()}
    return same(seen, want, "put-log-events")


def killed(case: Case, kills):
    """kill -9 at random moments, then a drain: everything once."""
    make_stream(case.servers, "killed", 3)
    feed, settings = Feed(case, "killed", [f"/kill/{n}" for n in range(5)]), {"FLUSH__INTERVAL": "1s", "LEASE_TIMEOUT": "1s"}
    for _ in range(kills):
        run = Run(case, "killed", "killed", **settings)
        end = time.monotonic() + case.rng.uniform(0.05, 4)
        while time.monotonic() < end:
            feed.put(3)
            time.sleep(0.05)
        run.kill()
    early = len(keys(case.servers, "killed/log_events/"))
    assert early > 0, "no object became visible between the kills"
    Run(case, "killed", "killed", "--drain", **settings).done()
    return f"{kills} kills, {early} objects by then: " + same(counts(case.servers, "killed"), feed.want, "kill -9")
