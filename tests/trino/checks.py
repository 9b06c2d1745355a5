"""What Firemain delivers and the tables it prints, asked by Trino. See README.md."""
import argparse
import base64
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent / "services"))

import samples  # noqa: E402
from athena import same_as_glue  # noqa: E402
from engine import QueryFailed, Trino, install, literal  # noqa: E402
from evolution import COLUMNS, Growing  # noqa: E402
from lake import keys  # noqa: E402
from report import Report  # noqa: E402
from samples import EDGES, HOUR, TABLES  # noqa: E402
from servers import BUCKET, Case, FileRun, Servers, client, end, free_port, processes, seaweedfs  # noqa: E402
from servers import start, until  # noqa: E402
from tables import columns, config, firemain, opened, registered  # noqa: E402

KINDS = ("parquet", "json")
SCHEMAS = {name: table.schema for name, table in TABLES.items()} | {"log_events": "log_events"}
DAYS = sorted({samples.place("", edge)["dt"] for edge in EDGES})
BOUND = f"dt BETWEEN {literal(DAYS[0])} AND {literal(DAYS[-1])}"
# How the tables of each database come about, and whether their partitions are projected. Each is there for both kinds.
MADE = {"": ("Glue tables, partitions registered by Firemain", False),
        "_projected": ("Glue tables, partitions projected", True),
        "_ddl": ("Trino's DDL, partitions synchronized", False),
        "_ddl_projected": ("Trino's DDL, partitions projected", True)}

# Firemain escapes the first letter of it, or DuckDB would read it as no value; projection looks for it as it is.
UNSEEN = {"null"}


class Stack(Servers):
    """SeaweedFS and moto alone."""

    def __init__(self, folder: Path):
        self.s3 = seaweedfs(folder / "s3")
        self.moto = self.kinesis = free_port()
        start([sys.executable, Path(__file__).parent / "glue_server.py", "-H", "127.0.0.1", "-p", str(self.moto)],
              folder / "glue" / "log")
        until(lambda: client("glue", self.moto, 0).get_databases(), "moto answers")
        self.bucket = client("s3", self.s3)


@dataclass
class World:
    case: Case
    trino: Trino

    @property
    def glue(self):
        return client("glue", self.case.servers.moto)

    def location(self, kind, table):
        return f"s3://{BUCKET}/lake-{kind}/{table}/"

    def printed(self, kind, table, what, partitions, *more):
        return firemain(self.case, "schema", what, SCHEMAS.get(table, table), "--table", table, "--location",
                        self.location(kind, table), "--format", kind, "--partitions", partitions, *more)

    def want(self, table, projected=False):
        """The rows of a table, by their ids."""
        rows = samples.expected(table, columns(self.case, SCHEMAS[table]))
        return {id: row for id, row in rows.items() if not projected or row["log_group"] not in UNSEEN}

    def ids(self, schema, table, condition):
        found = self.trino.query(f'SELECT event_id FROM "{table}" WHERE {condition}', schema)
        return {row["event_id"] for row in found}


def groups_of(rows):
    return sorted({row["log_group"] for row in rows.values()})


def one_of(groups):
    return f"log_group IN ({', '.join(map(literal, groups))})"


def delivered(world: World):
    """Firemain delivers everything, and registers each partition once."""
    case, told = world.case, []
    for kind in KINDS:
        world.glue.create_database(DatabaseInput={"Name": kind})
        for table in [*SCHEMAS, "errors"]:
            world.glue.create_table(DatabaseName=kind,
                                    TableInput=json.loads(world.printed(kind, table, "glue", "registered")))
        began, prefix = time.monotonic(), f"lake-{kind}"
        lines = samples.lines(samples.envelopes(samples.puts()))
        FileRun(case, prefix, config(case, kind), lines, FIREMAIN_CATALOG__GLUE__DATABASE=kind).done()
        seconds = time.monotonic() - began
        partitions = sum(registered(case.servers, kind, prefix, table) for table in [*SCHEMAS, "errors"])
        objects = [key for key in keys(case.servers, f"{prefix}/") if "/_firemain/" not in key]
        told.append(f"{kind}: {len(objects)} objects and {partitions} partitions in {seconds:.1f} s")
    return "; ".join(told)


