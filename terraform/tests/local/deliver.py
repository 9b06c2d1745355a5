#!/usr/bin/env python3
"""From log groups to a query, on what `apply` has made in moto: log events that are put travel by the subscription onto the
stream, the binary runs with the environment of the task definition, and the named queries are asked of the columns, the location
and the partitions that Glue knows. Athena is played by DuckDB, to which sqlglot translates the queries.

Usage: apply minimal --then 'deliver.py FIREMAIN'. Needs boto3, duckdb and sqlglot: tests/services/requirements.txt.
"""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import boto3
import duckdb
import sqlglot

GROUP, EVENTS = "/ecs/web", 40


def put_events():
    logs, now = boto3.client("logs"), int(time.time() * 1000)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="web-1")
    events = [
        {"timestamp": now - EVENTS + n, "message": f'{{"level": "{"error" if n % 4 == 0 else "info"}", "request": "r-{n}", "duration_ms": {n}}}'}
        for n in range(EVENTS)
    ]
    logs.put_log_events(logGroupName=GROUP, logStreamName="web-1", logEvents=events)
    # Something that is no envelope: a rejection.
    boto3.client("kinesis").put_record(StreamName="firemain", Data=b"Mar 22 05:00:00 batch-7 backup: done\n", PartitionKey="batch-7")


def container():
    """The command and the environment of the task's container."""
    task = boto3.client("ecs").describe_task_definition(taskDefinition="firemain")["taskDefinition"]
    of_task = task["containerDefinitions"][0]
    return of_task["command"], {each["name"]: each["value"] for each in of_task["environment"]}


def run_task(firemain, command, environment):
    """Runs it so; what the platform adds is where AWS is, and credentials."""
    platform = {name: os.environ[name] for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    # A task has its loopback for itself; here another worker may have that port.
    platform["FIREMAIN_HTTP__LISTEN"] = "127.0.0.1:0"
    # So that it ends: the task itself runs until it is stopped.
    command = [firemain, *command, "--drain"]
    ran = subprocess.run(command, env=environment | platform, capture_output=True, text=True, timeout=120, check=False)
    if ran.returncode != 0:
        sys.exit(f"{command} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}")


def table_of(lake, glue, name):
    """A view in DuckDB with the columns of Glue over the objects of its registered partitions; returns how many these are."""
    table = glue.get_table(DatabaseName="logs", Name=name)["Table"]
    partitions = glue.get_partitions(DatabaseName="logs", TableName=name)["Partitions"]
    keys = [key["Name"] for key in table["PartitionKeys"]]
    kinds = {"timestamp": "TIMESTAMP", "string": "VARCHAR", "bigint": "BIGINT", "int": "INTEGER"}
    columns = table["StorageDescriptor"]["Columns"]
    columns = ", ".join(f'"{column["Name"]}"::{kinds[column["Type"]]} AS "{column["Name"]}"' for column in columns)
    s3, selects = boto3.client("s3"), []
    for partition in partitions:
        bucket, prefix = partition["StorageDescriptor"]["Location"].removeprefix("s3://").split("/", 1)
        for found in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            path = Path(tempfile.mkdtemp(dir=lake)) / Path(found["Key"]).name
            path.write_bytes(s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
            values = ", ".join("'{}' AS {}".format(value, key) for key, value in zip(keys, partition["Values"], strict=True))
            read = f"read_parquet('{path}')" if path.suffix == ".parquet" else f"read_json('{path}', format = 'newline_delimited')"
            selects.append(f"SELECT {columns}, {values} FROM {read}")
    duckdb.sql(f"CREATE VIEW {name} AS {' UNION ALL '.join(selects)}")
    return len(partitions)


def main():
    firemain = sys.argv[1]
    put_events()
    # It denies what comes without TLS, as it should, and there is no TLS here.
    command, environment = container()
    destination = environment["FIREMAIN_DESTINATION"]
    boto3.client("s3").delete_bucket_policy(Bucket=destination.split("/")[2])
    run_task(firemain, command, environment)
    print(f"delivered to {destination}")
    glue, athena = boto3.client("glue"), boto3.client("athena")
    with tempfile.TemporaryDirectory() as lake:
        duckdb.sql("SET TimeZone = 'UTC'")
        for name in ("log_events", "errors"):
            print(f"{name}: {table_of(lake, glue, name)} partitions in Glue")
        ids = athena.list_named_queries(WorkGroup="firemain")["NamedQueryIds"]
        queries = {query["Name"]: query["QueryString"] for query in (athena.get_named_query(NamedQueryId=each)["NamedQuery"] for each in ids)}
        answers = {}
        for name, query in sorted(queries.items()):
            sql = sqlglot.transpile(query, read="athena", write="duckdb")[0]
            answers[name] = duckdb.execute(sql, ["r-12"] if "?" in sql else None).fetchall()
            print(f"{name}: {len(answers[name])} rows, first {answers[name][0] if answers[name] else None}")
    assert answers["top-talkers"][0][:3] == (GROUP, "web-1", EVENTS), answers["top-talkers"]
    assert answers["errors-by-group"][0][:2] == (GROUP, EVENTS // 4), answers["errors-by-group"]
    assert [row[2] for row in answers["slowest-requests-log-events"]][:2] == [EVENTS - 1, EVENTS - 2], answers
    assert len(answers["one-request"]) == 1 and answers["delivery-delay"][0][1] == EVENTS, answers
    assert [(row[0], row[3]) for row in answers["rejections-by-code"]] == [("Record.NotDecodable", 1)], answers
    print("the named queries answer")


if __name__ == "__main__":
    main()
