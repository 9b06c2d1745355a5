"""SubscribeToShard for moto, which lacks it: an answer that has what is there and then ends, so that the reader subscribes again.

The frames of an event stream: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html, with the headers that
SDKs look at.
"""
import base64
import json
import struct
from binascii import crc32

from moto.kinesis.models import Consumer
from moto.kinesis.responses import KinesisResponse


def header(name, value):
    # 7: a string.
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()


def frame(kind, content):
    headers = header(":event-type", kind) + header(":content-type", "application/json") + header(":message-type", "event")
    payload = json.dumps(content).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    framed = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return framed + struct.pack(">I", crc32(framed))


def subscribe_to_shard(self):
    stream = self.kinesis_backend.describe_stream(stream_arn=self._get_param("ConsumerARN").split("/consumer/")[0], stream_name=None)
    shard = stream.get_shard(self._get_param("ShardId"))
    start = self._get_param("StartingPosition")
    number = int(start.get("SequenceNumber", 0))
    after = {
        "TRIM_HORIZON": 0, "LATEST": shard.get_max_sequence_number(), "AFTER_SEQUENCE_NUMBER": number, "AT_SEQUENCE_NUMBER": number - 1,
    }[start["Type"]]
    records, last, _ = shard.get_records(str(after), 10_000)
    event = {
        "Records": [
            {
                "Data": base64.b64encode(record["Data"]).decode(),
                "PartitionKey": record["PartitionKey"],
                "SequenceNumber": record["SequenceNumber"],
                "ApproximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
            }
            for record in (each.to_json() for each in records)
        ],
        "ContinuationSequenceNumber": str(last),
        "MillisBehindLatest": 0,
    }
    return 200, {"Content-Type": "application/vnd.amazon.eventstream"}, frame("initial-response", {}) + frame("SubscribeToShardEvent", event)


made = Consumer.__init__


def make(self, *args, **kwargs):
    made(self, *args, **kwargs)
    # As AWS calls them, with the time at which they were made.
    self.consumer_arn = f"{self.consumer_arn}:{int(self.created.timestamp())}"


Consumer.__init__ = make
KinesisResponse.subscribe_to_shard = subscribe_to_shard
