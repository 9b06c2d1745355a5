#!/usr/bin/env python3
"""What a month of delivery costs: Firemain, Firehose, and a Kinesis channel. Prints the tables of docs/cost.md.

    docs/cost.py                       print the tables
    docs/cost.py --check               fail if docs/cost.md has other tables, or the arithmetic is wrong
    docs/cost.py --write               put the tables into docs/cost.md
    docs/cost.py --set NAME=VALUE …    print them with another price or assumption: --set gzip=10 --set kinesis_in=0.09

A month has 30 days. A GB is 2^30 bytes, as AWS bills it; an MB of throughput is 10^6 bytes.
"""
import argparse
import sys
from dataclasses import dataclass
from math import ceil, isclose
from pathlib import Path

DOCUMENT = Path(__file__).with_name("cost.md")
HOURS, DAYS, SECONDS = 720, 30, 2_592_000
GIB = 2**30

# USD, us-east-1, list prices of November 2026: name, price, for what, how many sources say so (docs/cost.md has them).
PRICES = [
    ("kinesis_stream_hour", 0.04, "on-demand stream, an hour", 2),
    ("kinesis_in", 0.08, "on-demand stream, a GB written", 2),
    ("kinesis_out", 0.04, "on-demand stream, a GB read", 2),
    ("kinesis_shard_hour", 0.015, "provisioned stream, a shard and hour", 2),
    ("kinesis_put_unit", 0.014e-6, "provisioned stream, a PUT payload unit of 25 KB", 2),
    ("kinesis_retention_gb", 0.10, "on-demand stream, a GB and month that is kept beyond 24 hours", 1),
    ("kinesis_retention_shard_hour", 0.02, "provisioned stream that keeps records beyond 24 hours, a shard and hour more", 2),
    ("firehose_in_1", 0.029, "Firehose, a GB taken in, the first 500 TB", 2),
    ("firehose_in_2", 0.025, "Firehose, a GB taken in, the next 1.5 PB", 2),
    ("firehose_parquet", 0.018, "Firehose, a GB converted to Parquet", 2),
    ("firehose_partition", 0.02, "Firehose, a GB partitioned dynamically", 2),
    ("firehose_object", 0.005e-3, "Firehose, an object of a dynamic partition", 2),
    ("fargate_vcpu_hour", 0.03238, "Fargate on ARM, a vCPU and hour", 2),
    ("fargate_gb_hour", 0.00356, "Fargate on ARM, a GB and hour", 2),
    ("public_ip_hour", 0.005, "public IPv4 address, an hour", 2),
    ("s3_put", 0.005e-3, "S3 Standard, a PUT or LIST", 2),
    ("s3_get", 0.0004e-3, "S3 Standard, a GET", 2),
    ("metric", 0.30, "CloudWatch, a metric and month", 2),
    ("logs_in", 0.50, "CloudWatch Logs, a GB taken in", 2),
]

# What is not a price: name, value, what it says.
ASSUMPTIONS = [
    ("gzip", 5.6, "log data is so many times as large as its gzip on the stream (measured: `firemain generate`)"),
    ("record_kb", 10.4, "KB of an average record on the stream, gzip (measured: `firemain generate`)"),
    ("peak", 2.0, "the busiest hours have so many times the average"),
    ("mb_per_cpu_second", 130.0, "decoded MB that a CPU second delivers (measured: `just throughput`)"),
    ("headroom", 2.0, "so many times as much CPU as the peak needs: other CPUs, other logs, catching up"),
    ("encoded", 6.0, "log data is so many times as large as its Parquet (measured: docs/decisions/0005-allocator.md)"),
    ("retention", 72.0, "hours that the stream keeps records, as the Terraform module has it: 24 cost nothing, up to 168 the same"),
    ("interval", 300.0, "`flush.interval`, and Firehose's buffer interval, in seconds"),
    ("buffered", 1.0, "a byte of `flush.buffer_bytes` holds so many bytes of log data (measured: `firemain generate`)"),
    ("metrics", 30.0, "metrics of a group: 20, and some codes and kinds"),
    ("own_logs", 0.2, "GB of log and metric lines that a worker writes a month"),
]

