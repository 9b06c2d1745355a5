"""What is in the bucket, read with DuckDB."""
from pathlib import Path

import duckdb
import duckdb_extension_httpfs

from servers import BUCKET, KEY, SECRET


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


def same(seen, want, what):
    want = {key: (count, count) for key, count in want.items()}
    different = [(key, want.get(key), seen.get(key)) for key in want.keys() | seen.keys()
                 if want.get(key) != seen.get(key)]
    assert not different, f"{what}: (partition, put, seen) {different[:3]}"
    return f"{sum(count for count, _ in want.values())} events in {len(want)} partitions"


def keys(servers, prefix) -> list[str]:
    pages = servers.bucket.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [found["Key"] for page in pages for found in page.get("Contents", ())]