def made(world: World):
    """The other tables: by `schema glue` with projection, and by the DDL for Trino, as it is printed."""
    count = partitions = 0
    for kind in KINDS:
        for suffix, (_, projected) in list(MADE.items())[1:]:
            schema, how = f"{kind}{suffix}", "projected" if projected else "registered"
            world.glue.create_database(DatabaseInput={"Name": schema})
            for table in [*SCHEMAS, "errors"]:
                if "_ddl" in suffix:
                    world.trino.run(world.printed(kind, table, "ddl", how, "--dialect", "trino"), schema)
                else:
                    world.glue.create_table(DatabaseName=schema,
                                            TableInput=json.loads(world.printed(kind, table, "glue", how)))
                if schema.endswith("_ddl"):
                    world.trino.query(f"CALL system.sync_partition_metadata('{schema}', '{table}', 'FULL')", schema)
                    partitions += registered(world.case.servers, schema, f"lake-{kind}", table)
                parameters = world.glue.get_table(DatabaseName=schema, Name=table)["Table"]["Parameters"]
                # By this Firemain knows that nothing is to be registered.
                assert (parameters.get("projection.enabled") == "true") == projected, f"{schema}.{table}: {parameters}"
                count += 1
    return f"{count} tables, {partitions} partitions found by Trino"


def same_types(world: World):
    """A table has the same columns however it was made, as Parquet or JSON."""
    count = 0
    for table in [*SCHEMAS, "errors"]:
        first = None
        for kind in KINDS:
            for suffix in MADE:
                seen = [(row["Column"], row["Type"]) for row in world.trino.query(f'SHOW COLUMNS FROM "{table}"',
                                                                                  f"{kind}{suffix}")]
                first = first or seen
                assert seen == first, f"{kind}{suffix}.{table}: {set(seen) ^ set(first)}"
        count += len(first)
    return f"{count} columns of {len(SCHEMAS) + 1} tables, each in {len(KINDS) * len(MADE)} databases"


def values(world: World, kind, suffix):
    """Every value of every row, of every table."""
    rows = cells = 0
    for table in SCHEMAS:
        want = world.want(table, MADE[suffix][1])
        where = f"WHERE {one_of(groups_of(want))} AND {BOUND}" if MADE[suffix][1] else ""
        seen = world.trino.query(f'SELECT * FROM "{table}" {where}', f"{kind}{suffix}")
        some, its = samples.compare(want, seen, f"{kind}{suffix}.{table}")
        rows, cells = rows + some, cells + its
    return f"{rows} rows, {cells} values of {len(SCHEMAS)} tables, {errors(world, f'{kind}{suffix}')} rejections"


def errors(world: World, schema):
    """The rejections, decoded by Trino too."""
    place = samples.place("", samples.ARRIVAL)
    hour = f"dt = {literal(place['dt'])} AND hour = {literal(place['hour'])}"
    sql = f"SELECT *, to_hex(from_base64(rawdata)) AS decoded FROM errors WHERE error = 'Table.Mismatch' AND {hour}"
    seen = {}
    for row in world.trino.query(sql, schema):
        assert (row["errorcode"], row["attemptsmade"]) == ("Table.Mismatch", 1), row
        assert row["arrivaltimestamp"] == samples.ARRIVAL, row
        assert bytes.fromhex(row["decoded"]) == base64.b64decode(row["rawdata"]), row
        [event] = json.loads(opened(bytes.fromhex(row["decoded"])))["logEvents"]
        assert event["id"] not in seen, f"twice: {row}"
        seen[event["id"]] = row["errormessage"]
    assert seen == samples.rejected(), seen.items() ^ samples.rejected().items()
    return len(seen)


def filters(world: World, kind, suffix):
    """Conditions on the columns that partition a table."""
    projected, asked = MADE[suffix][1], 0
    (first, last), moment = (DAYS[0], DAYS[-1]), samples.of_millis
    # One millisecond before an hour, and the hour; the same of a day.
    at_edges = {f"\"timestamp\" {op} {literal(moment(edge))}": (op, moment(edge)) for edge in EDGES
                for op in ("=", "<", ">=")}
    compares = {"=": lambda a, b: a == b, "<": lambda a, b: a < b, ">=": lambda a, b: a >= b}
    for table in SCHEMAS if suffix == "" else ("every_type", "log_events", "apache_access"):
        want, schema = world.want(table, projected), f"{kind}{suffix}"
        groups = groups_of(want)
        conditions = {}
        for group in groups:
            conditions |= {
                f"log_group = {literal(group)}": lambda row, group=group: row["log_group"] == group,
                f"log_group = {literal(group)} AND dt = {literal(first)} AND hour = '05'":
                    lambda row, group=group: (row["log_group"], row["dt"], row["hour"]) == (group, first, "05"),
                f"log_group = {literal(group)} AND hour IN ('06', '23')":
                    lambda row, group=group: row["log_group"] == group and row["hour"] in ("06", "23")}
        conditions |= {
            f"{one_of(groups[:2])} AND dt = {literal(last)}":
                lambda row: row["log_group"] in groups[:2] and row["dt"] == last,
            f"{one_of(groups)} AND hour = '00'": lambda row: row["hour"] == "00"}
        if projected:
            conditions = {f"{condition} AND {BOUND}": holds for condition, holds in conditions.items()}
        else:
            conditions |= {
                f"log_group LIKE {literal(groups[0][:4] + '%')}":
                    lambda row: row["log_group"].startswith(groups[0][:4]),
                "regexp_like(log_group, '[-/]')": lambda row: "/" in row["log_group"] or "-" in row["log_group"],
                f"dt BETWEEN {literal(first)} AND {literal(first)}": lambda row: row["dt"] == first,
                f"dt > {literal(first)}": lambda row: row["dt"] > first,
                "hour = '05'": lambda row: row["hour"] == "05"}
            for condition, (op, edge) in at_edges.items():
                if any(compares[op](row["timestamp"], edge) for row in want.values()):
                    conditions[condition] = lambda row, op=op, edge=edge: compares[op](row["timestamp"], edge)
        for condition, holds in conditions.items():
            wanted = {id for id, row in want.items() if holds(row)}
            seen = world.ids(schema, table, condition)
            assert wanted and seen == wanted, f"{schema}.{table} WHERE {condition}: {len(seen)} of {len(wanted)}"
            asked += 1
    return f"{asked} conditions"