PRICE = {name: price for name, price, *_ in PRICES}
GIVEN = {name: value for name, value, _ in ASSUMPTIONS}


@dataclass(frozen=True)
class Volume:
    """So much log data a day, and workers that can take it."""
    name: str
    gb_a_day: float
    log_groups: int
    workers: int
    vcpu: float
    memory_gb: float
    buffer_gib: float

    @property
    def gb(self) -> float:
        """Log data of a month."""
        return self.gb_a_day * DAYS

    @property
    def records(self) -> float:
        return self.gb * GIB / GIVEN["gzip"] / (GIVEN["record_kb"] * 1024)

    def billed(self, step_kb: float) -> float:
        """GB of a month on the stream, each record rounded up to a step: by half a step on average."""
        return self.records * (GIVEN["record_kb"] + step_kb / 2) * 1024 / GIB

    @property
    def mb_per_second(self) -> float:
        """Of log data, on average."""
        return self.gb * GIB / SECONDS / 1e6

    @property
    def flush_seconds(self) -> float:
        """A buffer that is full before the interval has passed is flushed then."""
        filled = self.buffer_gib * GIB * GIVEN["buffered"] / (self.mb_per_second * 1e6 / self.workers)
        return min(GIVEN["interval"], filled)

    def fits(self) -> str | None:
        """What is too small, if anything is."""
        needed = self.mb_per_second * GIVEN["peak"] * GIVEN["headroom"] / GIVEN["mb_per_cpu_second"]
        if self.workers * self.vcpu < needed:
            return f"{self.name}: {needed:.1f} vCPU needed, {self.workers * self.vcpu} there"
        if self.memory_gb < self.buffer_gib + 0.25:
            return f"{self.name}: a buffer of {self.buffer_gib} GiB and 200 MiB need more than {self.memory_gb} GB"
        return None


# Fargate's steps of memory: 0.25 vCPU 0.5 to 2 GB, 0.5 1 to 4, 1 2 to 8, 2 4 to 16, 4 8 to 30.
VOLUMES = [
    Volume("1 GB", 1, 10, workers=2, vcpu=0.25, memory_gb=1, buffer_gib=0.25),
    Volume("100 GB", 100, 50, workers=2, vcpu=0.25, memory_gb=1, buffer_gib=0.5),
    Volume("1 TB", 1024, 200, workers=2, vcpu=0.5, memory_gb=3, buffer_gib=2.5),
    Volume("10 TB", 10240, 500, workers=4, vcpu=2, memory_gb=8, buffer_gib=7),
]


def puts(size: float) -> float:
    """Requests that an object takes: one up to 64 MiB, past that parts of 16 MiB, and two more."""
    return 1 if size <= 64 * 2**20 else ceil(size / (16 * 2**20)) + 2


def coordination(workers: int, flush_seconds: float) -> tuple[float, float, float]:
    """PUT, LIST and GET of a month, without the pack: see `Coordination` in docs/cost.md."""
    heartbeats, looks, commits = SECONDS / 10, SECONDS / 60, SECONDS / flush_seconds
    late = commits * (1 - 1 / workers)
    alone = workers == 1
    put = workers * (heartbeats + commits + late)
    lists = workers * (heartbeats + looks * (1 if alone else 2) + commits + 2 * late)
    return put, lists, 0 if alone else workers * (looks + late)


def channel(volume: Volume) -> float:
    """The stream alone: a channel takes no read throughput, and what it costs itself is not known."""
    gb, kept = volume.billed(1), (GIVEN["retention"] - 24) / HOURS
    return HOURS * PRICE["kinesis_stream_hour"] + gb * (PRICE["kinesis_in"] + kept * PRICE["kinesis_retention_gb"])


def stream_on_demand(volume: Volume) -> float:
    """With one reader that polls."""
    return channel(volume) + volume.billed(1) * PRICE["kinesis_out"]


def shards(volume: Volume) -> int:
    """By what is written: 1 MiB a second each."""
    return ceil(volume.billed(0) * GIB / SECONDS * GIVEN["peak"] / 2**20)


