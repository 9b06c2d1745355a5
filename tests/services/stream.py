"""Records on a stream, and its shards."""
import gzip
import json
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
