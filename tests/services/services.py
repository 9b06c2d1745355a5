"""The binary against real servers, read back with DuckDB. See `run` beside this file."""
import argparse
import gzip
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import boto3
import duckdb
import duckdb_extension_httpfs
from botocore.config import Config

REGION, BUCKET, KEY, SECRET = "us-east-1", "lake", "SERVICESKEY", "services-secret"
START = 1_711_083_600_000
processes = []


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start(command, folder, env=None):
    folder.mkdir(parents=True, exist_ok=True)
    log = open(folder / "log", "ab")
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=os.environ | (env or {}))
    processes.append(process)
    return process


def until(ready, what, seconds=60):
    end = time.monotonic() + seconds
    while True:
        try:
            if ready():
                return
        except Exception:
            pass
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def client(service, port, retries=5):
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": retries, "mode": "standard"})
    return boto3.client(service, endpoint_url=f"http://127.0.0.1:{port}", region_name=REGION, config=config,
                        aws_access_key_id=KEY, aws_secret_access_key=SECRET)


class Servers:
    def __init__(self, folder: Path, kinesis_binary: str):
        self.s3, self.kinesis, self.moto = free_port(), free_port(), free_port()
        others = ["s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
                  "filer.port.grpc", "admin.port", "admin.port.grpc"]
        start([shutil.which("weed"), f"-logdir={folder / 's3'}", "mini", f"-dir={folder / 's3'}", "-ip=127.0.0.1",
               "-ip.bind=127.0.0.1", f"-bucket={BUCKET}", "-s3.autoCreateBucket=false", "-s3.port.iceberg=0",
               "-s3.port.lance=0", "-admin.ui=false", "-webdav=false", "-master.telemetry=false",
               f"-s3.port={self.s3}", *(f"-{name}={free_port()}" for name in others)], folder / "s3",
              {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET})
        start([kinesis_binary, "--ignored", "--exact", "kinesis::serve"], folder / "kinesis",
              {"KINESIS_PORT": str(self.kinesis)})
        start([shutil.which("moto_server"), "-H", "127.0.0.1", "-p", str(self.moto)], folder / "moto")
        self.bucket = client("s3", self.s3)
        until(lambda: client("s3", self.s3, 0).put_object(Bucket=BUCKET, Key="ready", Body=b"1"), "SeaweedFS answers")
        until(lambda: client("kinesis", self.kinesis, 0).list_streams(), "ferrokinesis answers")
        until(lambda: client("kinesis", self.moto, 0).list_streams(), "moto answers")

    def environment(self, kinesis=None):
        return {"PATH": os.environ["PATH"], "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.s3}",
                "AWS_ENDPOINT_URL_KINESIS": f"http://127.0.0.1:{kinesis or self.kinesis}"}


class Run:
    """A running firemain, delivering one stream to one prefix of the bucket."""

    def __init__(self, servers, binary, stream, prefix, *args, kinesis=None, **settings):
        env = servers.environment(kinesis) | {f"FIREMAIN_{name}": value for name, value in settings.items()}
        command = [binary, "run", "--source", f"kinesis://{stream}", "--destination", f"s3://{BUCKET}/{prefix}", *args]
        self.process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        processes.append(self.process)

    def done(self, seconds=120):
        _, error = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0, f"exit {self.process.returncode}: {error[-800:]}"


def counts(servers, prefix, kind="parquet") -> dict:
    """DuckDB's count of rows and of distinct ids, by log group, date and hour."""
    extension = next(Path(duckdb_extension_httpfs.__path__[0]).rglob("httpfs.duckdb_extension"))
    with duckdb.connect(config={"allow_unsigned_extensions": "true"}) as sql:
        sql.execute(f"LOAD '{extension}'")
        sql.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET '{SECRET}', URL_STYLE 'path', "
                    f"ENDPOINT '127.0.0.1:{servers.s3}', USE_SSL false)")
        reader = "read_parquet" if kind == "parquet" else "read_json"
        suffix = "parquet" if kind == "parquet" else "json.gz"
        hive = "hive_partitioning=true, hive_types={log_group: VARCHAR, dt: VARCHAR, hour: VARCHAR}"
        rows = sql.execute(f"SELECT log_group, dt, hour, count(*), count(DISTINCT event_id) FROM {reader}("
                           f"'s3://{BUCKET}/{prefix}/log_events/**/*.{suffix}', {hive}) GROUP BY ALL").fetchall()
    return {(group, dt, hour): (count, ids) for group, dt, hour, count, ids in rows}