def stream_provisioned(volume: Volume) -> float:
    units = volume.records * ceil(GIVEN["record_kb"] / 25)
    hour = PRICE["kinesis_shard_hour"] + (PRICE["kinesis_retention_shard_hour"] if GIVEN["retention"] > 24 else 0)
    return shards(volume) * HOURS * hour + units * PRICE["kinesis_put_unit"]


def firemain(volume: Volume) -> dict[str, float]:
    """What it costs beside the stream, by where it goes."""
    workers, flush = volume.workers, volume.flush_seconds
    flushes = SECONDS / flush * workers
    flushed = volume.gb * GIB / flushes / GIVEN["encoded"]
    put, lists, gets = coordination(workers, flush)
    objects = flushes * volume.log_groups
    return {
        "Fargate": workers * HOURS * (volume.vcpu * PRICE["fargate_vcpu_hour"]
                                      + volume.memory_gb * PRICE["fargate_gb_hour"] + PRICE["public_ip_hour"]),
        "objects": objects * puts(flushed / volume.log_groups) * PRICE["s3_put"],
        "packs and coordination": (put + lists + flushes * puts(flushed)) * PRICE["s3_put"] + gets * PRICE["s3_get"],
        "CloudWatch": GIVEN["metrics"] * PRICE["metric"] + workers * GIVEN["own_logs"] * PRICE["logs_in"],
    }


def firehose(volume: Volume, converted_gb: float, partitioned_gb: float) -> float:
    """Beside the stream: taking in, Parquet, dynamic partitions, and the puts of its objects."""
    taken = volume.billed(5)
    first = min(taken, 500 * 1024)
    objects = SECONDS / GIVEN["interval"] * volume.log_groups
    return (first * PRICE["firehose_in_1"] + (taken - first) * PRICE["firehose_in_2"]
            + converted_gb * PRICE["firehose_parquet"] + partitioned_gb * PRICE["firehose_partition"]
            + objects * (PRICE["firehose_object"] + PRICE["s3_put"]))


def firehose_least(volume: Volume) -> float:
    """If the features are billed by what is on the stream, and partitions by what is delivered."""
    return firehose(volume, volume.billed(5), volume.gb / GIVEN["encoded"])


def firehose_most(volume: Volume) -> float:
    """If they are billed by what it is when it is decompressed."""
    return firehose(volume, volume.gb, volume.gb)