def like_lambda(world: World):
    """What people ask first, of the partitions that Firemain registered: only those that match are read."""
    told = []
    for kind in KINDS:
        for table in ("lambda_platform", "log_events"):
            wanted = {id for id, row in world.want(table).items() if row["log_group"].startswith("/aws/lambda/")}
            sql = f"SELECT event_id, \"$path\" AS path FROM {table} WHERE log_group LIKE '/aws/lambda/%'"
            seen = world.trino.query(sql, kind)
            assert wanted and {row["event_id"] for row in seen} == wanted, f"{kind}.{table}"
            assert all("/log_group=%2Faws%2Flambda%2F" in row["path"] for row in seen), seen[0]
            told.append(f"{len(seen)} of {kind} {table}")
    return ", ".join(told)


def injected(world: World):
    """A projected table has to be told its log groups: what is not said that way fails, and not silently."""
    single = "Injected projection requires single predicate"
    bad = {"": single, f"WHERE log_group LIKE '/aws/lambda/%' AND {BOUND}": single,
           f"WHERE log_group <> 'x' AND {BOUND}": single, f"WHERE {BOUND}": single}
    for kind in KINDS:
        for suffix in ("_projected", "_ddl_projected"):
            for where, message in bad.items():
                try:
                    seen = world.trino.query(f"SELECT count(*) FROM lambda_platform {where}", f"{kind}{suffix}")
                except QueryFailed as failed:
                    assert message in str(failed), failed
                else:
                    raise AssertionError(f"{kind}{suffix} {where} answers {seen}")
    return f"{len(bad) * 4} refused: {message}"


def predicates(world: World, kind):
    """Each value that is no list and no map finds its rows: statistics and dictionaries of files rule out no others."""
    want, asked = world.want("every_type"), 0
    found = {}
    for row in want.values():
        for column, value in row.items():
            if isinstance(value, (list, dict)) or column == "event_id":
                continue
            condition = f'"{column}" IS NULL' if value is None else f'"{column}" = {literal(value)}'
            found.setdefault(condition, set()).add(row["event_id"])
    found |= {"a_date < DATE '1970-01-01'": {id for id, row in want.items()
                                             if row["a_date"] and row["a_date"].year < 1970},
              "a_time < TIMESTAMP '1970-01-01 00:00:00'": {id for id, row in want.items()
                                                           if row["a_time"] and row["a_time"].year < 1970},
              "a_list IS NULL": {id for id, row in want.items() if row["a_list"] is None},
              "cardinality(a_list) = 0": {id for id, row in want.items() if row["a_list"] == []},
              "contains(a_list, 'a\n')": {id for id, row in want.items() if "a\n" in (row["a_list"] or ())},
              "a_map IS NULL": {id for id, row in want.items() if row["a_map"] is None},
              "cardinality(a_map) = 0": {id for id, row in want.items() if row["a_map"] == {}},
              "element_at(a_map, 'é 🔥') = '1'": {id for id, row in want.items() if "é 🔥" in (row["a_map"] or ())},
              "a_bigint < 0": {id for id, row in want.items() if (row["a_bigint"] or 0) < 0},
              "an_int > 2147483646": {id for id, row in want.items() if (row["an_int"] or 0) == 2147483647}}
    for condition, wanted in found.items():
        seen = world.ids(kind, "every_type", condition)
        assert wanted and seen == wanted, f"{kind} WHERE {condition}: {len(seen)} of {len(wanted)}"
        asked += 1
    return f"{asked} conditions"


