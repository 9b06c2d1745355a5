"""Tables: rows of messages as the schemas say, read through the views that Firemain prints."""
import base64
import gzip
import json
import os
import re
import subprocess
from collections import Counter
from datetime import datetime, timezone
from urllib.parse import unquote

import samples
from lake import connect, keys
from samples import EDGES, RULES, TABLES
from servers import BUCKET, Case, FileRun, client


def firemain(case, *args, schemas_dir=None) -> str:
    """What a command prints."""
    env = {"PATH": os.environ["PATH"], "FIREMAIN_SCHEMAS_DIR": str(schemas_dir or schemas(case))}
    done = subprocess.run([case.binary, *args], env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{args}: {done.stderr}"
    return done.stdout


def schemas(case):
    """The folder of own schemas."""
    folder = case.folder / "schemas"
    folder.mkdir(exist_ok=True)
    (folder / "every_type.json").write_text(json.dumps(samples.EVERY_TYPE, indent=1))
    return folder


def config(case, kind="parquet", rules=RULES, more=""):
    return f'schemas_dir = "{schemas(case)}"\n[format]\nkind = "{kind}"\n{rules}\n{more}'


def columns(case, schema) -> list[str]:
    return [column["name"] for column in json.loads(firemain(case, "schema", "show", schema))["columns"]]


class Lake:
    """The views of a destination, made by what Firemain prints, as it is."""

    def __init__(self, case: Case, prefix, kind="parquet", schemas_dir=None):
        self.case, self.prefix, self.kind, self.schemas_dir = case, prefix, kind, schemas_dir
        self.sql = connect(case.servers.s3)
        self.sql.execute("SET TimeZone = 'UTC'")

    def view(self, table, schema=None):
        location = f"s3://{BUCKET}/{self.prefix}/{table}/"
        ddl = firemain(self.case, "schema", "ddl", schema or table, "--table", table, "--location", location,
                       "--dialect", "duckdb", "--format", self.kind, schemas_dir=self.schemas_dir)
        self.sql.execute(ddl)

    def rows(self, select, values=()) -> list[dict]:
        """Times come without their zone, which is UTC."""
        columns = self.sql.execute(select, values).description
        zoned = ", ".join(f"timezone('UTC', {name}) AS {name}" for name, kind, *_ in columns
                          if str(kind) == "TIMESTAMP WITH TIME ZONE")
        if zoned:
            select = f"SELECT * REPLACE ({zoned}) FROM ({select})"
        names = [name.lower() for name, *_ in columns]
        return [dict(zip(names, row)) for row in self.sql.execute(select, values).fetchall()]


def typed(case: Case):
    """Samples of every schema, and of one with a column of every type, as Parquet and as JSON: each value compared."""
    told, edge = [], EDGES[1]
    for kind in ("parquet", "json"):
        prefix = f"typed-{kind}"
        lines = samples.lines(samples.envelopes(samples.puts()))
        FileRun(case, prefix, config(case, kind), lines).done()
        lake, rows, values = Lake(case, prefix, kind), 0, 0
        for table, schema in [*((name, table.schema) for name, table in TABLES.items()), ("log_events", "log_events")]:
            lake.view(table, schema)
            want = samples.expected(table, columns(case, schema))
            some, its = samples.compare(want, lake.rows(f'SELECT * FROM "{table}"'), f"{kind}, {table}")
            rows, values = rows + some, values + its
            filtered(lake, table, want, edge)
        told.append(f"{kind}: {rows} rows, {values} values in {len(TABLES) + 1} tables, {errors(lake)} rejections")
    return "; ".join(told)


def filtered(lake: Lake, table, want, edge):
    """Conditions on the columns that partition a table find what they should."""
    edge_at = samples.of_millis(edge)
    for group in {row["log_group"] for row in want.values()}:
        conditions = {
            "log_group = $group": lambda row: row["log_group"] == group,
            "log_group = $group AND dt = $dt AND hour = '05'":
                lambda row: row["log_group"] == group and row["dt"] == f"{edge_at:%Y-%m-%d}" and row["hour"] == "05",
            "starts_with(log_group, $group[:4]) AND dt > $dt":
                lambda row: row["log_group"].startswith(group[:4]) and row["dt"] > f"{edge_at:%Y-%m-%d}",
            '"timestamp" = $at AND hour = \'05\'': lambda row: row["timestamp"] == edge_at}
        for condition, holds in conditions.items():
            values = {"group": group, "dt": f"{edge_at:%Y-%m-%d}", "at": edge_at}
            values = {name: value for name, value in values.items() if f"${name}" in condition}
            seen = {row["event_id"] for row in lake.rows(f'SELECT event_id FROM "{table}" WHERE {condition}', values)}
            wanted = {id for id, row in want.items() if holds(row)}
            assert wanted and seen == wanted, f"{table} where {condition}, {group}: {len(seen)} of {len(wanted)}"


def errors(lake: Lake) -> int:
    """Each event that matches no table is rejected, alone in an envelope, with the reason."""
    lake.view("errors")
    want, seen = samples.rejected(), {}
    for row in lake.rows("SELECT * FROM errors"):
        assert (row["errorcode"], row["error"]) == ("Table.Mismatch", "Table.Mismatch"), row
        arrival = samples.of_millis(samples.ARRIVAL)
        assert (row["dt"], row["hour"]) == (f"{arrival:%Y-%m-%d}", f"{arrival:%H}"), row
        assert row["arrivaltimestamp"] == samples.ARRIVAL and row["attemptsmade"] == 1, row
        envelope = json.loads(opened(base64.b64decode(row["rawdata"])))
        [event] = envelope["logEvents"]
        assert event["id"] not in seen, f"rejected twice: {row}"
        seen[event["id"]] = row["errormessage"]
        [put] = [put for put in samples.puts() if put.id == event["id"]]
        original = {"id": put.id, "timestamp": put.timestamp, "message": put.sample.message}
        assert event == original, f"{event} is not {original}"
        assert (envelope["logGroup"], envelope["logStream"], envelope["owner"], envelope["messageType"]) == \
            (put.sample.log_group, samples.STREAM, samples.OWNER, "DATA_MESSAGE"), envelope
    assert seen == want, f"{seen.items() ^ want.items()}"
    return len(seen)


def opened(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


APACHE = re.compile(r'(\S+) (\S+) (.+?) \[([^\]]+)\] "(.*?)(?<!\\)" (\d{3}) (\d+|-) "(.*?)(?<!\\)" "(.*)"')


def apache(case: Case):
    """A real access log: a row or a rejection for each line, and sums as another parser has them."""
    log = case.logs / "apache_combined.log"
    if not log.exists():
        return f"SKIPPED: there is no {log.name} in the folder of --logs"
    lines = log.read_bytes().decode("utf-8", "replace").splitlines()
    events = [{"id": f"{number:056d}", "timestamp": EDGES[0] + number, "message": line}
              for number, line in enumerate(lines, 1)]
    envelopes = [{"messageType": "DATA_MESSAGE", "owner": samples.OWNER, "logGroup": "/web/apache", "logStream": "s",
                  "subscriptionFilters": ["f"], "logEvents": events[first:first + 100]}
                 for first in range(0, len(events), 100)]
    rule = '[[table]]\nschema = "apache_access"\nlog_groups = ["/web/*"]\n'
    FileRun(case, "apache", config(case, rules=rule), samples.lines(envelopes)).done()
    lake = Lake(case, "apache")
    lake.view("apache_access")
    lake.view("errors")
    rows = {row["event_id"]: row for row in lake.rows("SELECT * EXCLUDE (log_stream, owner, ingested_at) "
                                                      "FROM apache_access")}
    rejections = {}
    for row in lake.rows("SELECT errormessage, rawdata FROM errors"):
        assert row["rawdata"], row
        [event] = json.loads(opened(base64.b64decode(row["rawdata"])))["logEvents"]
        rejections[event["id"]] = f"line {int(event['id'])}, {row['errormessage']}: ...{event['message'][-40:]}"
    [[count]] = lake.sql.execute("SELECT count(*) FROM apache_access").fetchall()
    assert count == len(rows) and len(rows) + len(rejections) == len(lines) and not rows.keys() & rejections.keys(), \
        (count, len(rows), len(rejections), len(lines))
    matches = {event["id"]: APACHE.fullmatch(event["message"]) for event in events}
    unmatched = {id for id, match in matches.items() if not match}
    assert unmatched == rejections.keys(), f"others are rejected: {unmatched ^ rejections.keys()}"
    status, size = Counter(), 0
    for id, match in matches.items():
        if not match:
            continue
        client, _, user, time, request, code, length, referer, agent = match.groups()
        at = datetime.strptime(time, "%d/%b/%Y:%H:%M:%S %z").astimezone(timezone.utc).replace(tzinfo=None)
        absent = {"-": None}
        want = {"client": client, "user": absent.get(user, user), "request_time": at, "status": int(code),
                "bytes": None if length == "-" else int(length), "referer": absent.get(referer, referer),
                "user_agent": absent.get(agent, agent)}
        row = rows[id]
        seen = {name: row[name] for name in want}
        assert seen == want, f"line {int(id)}: {seen}, not {want}"
        parts = row["request"] or " ".join(filter(None, (row["method"], row["path"], row["protocol"])))
        assert parts == request, f"line {int(id)}: {parts!r}, not {request!r}"
        status[int(code)] += 1
        size += want["bytes"] or 0
    [[statuses, sizes]] = lake.sql.execute("SELECT sum(status), sum(bytes) FROM apache_access").fetchall()
    assert (statuses, sizes) == (sum(code * count for code, count in status.items()), size), (statuses, sizes)
    seen = dict(lake.sql.execute("SELECT status, count(*) FROM apache_access GROUP BY 1").fetchall())
    assert seen == status, (seen, status)
    why = "; ".join(rejections.values())
    return f"{len(rows)} rows, {len(rejections)} rejected, sums: status {statuses}, bytes {sizes}. {why}"


def registered(servers, database, prefix, table) -> int:
    """Each folder that has objects is a partition in Glue, once, with values that are not escaped and its folder."""
    glue = client("glue", servers.moto)
    pages = glue.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=table)
    seen = Counter((tuple(its["Values"]), its["StorageDescriptor"]["Location"].rstrip("/")) for page in pages
                   for its in page["Partitions"])
    folders = {key.rsplit("/", 1)[0] for key in keys(servers, f"{prefix}/{table}/")}
    want = Counter((tuple(unquote(part.split("=", 1)[1]) for part in folder.split("/")[-3:]), f"s3://{BUCKET}/{folder}")
                   for folder in folders)
    assert want and seen == want, f"{database}.{table}: {(seen - want) + (want - seen)}"
    return len(seen)