def usd(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 10 else f"{amount:.2f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def totals() -> str:
    rows = []
    for volume in VOLUMES:
        stream, demand, own = stream_provisioned(volume), stream_on_demand(volume), sum(firemain(volume).values())
        least, most = firehose_least(volume), firehose_most(volume)
        rows.append([volume.name, usd(stream + own), f"{usd(stream + least)} to {usd(stream + most)}",
                     f"{usd(least)} to {usd(most)}", usd(demand + own),
                     f"{usd(demand + least)} to {usd(demand + most)}", f"{usd(channel(volume))} + delivery"])
    return table(["log data a day", "**Firemain**, provisioned stream", "Firehose, the same stream",
                  "Firehose without a stream", "**Firemain**, on-demand stream", "Firehose, the same stream",
                  "Kinesis channel, on-demand stream"], rows)


def parts() -> str:
    names = list(firemain(VOLUMES[0]))
    rows = []
    for volume in VOLUMES:
        own = firemain(volume)
        rows.append([volume.name, f"{volume.billed(1):,.0f}", usd(stream_on_demand(volume)),
                     f"{usd(stream_provisioned(volume))} ({shards(volume)})", *(usd(own[name]) for name in names),
                     usd(sum(own.values()))])
    return table(["log data a day", "GB a month on the stream", "stream, on demand", "stream, provisioned (shards)",
                  *names, "Firemain, all four"], rows)


def sizes() -> str:
    return table(["log data a day", "log groups", "workers", "vCPU each", "memory each", "`flush.buffer_bytes`",
                  "a flush every"],
                 [[volume.name, str(volume.log_groups), str(volume.workers), f"{volume.vcpu:g}",
                   f"{volume.memory_gb:g} GB", f"{volume.buffer_gib * 1024:.0f} MiB", f"{volume.flush_seconds:.0f} s"]
                  for volume in VOLUMES])


def price(amount: float) -> str:
    return f"{amount:.9f}".rstrip("0")


def prices() -> str:
    return table(["name", "USD", "for", "sources"],
                 [[f"`{name}`", price(PRICE[name]), what, str(sources)] for name, _, what, sources in PRICES])


def assumptions() -> str:
    return table(["name", "value", "says"], [[f"`{name}`", f"{GIVEN[name]:g}", what] for name, _, what in ASSUMPTIONS])


TABLES = {"totals": totals, "parts": parts, "sizes": sizes, "prices": prices, "assumptions": assumptions}


def marked(name: str, text: str) -> str:
    return f"<!-- docs/cost.py: {name} -->\n{text}\n<!-- end -->"


def written(document: str) -> str:
    """The document with each table as it is printed now."""
    for name, make in TABLES.items():
        before, found, rest = document.partition(f"<!-- docs/cost.py: {name} -->\n")
        if not found or "<!-- end -->" not in rest:
            sys.exit(f"{DOCUMENT} has no place for the table `{name}`")
        document = before + marked(name, make()) + rest.partition("<!-- end -->")[2]
    return document


def check_arithmetic():
    """Against what was worked out by hand, and the table of workers in docs/cost.md."""
    for workers, put, lists, gets in [(1, 276.48, 311.04, 0), (10, 2842.56, 3697.92, 509.76)]:
        commits = workers * SECONDS / 300 / 1000
        found = [amount / 1000 for amount in coordination(workers, 300)]
        assert all(map(isclose, [found[0] + commits, *found[1:]], [put, lists, gets])), (workers, found)
    assert [puts(size * 2**20) for size in (1, 64, 65, 128)] == [1, 1, 7, 10]
    by_hand = Volume("", 1024, 100, 2, 1, 4, 2)
    # 30 TiB a month are 30,720 GB; through gzip 5,485.7 GB in 553,088,000 records of 10.4 KB.
    assert isclose(by_hand.gb, 30_720) and isclose(by_hand.billed(0), 30_720 / GIVEN["gzip"])
    assert isclose(by_hand.billed(5) / by_hand.billed(0), 12.9 / 10.4)
    # 12.7 MB a second on two workers: 2 GiB are full after 338 s.
    assert by_hand.flush_seconds == 300 and isclose(by_hand.mb_per_second, 12.7261, rel_tol=1e-4)
    # 6,804.4 GB taken in, 30,720 converted and partitioned, 864,000 objects.
    assert isclose(firehose_most(by_hand), 197.328 + 552.96 + 614.4 + 8.64, rel_tol=1e-4), firehose_most(by_hand)
    # 2.17 MiB a second on average, 4.33 in the busiest hours, in whole shards.
    assert shards(by_hand) == ceil(5_485.714 * 1024 / SECONDS * 2) == 5
    too_small = [said for volume in VOLUMES if (said := volume.fits())]
    assert not too_small, too_small
    assert Volume("x", 10_240, 1, 2, 1, 4, 2).fits() and Volume("x", 1, 1, 2, 1, 2, 2).fits()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare docs/cost.md with what is printed")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/cost.md")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another price or assumption")
    options = parser.parse_args()
    if options.set and (options.check or options.write):
        parser.error("docs/cost.md has the prices and assumptions of this file: --set only prints")
    for said in options.set:
        name, _, value = said.partition("=")
        known = next((those for those in (PRICE, GIVEN) if name in those), None)
        if known is None:
            parser.error(f"there is no price and no assumption `{name}`: {', '.join([*PRICE, *GIVEN])}")
        try:
            known[name] = float(value)
        except ValueError:
            parser.error(f"{said}: `{value}` is not a number")
    if options.check:
        check_arithmetic()
        if written(DOCUMENT.read_text()) != DOCUMENT.read_text():
            sys.exit("docs/cost.md has other tables than docs/cost.py prints: run docs/cost.py --write")
        print("docs/cost.md has the tables that docs/cost.py prints")
    elif options.write:
        DOCUMENT.write_text(written(DOCUMENT.read_text()))
    else:
        print("\n\n".join(make() for make in TABLES.values()))


if __name__ == "__main__":
    main()
