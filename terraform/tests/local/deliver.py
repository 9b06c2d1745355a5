#!/usr/bin/env python3
"""From log groups to a query, on what `apply` has made in moto: log events that are put travel by the subscriptions onto the
stream, the binary runs with the task definition's command, environment, secrets and role, and the named queries are asked of the
columns, the location and the partitions that Glue knows. Athena is played by DuckDB, to which sqlglot translates the queries.

Usage: apply EXAMPLE --then 'deliver.py FIREMAIN'. Needs the AWS CLI, boto3, duckdb and sqlglot: tests/services/requirements.txt.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import boto3
import duckdb
import sqlglot
from botocore.exceptions import ClientError

from task import Task

WEB, LAMBDA, SECRET = "/ecs/web", "/aws/lambda/checkout", "hunter2"
LINES, REQUESTS, REPORTS = 40, 10, 5
KINDS = {"timestamp": "TIMESTAMP", "string": "VARCHAR", "bigint": "BIGINT", "int": "INTEGER", "double": "DOUBLE", "boolean": "BOOLEAN"}


def put_events():
    """Lines of JSON, requests and a function's reports into their log groups, and onto the stream something that is no envelope.
    Returns how many records these make."""
    logs, now = boto3.client("logs"), int(time.time() * 1000)
    time_of_request = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    messages = {
        WEB: [
            json.dumps({"level": "error" if n % 4 == 0 else "info", "request": f"r-{n}", "duration_ms": n, "password": SECRET})
            for n in range(LINES)
        ] + [f'192.0.2.{n} - - [{time_of_request}] "GET /cart/{n} HTTP/1.1" 200 512 "-" "curl/8.5.0"' for n in range(REQUESTS)],
        LAMBDA: [
            f"REPORT RequestId: 8c6c9b5e-0000-4000-8000-{n:012}\tDuration: {n}00.50 ms\tBilled Duration: {n}01 ms\t"
            f"Memory Size: 128 MB\tMax Memory Used: 64 MB\t"
            for n in range(REPORTS)
        ],
    }
    for group, lines in messages.items():
        logs.create_log_stream(logGroupName=group, logStreamName="1")
        events = [{"timestamp": now - len(lines) + n, "message": line} for n, line in enumerate(lines)]
        asks = json.dumps({"logGroupName": group, "logStreamName": "1", "logEvents": events})
        subprocess.run([Path(sys.executable).with_name("aws"), "logs", "put-log-events", "--cli-input-json", asks], check=True, stdout=subprocess.DEVNULL)
    boto3.client("kinesis").put_record(StreamName="firemain", Data=b"Mar 22 05:00:00 batch-7 backup: done\n", PartitionKey="batch-7")
    return len(messages) + 1


def refused(task, bucket, prefix):
    """The stand-in holds the role to its policy: these are no business of the service."""
    s3 = task.client("s3")
    row = boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/log_events/")["Contents"][0]["Key"]
    tries = {
        "delete a row": lambda: s3.delete_object(Bucket=bucket, Key=row),
        "write the state of another group": lambda: s3.put_object(Bucket=bucket, Key=f"{prefix}/_firemain/other/state/1", Body=b"{}"),
        "list another folder": lambda: s3.list_objects_v2(Bucket=bucket, Prefix="athena-results/"),
        "put onto the stream": lambda: task.client("kinesis").put_record(StreamName="firemain", Data=b"x", PartitionKey="x"),
    }
    for what, attempt in tries.items():
        try:
            attempt()
        except ClientError as error:
            assert error.response["Error"]["Code"] in ("AccessDenied", "AccessDeniedException"), error
        else:
            sys.exit(f"the role of the task may {what}")
    print(f"refused to the role: {', '.join(tries)}")
    return len(tries)


def told_of_rights(expected):
    """Counts what the role was asked for; nothing but what `refused` tried may have been refused."""
    asked = [json.loads(line) for line in Path(os.environ["RIGHTS_LOG"]).read_text().splitlines()]
    denied = [each for each in asked if not each["allowed"]]
    assert len(denied) == expected, denied
    used = Counter(each["action"] for each in asked if each["allowed"])
    print(f"allowed to the role, and used: {', '.join(f'{action} {count}' for action, count in sorted(used.items()))}")


def view_of(lake, glue, name):
    """A view in DuckDB with the columns of Glue over the objects of its registered partitions; returns how many these are."""
    table = glue.get_table(DatabaseName="logs", Name=name)["Table"]
    partitions = glue.get_partitions(DatabaseName="logs", TableName=name)["Partitions"]
    keys = [key["Name"] for key in table["PartitionKeys"]]
    columns = [(column["Name"], KINDS[column["Type"]]) for column in table["StorageDescriptor"]["Columns"]]
    # None of a table without objects.
    empty = ", ".join(f'NULL::{kind} AS "{column}"' for column, kind in [*columns, *((key, "VARCHAR") for key in keys)])
    s3, selects = boto3.client("s3"), [f"SELECT {empty} WHERE false"]
    for partition in partitions:
        bucket, prefix = partition["StorageDescriptor"]["Location"].removeprefix("s3://").split("/", 1)
        for found in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            path = Path(tempfile.mkdtemp(dir=lake)) / Path(found["Key"]).name
            path.write_bytes(s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
            of_file = ", ".join(f'"{column}"::{kind}' for column, kind in columns)
            values = ", ".join("'{}'".format(value) for value in partition["Values"])
            read = f"read_parquet('{path}')" if path.suffix == ".parquet" else f"read_json('{path}', format = 'newline_delimited')"
            selects.append(f"SELECT {of_file}, {values} FROM {read}")
    duckdb.sql(f"CREATE VIEW {name} AS {' UNION ALL '.join(selects)}")
    return len(partitions)


def for_duckdb(query):
    """A query of Athena's in DuckDB's words. Of what is no JSON Athena extracts NULL, where DuckDB fails."""
    def extract(node):
        if isinstance(node, sqlglot.exp.JSONExtractScalar):
            return sqlglot.exp.If(this=sqlglot.exp.func("json_valid", node.this.copy()), true=node.copy())
        return node

    return sqlglot.parse_one(query, read="athena").transform(extract).sql("duckdb")


def ask():
    """Each named query of the workgroup, by its name, with its rows."""
    athena, answers = boto3.client("athena"), {}
    ids = athena.list_named_queries(WorkGroup="firemain")["NamedQueryIds"]
    for query in (athena.get_named_query(NamedQueryId=each)["NamedQuery"] for each in ids):
        sql = for_duckdb(query["QueryString"])
        answers[query["Name"]] = rows = duckdb.execute(sql, ["r-12"] if "?" in sql else None).fetchall()
        print(f"{query['Name']}: {len(rows)} rows, first {rows[0] if rows else None}")
    return answers


def looks_right(answers, tables):
    """What was put is what is answered, in the tables that the example has."""
    rows = {name: duckdb.sql(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    typed = "apache_access" in tables
    assert rows["errors"] == 1 and rows["log_events"] == (LINES if typed else LINES + REQUESTS + REPORTS), rows
    assert answers["top-talkers"][0][:3] == (WEB, "1", LINES if typed else LINES + REQUESTS), answers["top-talkers"]
    assert answers["errors-by-group"][0][:2] == (WEB, LINES // 4), answers["errors-by-group"]
    assert [row[2] for row in answers["slowest-requests-log-events"]] == list(range(LINES - 1, -1, -1)), answers
    assert len(answers["one-request"]) == 1 and answers["one-request"][0][:2] == ("log_events", WEB), answers["one-request"]
    assert sum(row[1] for row in answers["delivery-delay"]) == rows["log_events"], answers["delivery-delay"]
    assert [(row[0], row[3]) for row in answers["rejections-by-code"]] == [("Record.NotDecodable", 1)], answers
    if typed:
        assert (rows["apache_access"], rows["lambda_platform"], rows["vpc_flow_egress"]) == (REQUESTS, REPORTS, 0), rows
        assert [row[2] for row in answers["slowest-requests-lambda-platform"]] == [n * 100 + 0.5 for n in range(REPORTS - 1, -1, -1)], answers
        told = duckdb.sql(f"SELECT count(*) FROM log_events WHERE contains(message, '{SECRET}')").fetchone()[0]
        assert told == 0, f"{told} rows tell the secret"
    print(f"the named queries answer; rows: {rows}")


def main():
    task = Task(sys.argv[1])
    bucket, prefix = task.destination
    # It denies what comes without TLS, as it should, and there is no TLS here.
    boto3.client("s3").delete_bucket_policy(Bucket=bucket)
    records = put_events()
    with task:
        task.until(f"{records} records are read", lambda: task.read() == records)
        print(f"firemain status: {task.run('status').splitlines()[-1]}")
    if "verify" in json.loads(Path(os.environ["OUTPUTS"]).read_text()).get("operator_commands", {}).get("value", []):
        for command in (["check"], ["verify"], ["replay", "--dry-run"]):
            print(f"firemain {' '.join(command)}: {task.run(*command).splitlines()[-1]}")
    told_of_rights(refused(task, bucket, prefix))
    glue = boto3.client("glue")
    with tempfile.TemporaryDirectory() as lake:
        duckdb.sql("SET TimeZone = 'UTC'")
        tables = [table["Name"] for table in glue.get_tables(DatabaseName="logs")["TableList"]]
        print(f"partitions in Glue: {', '.join(f'{name} {view_of(lake, glue, name)}' for name in tables)}")
        looks_right(ask(), tables)


if __name__ == "__main__":
    main()
