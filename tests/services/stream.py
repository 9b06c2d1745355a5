"""Records on a stream, and its shards."""
import gzip
import json
import threading
import time
from collections import Counter
from random import Random

from servers import Case, client, until

START = 1_711_083_600_000


def make_stream(servers, name, shards, port=None):
    kinesis = client("kinesis", port or servers.kinesis)
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    settle(kinesis, name)
    return kinesis


def settle(kinesis, stream):
    until(lambda: kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"] ==
          "ACTIVE", f"stream {stream} is active")


def partition(group, at):
    moment = time.gmtime(at / 1000)
    return group, time.strftime("%Y-%m-%d", moment), time.strftime("%H", moment)


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
            want[partition(group, at)] += 1
        body = {"messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": group, "logStream": "s",
                "subscriptionFilters": ["f"], "logEvents": events}
        yield gzip.compress(json.dumps(body).encode()), want


def put(kinesis, stream, datas, rng):
    datas = list(datas)
    for first in range(0, len(datas), 100):
        entries = [{"Data": data, "PartitionKey": str(rng.random())} for data in datas[first:first + 100]]
        answer = kinesis.put_records(StreamName=stream, Records=entries)
        assert answer["FailedRecordCount"] == 0, answer


class Feed:
    """Puts records on a stream, and counts what was put."""

    def __init__(self, case: Case, stream, groups=("/fed/a", "/fed/b")):
        self.kinesis, self.stream, self.rng = client("kinesis", case.servers.kinesis), stream, Random(case.rng.random())
        self.source, self.want = payloads(case.lines, self.rng, 10**9, groups), Counter()

    def put(self, records):
        batch = [next(self.source) for _ in range(records)]
        put(self.kinesis, self.stream, [data for data, _ in batch], self.rng)
        self.want = batch[-1][1]

    @property
    def events(self):
        return sum(self.want.values())


class Feeder:
    """Feeds from a thread, for as long as the block runs."""

    def __init__(self, feed: Feed, records=6, pause=0.1):
        self.feed, self.records, self.pause, self.error = feed, records, pause, None
        self.enough, self.thread = threading.Event(), threading.Thread(target=self.work, daemon=True)

    def work(self):
        try:
            while not self.enough.wait(self.pause):
                self.feed.put(self.records)
        except Exception as error:
            self.error = error

    def __enter__(self):
        self.thread.start()

    def __exit__(self, kind, *_):
        self.enough.set()
        self.thread.join()
        assert self.error is None or kind, f"the feeder: {self.error!r}"


def open_shards(kinesis, stream):
    """In the order of their keys: neighbours can be merged."""
    shards = kinesis.list_shards(StreamName=stream)["Shards"]
    live = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
    return sorted(live, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def open_ids(kinesis, stream):
    return {shard["ShardId"] for shard in open_shards(kinesis, stream)}


def split(kinesis, stream, rng):
    shard = rng.choice(open_shards(kinesis, stream))
    first, last = (int(shard["HashKeyRange"][name]) for name in ("StartingHashKey", "EndingHashKey"))
    kinesis.split_shard(StreamName=stream, ShardToSplit=shard["ShardId"],
                        NewStartingHashKey=str((first + last) // 2 + 1))
    settle(kinesis, stream)


def merge(kinesis, stream, rng):
    shards = open_shards(kinesis, stream)
    left = rng.randrange(len(shards) - 1)
    kinesis.merge_shards(StreamName=stream, ShardToMerge=shards[left]["ShardId"],
                         AdjacentShardToMerge=shards[left + 1]["ShardId"])
    settle(kinesis, stream)


def multiply(kinesis, stream, _):
    """Twice as many open shards, by UpdateShardCount. (Here, unlike in AWS, the new ones have no parents, and a
    subscription to an old one never ends: not for fan-out.)"""
    target = 2 * len(open_shards(kinesis, stream))
    kinesis.update_shard_count(StreamName=stream, TargetShardCount=target, ScalingType="UNIFORM_SCALING")
    settle(kinesis, stream)
    assert len(open_shards(kinesis, stream)) == target