def counts(world: World):
    """Parquet and JSON tables answer alike, counted by their partitions."""
    rows = 0
    for table in SCHEMAS:
        sql = f'SELECT log_group, dt, hour, count(*) AS n, count(DISTINCT event_id) AS ids FROM "{table}" ' \
              "GROUP BY 1, 2, 3"
        seen = [sorted(tuple(row.values()) for row in world.trino.query(sql, kind)) for kind in KINDS]
        want = {}
        for row in world.want(table).values():
            place = row["log_group"], row["dt"], row["hour"]
            want[place] = want.get(place, 0) + 1
        want = sorted((*place, count, count) for place, count in want.items())
        assert seen[0] == seen[1] == want, f"{table}: {seen}, not {want}"
        rows += sum(row[3] for row in want)
    return f"{rows} rows of {len(SCHEMAS)} tables"


def evolved(world: World):
    """Columns that come with a version, at the end or before others: older partitions, registered without, go on."""
    told = []
    for kind in KINDS:
        for place, columns in (("at the end", [*COLUMNS, ("b", "double")]),
                               ("in the middle", [*COLUMNS[:3], ("b", "double"), *COLUMNS[3:]])):
            growing = Growing(world.case, kind, f"evolved-{place.split()[-1]}")
            schema = growing.prefix.replace("-", "_")
            world.glue.create_database(DatabaseInput={"Name": schema})
            changes = (1, COLUMNS, world.glue.create_table), (2, columns, world.glue.update_table)
            for version, its, change in changes:
                growing.write(version, its)
                printed = firemain(world.case, "schema", "glue", "growing", "--format", kind, "--location",
                                   f"s3://{BUCKET}/{growing.prefix}/growing/", schemas_dir=growing.folder)
                change(DatabaseName=schema, TableInput=json.loads(printed))
                growing.run(version, its, FIREMAIN_CATALOG__GLUE__DATABASE=schema, shift=version * HOUR).done()
            seen = world.trino.query("SELECT event_id, a, n, b FROM growing ORDER BY event_id", schema)
            want = [{"event_id": f"{number:056d}", "a": "x", "n": 7, "b": b} for number, b in ((1, None), (2, 1.5))]
            assert seen == want, f"{kind}, {place}: {seen}"
            told.append(f"{kind}, {place}")
    return f"{len(told)} tables: {'; '.join(told)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--firemain", type=Path, required=True)
    parser.add_argument("--install", type=Path, required=True, help="where Trino is, or is to be")
    parser.add_argument("--only", default="", help="a part of the names of the checks to run; what they need runs too")
    options = parser.parse_args()
    checks = {"delivered": delivered, "tables made": made, "same columns": same_types, "counts": counts}
    needed = ("delivered", "tables made")
    for kind in KINDS:
        for suffix, (how, _) in MADE.items():
            checks[f"values, {kind}, {how}"] = lambda world, kind=kind, suffix=suffix: values(world, kind, suffix)
    checks["LIKE '/aws/lambda/%'"] = like_lambda
    for kind in KINDS:
        for suffix, (how, _) in MADE.items():
            checks[f"filters, {kind}, {how}"] = lambda world, kind=kind, suffix=suffix: filters(world, kind, suffix)
    for kind in KINDS:
        checks[f"predicates, {kind}"] = lambda world, kind=kind: predicates(world, kind)
    checks["log groups not named"] = injected
    checks["columns added"] = evolved
    checks["Athena's DDL"] = lambda world: same_as_glue(world.case, [*SCHEMAS.items(), ("errors", "errors")])
    folder, began = Path(tempfile.mkdtemp(prefix="firemain-trino-")), time.monotonic()
    report = Report(folder, 62)
    try:
        home = install(options.install.resolve())
        installed = time.monotonic()
        stack = Stack(folder)
        trino = Trino(home, folder / "trino", stack.s3, stack.moto)
        print(f"installed in {installed - began:.1f} s, started in {time.monotonic() - installed:.1f} s", flush=True)
        case = Case(stack, str(options.firemain.resolve()), [], Random(0), folder, folder)
        world = World(case, trino)
        for name, check in checks.items():
            if options.only in name or name in needed:
                report.run(name, lambda check=check: check(world))
        print(f"Trino took {trino.memory():.1f} GB of memory, all of it {time.monotonic() - began:.0f} s")
    finally:
        end(processes)
        report.clear()
    report.exit()


if __name__ == "__main__":
    main()