def make_stream(servers, name, shards, port=None):
    kinesis = client("kinesis", port or servers.kinesis)
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    until(lambda: kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] ==
          "ACTIVE", f"stream {name} is active")
    return kinesis


def payloads(lines, rng, records, groups, start=START):
    """Subscription payloads of real lines, with what must be counted of them."""
    number, want = 0, Counter()
    for _ in range(records):
        group, events = rng.choice(groups), []
        for _ in range(rng.randint(1, 60)):
            number += 1
            at = start + rng.randrange(3 * 3_600_000)
            events.append({"id": f"3{rng.randrange(10**30):030d}{number:025d}", "timestamp": at,
                           "message": rng.choice(lines)})
            moment = time.gmtime(at / 1000)
            want[group, time.strftime("%Y-%m-%d", moment), time.strftime("%H", moment)] += 1
        body = {"messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": group, "logStream": "s",
                "subscriptionFilters": ["f"], "logEvents": events}
        yield gzip.compress(json.dumps(body).encode()), want


def put(kinesis, stream, datas, rng):
    datas = list(datas)
    for first in range(0, len(datas), 100):
        entries = [{"Data": data, "PartitionKey": str(rng.random())} for data in datas[first:first + 100]]
        answer = kinesis.put_records(StreamName=stream, Records=entries)
        assert answer["FailedRecordCount"] == 0, answer


def same(seen, want, what):
    want = {key: (count, count) for key, count in want.items()}
    different = [(key, want.get(key), seen.get(key)) for key in want.keys() | seen.keys()
                 if want.get(key) != seen.get(key)]
    assert not different, f"{what}: (partition, put, seen) {different[:3]}"
    return f"{sum(count for count, _ in want.values())} events in {len(want)} partitions"


def drained(servers, binary, lines, rng, kind, folder):
    """Four shards, real lines, odd log groups: DuckDB counts exactly what was put."""
    stream, want = f"drained-{kind}", Counter()
    kinesis = make_stream(servers, stream, 4)
    groups = ["/aws/lambda/orders", "a.b#c/_-", "plain", "/ecs/web-api"]
    datas = []
    for data, want in payloads(lines, rng, 200, groups):
        datas.append(data)
    put(kinesis, stream, datas, rng)
    Run(servers, binary, stream, stream, "--drain", "--format", kind).done()
    told = same(counts(servers, stream, kind), want, f"drain as {kind}")
    return f"{told}, {read_by_the_cli(servers, folder, stream, want)}" if kind == "json" else told


def read_by_the_cli(servers, folder: Path, prefix, want) -> str:
    """The AWS CLI copies the objects, and gzip and json read each line."""
    env = {"PATH": os.environ["PATH"], "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    subprocess.run(["aws", "--endpoint-url", f"http://127.0.0.1:{servers.s3}", "s3", "cp", "--recursive", "--quiet",
                    f"s3://{BUCKET}/{prefix}/log_events/", folder], env=env, check=True)
    objects = list(folder.rglob("*.json.gz"))
    rows = [json.loads(line) for path in objects for line in gzip.open(path)]
    assert len(rows) == len({row["event_id"] for row in rows}) == sum(want.values()), len(rows)
    columns = {"event_id", "timestamp", "message", "log_stream", "owner", "ingested_at"}
    assert all(set(row) == columns for row in rows), "other columns"
    return f"{len(objects)} objects by the AWS CLI"


