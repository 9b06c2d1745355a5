"""What other producers than CloudWatch Logs put on a stream."""
import base64
import gzip
import hashlib
import json
import time
from collections import Counter

from lake import counts, keys, messages, same
from servers import BUCKET, Case, Run
from stream import make_stream, partition, payloads, put

MAGIC = b"\xf3\x89\x9a\xc2"
START = 1_711_083_600_000


def field(number, content: bytes) -> bytes:
    """A field of a protobuf message that has a length."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value) -> bytes:
    out = b""
    while value > 0x7f:
        out, value = out + bytes([value & 0x7f | 0x80]), value >> 7
    return out + bytes([value])


def aggregated(datas, partition_keys=("one", "two")) -> bytes:
    """As the Kinesis Producer Library does it:
    https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md"""
    message = b"".join(field(1, key.encode()) for key in partition_keys)
    for number, data in enumerate(datas):
        index = b"\x08" + varint(number % len(partition_keys))
        message += field(3, index + field(3, data))
    return MAGIC + message + hashlib.md5(message).digest()


def by_the_producer_library(case: Case):
    """Envelopes, aggregated a few to a record among others that are not, over a kill; what is damaged is kept whole."""
    kinesis, rng, want = make_stream(case.servers, "kpl", 2), case.rng, Counter()
    envelopes = []
    for data, want in payloads(case.lines, rng, 120, ["/kpl/a", "/kpl/b"]):
        envelopes.append(data)
    records, rest = [], envelopes
    while rest:
        count = rng.randint(0, 9)
        records.append(aggregated(rest[:count]) if count else rest[0])
        rest = rest[count or 1:]
    damaged = bytearray(aggregated([gzip.compress(b"{}"), b"text"]))
    damaged[-1] ^= 1
    strangers = [bytes(damaged), MAGIC + b"short", b"plain text"]
    put(kinesis, "kpl", records[::2] + strangers, rng)
    first = Run(case, "kpl", "kpl", FLUSH__INTERVAL="1s", LEASE_TIMEOUT="1s")
    case.moment(2)
    first.kill()
    put(kinesis, "kpl", records[1::2], rng)
    Run(case, "kpl", "kpl", "--drain", LEASE_TIMEOUT="1s").done()
    kept = Counter(base64.b64decode(row["rawData"]) for row in rejections(case, "kpl", "Record.NotDecodable"))
    assert kept == Counter(strangers), kept
    told = same(counts(case.servers, "kpl"), want, "aggregated records")
    return f"{told} from {len(records)} records, {len(strangers)} rejected whole"


def without_envelopes(case: Case):
    """Lines and objects of JSON, as agents put them: each an event, with the message as it was put."""
    now = time.time() * 1000
    lines = [line for line in (line.strip("\r\n") for line in case.lines) if line and "\n" not in line and
             len(line.encode()) < 4000][:4000]
    texts = "\n".join(lines).encode().split(b"\n")
    records = [b"\n".join(texts[first:first + 50]) + b"\n" for first in range(0, len(texts), 50)]
    kinesis = make_stream(case.servers, "lines", 2)
    put(kinesis, "lines", [*map(gzip.compress, records[::2]), aggregated(records[1::2])], case.rng)
    Run(case, "lines", "lines", "--drain", SOURCE__KINESIS__DECODE="lines",
        SOURCE__KINESIS__LOG_GROUP="/agent/lines").done()
    seen = messages(case.servers, "lines")
    assert seen == Counter(("/agent/lines", text.decode()) for text in texts), "other lines"
    hours = {key[1:] for key in counts(case.servers, "lines")}
    assert hours <= {partition("", now)[1:], partition("", time.time() * 1000)[1:]}, f"not by arrival: {hours}"

    kinesis = make_stream(case.servers, "objects", 2)
    objects, want = [], Counter()
    for number, line in enumerate(lines[:1000]):
        at = START + number * 10_000
        # Seconds, milliseconds, or a text.
        told = case.rng.choice([at / 1000, at, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at // 1000))])
        objects.append(json.dumps({"n": number, "at": {"time": told}, "text": line}))
        want[partition("/agent/json", at)] += 1
    bad = json.dumps({"n": -1, "at": {"time": "yesterday"}})
    batches = [objects[first:first + 20] for first in range(0, len(objects), 20)]
    batches[3].insert(7, bad)
    put(kinesis, "objects", [case.rng.choice(["\n", "", " "]).join(batch).encode() for batch in batches], case.rng)
    Run(case, "objects", "objects", "--drain", SOURCE__KINESIS__DECODE="json",
        SOURCE__KINESIS__LOG_GROUP="/agent/json", SOURCE__KINESIS__TIME_FIELD="at.time").done()
    assert messages(case.servers, "objects") == Counter(("/agent/json", text) for text in objects), "other objects"
    told = same(counts(case.servers, "objects"), want, "objects")
    rejected = [base64.b64decode(row["rawData"]).decode() for row in rejections(case, "objects", "Event.Invalid")]
    assert len(rejected) == 1 and "yesterday" in rejected[0], rejected
    return f"{len(texts)} lines, {told} of objects, one rejected"


def rejections(case: Case, prefix, code):
    bucket = case.servers.bucket
    found = keys(case.servers, f"{prefix}/errors/")
    assert all(f"/error={code}/" in key for key in found), found
    bodies = (gzip.decompress(bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in found)
    return [json.loads(line) for body in bodies for line in body.splitlines()]
