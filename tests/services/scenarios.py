"""One worker at a time, and what happens to it."""
import gzip
import json
import os
import subprocess
import time
from collections import Counter

from lake import Group, counts, keys, same, writers
from metrics import exported
from operating import balanced
from servers import BUCKET, KEY, REGION, SECRET, Case, Run, client, free_port, until
from stream import Feed, Feeder, make_stream, merge, multiply, partition, payloads, put, split

FAST = {"FLUSH__INTERVAL": "1s", "LEASE_TIMEOUT": "2s"}


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
    feed, settings = Feed(case, "killed", [f"/kill/{n}" for n in range(5)]), FAST | {"LEASE_TIMEOUT": "1s"}
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
    books = balanced(case, "killed")
    return f"{kills} kills, {early} objects by then, {books}: " + same(counts(case.servers, "killed"), feed.want, "kill -9")


def split_before(case: Case):
    """Split and merged before the first start: what the closed parents hold is delivered too."""
    kinesis, feed = make_stream(case.servers, "split-before", 2), Feed(case, "split-before")
    for reshard in (split, merge, split):
        feed.put(30)
        reshard(kinesis, "split-before", case.rng)
    feed.put(30)
    Run(case, "split-before", "split-before", "--drain").done()
    group = Group(case.servers, "split-before")
    group.assert_at_rest()
    return f"{group.told()}: " + same(counts(case.servers, "split-before"), feed.want, "split before the start")


def split_while_away(case: Case):
    """Stopped in good order; a shard is split, with records before and after it; started again."""
    kinesis, feed = make_stream(case.servers, "away", 2), Feed(case, "away")
    group, delivered = Group(case.servers, "away"), 0
    for reshard in (split, merge, None):
        feed.put(30)
        listen = f"127.0.0.1:{free_port()}"
        run = Run(case, "away", "away", HTTP__LISTEN=listen, **FAST)
        until(lambda: group.events() == feed.events, "everything is committed", 15)
        told = exported(listen, "default", feed.events - delivered)
        delivered = feed.events
        run.stop()
        group.assert_at_rest()
        if reshard:
            feed.put(30)
            reshard(kinesis, "away", case.rng)
    return f"{group.told()}, {told}: " + same(counts(case.servers, "away"), feed.want, "split while nobody ran")


def latest(case: Case):
    """From the latest on; stopped; shards are split and their children too, and multiplied: nobody has seen them all."""
    kinesis, feed = make_stream(case.servers, "latest", 1), Feed(case, "latest")
    feed.put(20)
    old = feed.events
    time.sleep(1.1)  # This server stamps records with whole seconds.
    settings = FAST | {"SOURCE__KINESIS__START": "latest"}
    run, group = Run(case, "latest", "latest", **settings), Group(case.servers, "latest")
    until(lambda: run.log.read_text().count(" reading ") == 1, "it reads its shard", 15)
    feed.put(20)
    until(lambda: group.events() == feed.events - old, "everything new is committed", 15)
    run.stop()
    for change in (split, split, split, multiply):
        feed.put(20)
        change(kinesis, "latest", case.rng)
        feed.put(20)
    time.sleep(2.1)
    Run(case, "latest", "latest", "--drain", **settings).done(60)
    group.assert_at_rest()
    seen = counts(case.servers, "latest")
    events = sum(count for count, _ in seen.values())
    assert events == sum(ids for _, ids in seen.values()) == feed.events - old, (events, feed.events, old)
    return f"{group.told()}: {events} events, and not the {old} from before"


def idle(case: Case, most):
    """A hundred shards with nothing on them, and the settings as they come: less than this share of a core."""
    make_stream(case.servers, "idle", 100)
    run = Run(case, "idle", "idle")
    until(lambda: run.log.read_text().count(" reading ") == 100, "it reads its shards", 30)
    time.sleep(5)

    def share():
        cpu, began = run.cpu_seconds(), time.monotonic()
        time.sleep(10)
        return (run.cpu_seconds() - cpu) / (time.monotonic() - began)

    shares = [share()]
    while min(shares) >= most and len(shares) < 4:
        shares.append(share())  # Others may have been busy meanwhile.
    run.stop()
    assert min(shares) < most, f"{shares} of a core"
    return f"{min(shares):.2%} of a core"


def killed_before_commit(case: Case):
    """Killed when it has read and not committed: the next worker takes its shards over and reads them again."""
    make_stream(case.servers, "uncommitted", 3)
    feed, group = Feed(case, "uncommitted"), Group(case.servers, "uncommitted")
    feed.put(30)
    first = Run(case, "uncommitted", "uncommitted", **FAST | {"FLUSH__INTERVAL": "10m"})
    until(lambda: first.log.read_text().count(" reading ") == 3, "it reads its shards", 15)
    feed.put(30)
    time.sleep(2)
    first.kill()
    assert group.events() == 0 and not keys(case.servers, "uncommitted/log_events/"), "it has committed"
    began = time.monotonic()
    second = Run(case, "uncommitted", "uncommitted", **FAST)
    until(lambda: group.events() == feed.events, "everything is committed by the next worker", 20)
    seconds = time.monotonic() - began
    second.stop()
    group.assert_at_rest()
    told = same(counts(case.servers, "uncommitted"), feed.want, "killed before it had committed")
    return f"{told}, by the next worker after {seconds:.1f} s"


def three_groups(case: Case):
    """Three groups on one stream, two of them in one lake: one is killed and started again, and disturbs nobody."""
    make_stream(case.servers, "shared", 3)
    feed = Feed(case, "shared")
    groups = [Group(case.servers, *place) for place in (("lake-a", "one"), ("lake-a", "two"), ("lake-b", "one"))]

    def run(group: Group):
        return Run(case, "shared", group.lake, "--group", group.name, **FAST)

    def worker(group: Group, run: Run):
        until(lambda: group.member(run), f"{run.log} is a member", 15)
        return group.member(run)

    with Feeder(feed):
        runs = [run(group) for group in groups]
        workers = [{worker(*each)} for each in zip(groups, runs)]
        case.moment(2)
        runs[0].kill()
        case.moment(1)
        runs[0] = run(groups[0])
        workers[0].add(worker(groups[0], runs[0]))
        case.moment(3)
    for group, run in zip(groups, runs):
        until(lambda: group.events() == feed.events, f"{group.folder} has everything", 20)
        run.stop()
        group.assert_at_rest()
    for run in runs[1:]:
        assert run.log.read_text().count(" joined ") == 1, f"disturbed: {run.tail()}"
    for group, ids in zip(groups, workers):
        told = same(counts(case.servers, group.lake, workers=ids), feed.want, group.folder)
    strangers = (writers(case.servers, "lake-a") | writers(case.servers, "lake-b")) - set().union(*workers)
    assert not strangers, f"objects of other workers: {strangers}"
    return f"each of {len(groups)} groups {told}"
