"""What is in the bucket: the rows, read with DuckDB, and the state of a group."""
import json
from collections import Counter
from pathlib import Path

import duckdb
import duckdb_extension_httpfs

from servers import BUCKET, KEY, SECRET, Run, Servers, until


def connect(s3_port):
    """DuckDB, with what it takes to read the bucket."""
    extension = next(Path(duckdb_extension_httpfs.__path__[0]).rglob("httpfs.duckdb_extension"))
    sql = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    sql.execute(f"LOAD '{extension}'")
    sql.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET '{SECRET}', URL_STYLE 'path', "
                f"ENDPOINT '127.0.0.1:{s3_port}', USE_SSL false)")
    return sql


def query(servers, prefix, columns, kind="parquet", rest="", values=()):
    """Asks DuckDB about the rows of a lake."""
    with connect(servers.s3) as sql:
        reader = "read_parquet" if kind == "parquet" else "read_json"
        suffix = "parquet" if kind == "parquet" else "json.gz"
        hive = "hive_partitioning=true, hive_types={log_group: VARCHAR, dt: VARCHAR, hour: VARCHAR}"
        return sql.execute(f"SELECT {columns} FROM {reader}('s3://{BUCKET}/{prefix}/log_events/**/*.{suffix}', "
                           f"{hive}, filename=true) {rest}", values).fetchall()


def counts(servers, prefix, kind="parquet", workers=()) -> dict:
    """DuckDB's count of rows and of distinct ids, by log group, date and hour; of some workers' objects, or of all."""
    rows = query(servers, prefix, "log_group, dt, hour, count(*), count(DISTINCT event_id)", kind,
                 "WHERE len($1) = 0 OR parse_filename(filename)[:36] IN (SELECT unnest($1)) GROUP BY ALL",
                 [list(workers)])
    return {(group, dt, hour): (count, ids) for group, dt, hour, count, ids in rows}


def messages(servers, prefix) -> Counter:
    """How often DuckDB finds each message of each log group."""
    return Counter(query(servers, prefix, "log_group, message"))


def same(seen, want, what):
    want = {key: (count, count) for key, count in want.items()}
    different = [(key, want.get(key), seen.get(key)) for key in want.keys() | seen.keys()
                 if want.get(key) != seen.get(key)]
    assert not different, f"{what}: (partition, put, seen) {different[:3]}"
    return f"{sum(count for count, _ in want.values())} events in {len(want)} partitions"


def keys(servers, prefix) -> list[str]:
    pages = servers.bucket.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [found["Key"] for page in pages for found in page.get("Contents", ())]


def writers(servers, prefix) -> set[str]:
    """The workers whose packs the objects of a lake come from."""
    return {key.rsplit("/", 1)[1][:36] for key in keys(servers, f"{prefix}/log_events/")}


class Group:
    """The state of a group of workers, as its newest snapshot says."""

    def __init__(self, servers: Servers, prefix, name="default"):
        self.servers, self.lake, self.name = servers, prefix, name
        self.folder, self.newest = f"{prefix}/_firemain/{name}", ""

    def read(self, key):
        return json.loads(self.servers.bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def snapshot(self):
        while found := self.servers.bucket.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.folder}/state/",
                                                           StartAfter=self.newest).get("Contents"):
            self.newest = found[-1]["Key"]
        assert self.newest, f"{self.folder} has no snapshot yet"
        return self.read(self.newest)

    def events(self):
        return self.snapshot()["totals"]["events"]

    def unread(self):
        """Where each shard stands that is not at its end."""
        shards = self.snapshot()["shards"]
        return {id: shard["position"] for id, shard in shards.items() if shard["position"] != "end"}

    def member(self, run: Run):
        """As which worker a process is in the group: a process that was taken for dead comes back as another one."""
        members = self.snapshot()["workers"]
        beats = (self.read(key) for key in keys(self.servers, f"{self.folder}/workers/"))
        return next((beat["worker"] for beat in beats
                     if beat["pid"] == run.process.pid and beat["worker"] in members), None)

    def owned(self):
        """The shards of each member that are not at their end; `None` owns those that wait for a member."""
        state = self.snapshot()
        shards = [(id, shard["owner"]) for id, shard in state["shards"].items() if shard["position"] != "end"]
        owners = [*state["workers"], *({None} & {owner for _, owner in shards})]
        return {owner: [id for id, its in shards if its == owner] for owner in owners}

    def until_even(self, workers, shards, what, seconds):
        """So many members, each of these shards with one of them, and nobody with two more than another."""
        def is_even():
            owned = self.owned()
            sizes = [len(its) for its in owned.values()]
            known = {id for its in owned.values() for id in its} == shards()
            return known and None not in owned and len(owned) == workers and max(sizes) - min(sizes) <= 1

        try:
            until(is_even, what, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; of {sorted(shards())} {self.owned()}") from None

    def told(self):
        known = len(self.snapshot()["shards"])
        return f"{known} shards, {known - len(self.unread())} read to their end"

    def assert_at_rest(self):
        """Everybody has left, and left nothing."""
        staged, state = keys(self.servers, f"{self.folder}/staged/"), self.snapshot()
        owned = [id for id, shard in state["shards"].items() if shard["owner"]]
        left = {"staged": staged, "members": state["workers"], "packs": state["packs"], "owned": owned}
        assert not any(left.values()), f"left behind in {self.newest}: {left}"