def subscribed(servers, binary, lines, rng):
    """Through CloudWatch Logs' own API: put-log-events, a subscription filter, the stream."""
    kinesis, logs = make_stream(servers, "subscribed", 1, servers.moto), client("logs", servers.moto)
    arn = kinesis.describe_stream_summary(StreamName="subscribed")["StreamDescriptionSummary"]["StreamARN"]
    role, now, want = "arn:aws:iam::123456789012:role/logs", int(time.time() * 1000), Counter()
    for group in ("/ecs/web", "/aws/lambda/x"):
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
        logs.put_subscription_filter(logGroupName=group, filterName="f", filterPattern="", destinationArn=arn,
                                     roleArn=role)
        for _ in range(10):
            events = [{"timestamp": now + number, "message": rng.choice(lines)} for number in range(40)]
            logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=events)
            for event in events:
                moment = time.gmtime(event["timestamp"] / 1000)
                want[group, time.strftime("%Y-%m-%d", moment), time.strftime("%H", moment)] += 1
    Run(servers, binary, "subscribed", "subscribed", "--drain", kinesis=servers.moto).done()
    seen = {key: (count, count) for key, (count, _) in counts(servers, "subscribed").items()}
    return same(seen, want, "put-log-events")


def killed(servers, binary, lines, rng, kills):
    """kill -9 at random moments, then a drain: everything once."""
    kinesis, want = make_stream(servers, "killed", 3), Counter()
    source = payloads(lines, rng, 10**9, [f"/kill/{n}" for n in range(5)])
    settings = {"FLUSH__INTERVAL": "1s", "LEASE_TIMEOUT": "1s"}
    for _ in range(kills):
        run = Run(servers, binary, "killed", "killed", **settings)
        end = time.monotonic() + rng.uniform(0.05, 4)
        while time.monotonic() < end:
            batch = [next(source) for _ in range(3)]
            want = batch[-1][1]
            put(kinesis, "killed", [data for data, _ in batch], rng)
            time.sleep(0.05)
        run.process.send_signal(signal.SIGKILL)
        run.process.communicate()
    early = sum(1 for page in servers.bucket.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, Prefix="killed/log_events/") for _ in page.get("Contents", ()))
    assert early > 0, "no object became visible between the kills"
    Run(servers, binary, "killed", "killed", "--drain", **settings).done()
    return f"{kills} kills, {early} objects by then: " + same(counts(servers, "killed"), want, "kill -9")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--firemain", type=Path, required=True)
    parser.add_argument("--kinesis", type=Path, required=True, help="the test binary that serves Kinesis")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--logs", type=Path, default=Path("../shared/data/logs"), help="folder of *.log files")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    binary, rng = str(options.firemain.resolve()), random.Random(options.seed)
    lines = [line for path in sorted(options.logs.glob("*.log"))
             for line in path.read_text("utf-8", "replace").splitlines() if line]
    lines = lines or [f"made-up line {n}: {'x' * (n % 300)}" for n in range(1000)]
    folder = Path(tempfile.mkdtemp(prefix="firemain-services-"))
    print(f"seed {options.seed}, {len(lines)} lines", flush=True)
    passed = failed = 0
    try:
        servers = Servers(folder, str(options.kinesis.resolve()))
        cases = {"drain, Parquet": lambda: drained(servers, binary, lines, rng, "parquet", folder),
                 "drain, JSON": lambda: drained(servers, binary, lines, rng, "json", folder / "json"),
                 "CloudWatch Logs": lambda: subscribed(servers, binary, lines, rng),
                 "kill -9": lambda: killed(servers, binary, lines, rng, options.kills)}
        for name, case in cases.items():
            began = time.monotonic()
            try:
                print(f"ok    {name:16} {case()} ({time.monotonic() - began:.1f} s)", flush=True)
                passed += 1
            except (AssertionError, subprocess.TimeoutExpired) as error:
                print(f"FAIL  {name:16} {error}", flush=True)
                failed += 1
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
