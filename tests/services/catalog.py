"""Partitions that are made known to Glue, by moto; and what happens while nobody answers there."""
import json
import socket
import socketserver
import threading
import time
from collections import Counter

import samples
from lake import Group, counts, keys, same
from samples import HOUR, TABLES
from servers import BUCKET, Case, FileRun, Run, client, free_port, until
from stream import Feed, make_stream
from tables import Lake, config, firemain, registered

SCHEMAS = {name: table.schema for name, table in TABLES.items()} | {"log_events": "log_events", "errors": "errors"}


def make_table(case: Case, glue, database, prefix, table, partitions="registered"):
    location = f"s3://{BUCKET}/{prefix}/{table}/"
    printed = firemain(case, "schema", "glue", SCHEMAS[table], "--table", table, "--location", location,
                       "--partitions", partitions)
    glue.create_table(DatabaseName=database, TableInput=json.loads(printed))


def envelopes(start=0, shift=0):
    """All samples, again under other ids and later."""
    for envelope in samples.envelopes(samples.puts()):
        for event in envelope["logEvents"]:
            event["id"], event["timestamp"] = str(int(event["id"]) + start), event["timestamp"] + shift
        yield envelope


def told_of(run: Run, *words):
    """The lines of the log with all these words."""
    return [line for line in run.log.read_text().splitlines() if all(word in line for word in words)]


def glued(case: Case):
    """Every partition of every object, once, after further runs too; none of a table that is projected or missing."""
    glue, prefix = client("glue", case.servers.moto), "glued"
    glue.create_database(DatabaseInput={"Name": prefix})
    missing, projected = "vpc_own", "app_json"
    for table in SCHEMAS.keys() - {missing}:
        make_table(case, glue, prefix, prefix, table, "projected" if table == projected else "registered")
    usual, found = SCHEMAS.keys() - {missing, projected}, []
    # The second has more objects in the same partitions, the third in others too.
    for start_id, shift in ((0, 0), (10**9, 0), (2 * 10**9, 7 * HOUR)):
        run = FileRun(case, prefix, config(case), samples.lines(envelopes(start_id, shift)),
                      FIREMAIN_CATALOG__GLUE__DATABASE=prefix)
        run.done()
        found.append(sum(registered(case.servers, prefix, prefix, table) for table in usual))
        warned = told_of(run, "WARN", missing, "not registered")
        assert len(warned) == 1 and "firemain schema glue" in warned[0], warned
    assert found[0] == found[1] < found[2], found
    for table in (projected, missing):
        assert keys(case.servers, f"{prefix}/{table}/"), f"{table} has no objects"
    pages = glue.get_partitions(DatabaseName=prefix, TableName=projected)["Partitions"]
    assert not pages, f"of a projected table {len(pages)} partitions are registered"
    everything(case, prefix, 3)
    make_table(case, glue, prefix, prefix, missing)
    lines = samples.lines([*envelopes(3 * 10**9), *envelopes(4 * 10**9, 7 * HOUR)])
    FileRun(case, prefix, config(case), lines, FIREMAIN_CATALOG__GLUE__DATABASE=prefix).done()
    late = registered(case.servers, prefix, prefix, missing)
    return f"{' then '.join(map(str, found))} partitions of {len(usual)} tables, none of a projected one, {late} of " \
           f"one that was missing; {warned[0].split('WARN')[1].strip()}"


def everything(case: Case, prefix, times):
    """Each sample is there so many times, under different ids."""
    lake = Lake(case, prefix)
    rows = Counter()
    for table in SCHEMAS.keys() - {"errors"}:
        lake.view(table, SCHEMAS[table])
        [[rows[table], ids]] = lake.sql.execute(f"SELECT count(*), count(DISTINCT event_id) FROM {table}").fetchall()
        assert rows[table] == ids, f"{table}: {rows[table]} rows, {ids} ids"
    want = Counter(put.table for put in samples.puts() if put.table)
    assert rows == Counter({table: times * count for table, count in want.items()}), rows


def glue_down(case: Case):
    """Nobody listens, or answers: everything is delivered all the same, by files and by drains, which end soon."""
    down, prefix = free_port(), "glue-down"
    settings = {"AWS_ENDPOINT_URL_GLUE": f"http://127.0.0.1:{down}", "FIREMAIN_CATALOG__GLUE__DATABASE": "none"}
    began = time.monotonic()
    run = FileRun(case, prefix, config(case), samples.lines(envelopes()), **settings)
    until(lambda: keys(case.servers, f"{prefix}/log_events/"), "objects are there", 8)
    visible = time.monotonic() - began
    run.done(60)
    files = time.monotonic() - began
    everything(case, prefix, 1)
    warned = told_of(run, "WARN", "registering partitions of log_events")
    assert warned, f"no warning: {run.tail()}"
    assert told_of(run, "WARN", "partitions could not be registered", "MSCK REPAIR TABLE"), run.tail()
    Group(case.servers, prefix).assert_at_rest()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = [drained(case, "glue-down-drain", down), drained(case, "glue-hangs-drain", silent.getsockname()[1])]
    return f"files: visible after {visible:.1f} s, ended after {files:.1f} s; refused, {told[0]}; silent, {told[1]}; " \
           f"{warned[0].split('WARN')[1].strip()[:150]}"


def drained(case: Case, stream, glue_port):
    make_stream(case.servers, stream, 2)
    feed, began = Feed(case, stream), time.monotonic()
    feed.put(50)
    Run(case, stream, stream, "--drain", glue=glue_port, CATALOG__GLUE__DATABASE="none").done(60)
    seconds = time.monotonic() - began
    Group(case.servers, stream).assert_at_rest()
    return f"drain: {same(counts(case.servers, stream), feed.want, stream)}, {seconds:.1f} s"


class Forwarder(socketserver.ThreadingTCPServer):
    """Hands what comes to a port on to another: a server that is there all of a sudden, with all that it has."""
    daemon_threads = allow_reuse_address = True

    def __init__(self, port, to):
        self.to = to
        super().__init__(("127.0.0.1", port), Forwarding)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Forwarding(socketserver.BaseRequestHandler):
    def handle(self):
        with socket.create_connection(("127.0.0.1", self.server.to)) as other:
            back = threading.Thread(target=copy, args=(other, self.request), daemon=True)
            back.start()
            copy(self.request, other)
            back.join()


def copy(one, other):
    while data := one.recv(65536):
        other.sendall(data)
    other.shutdown(socket.SHUT_WR)


def glue_late(case: Case):
    """Glue is down at first, and comes while Firemain runs: the partitions appear without anything new being put."""
    port, prefix, glue = free_port(), "glue-late", client("glue", case.servers.moto)
    glue.create_database(DatabaseInput={"Name": prefix})
    make_table(case, glue, prefix, prefix, "log_events")
    make_stream(case.servers, prefix, 2)
    # More partitions than go into one call.
    feed, group = Feed(case, prefix, [f"/late/{n}" for n in range(60)]), Group(case.servers, prefix)
    feed.put(60)
    # The account that moto has everything in.
    run = Run(case, prefix, prefix, glue=port, CATALOG__GLUE__DATABASE=prefix, CATALOG__GLUE__CATALOG_ID="123456789012",
              FLUSH__INTERVAL="1s")
    until(lambda: group.events() == feed.events, "the first is committed", 20)
    time.sleep(3)
    feed.put(30)
    until(lambda: group.events() == feed.events, "more is committed while Glue is down", 20)
    until(lambda: sum(count for count, _ in counts(case.servers, prefix).values()) == feed.events, "and visible", 10)
    assert told_of(run, "WARN", "registering partitions"), run.tail()
    assert not glue.get_partitions(DatabaseName=prefix, TableName="log_events")["Partitions"], "it is not down"
    with Forwarder(port, case.servers.moto) as forwarder:
        began = time.monotonic()
        until(lambda: registered(case.servers, prefix, prefix, "log_events"), "the partitions appear", 30)
        seconds = time.monotonic() - began
        run.stop()
        forwarder.shutdown()
    Group(case.servers, prefix).assert_at_rest()
    told = same(counts(case.servers, prefix), feed.want, "with Glue late")
    partitions = registered(case.servers, prefix, prefix, "log_events")
    return f"{told}, {partitions} partitions registered {seconds:.1f} s after Glue came"


def glue_killed(case: Case):
    """Killed when its objects are visible and not registered: the next worker registers them, with nothing new put."""
    prefix, glue = "glue-killed", client("glue", case.servers.moto)
    glue.create_database(DatabaseInput={"Name": prefix})
    make_table(case, glue, prefix, prefix, "log_events")
    make_stream(case.servers, prefix, 2)
    feed = Feed(case, prefix)
    feed.put(30)
    settings = {"CATALOG__GLUE__DATABASE": prefix, "FLUSH__INTERVAL": "1s", "LEASE_TIMEOUT": "1s"}
    first = Run(case, prefix, prefix, glue=free_port(), **settings)
    until(lambda: sum(count for count, _ in counts(case.servers, prefix).values()) == feed.events, "it is visible", 20)
    first.kill()
    assert not glue.get_partitions(DatabaseName=prefix, TableName="log_events")["Partitions"]
    began, second = time.monotonic(), Run(case, prefix, prefix, **settings)
    until(lambda: registered(case.servers, prefix, prefix, "log_events"), "the next worker registers them", 30)
    seconds = time.monotonic() - began
    second.stop()
    Group(case.servers, prefix).assert_at_rest()
    told = same(counts(case.servers, prefix), feed.want, "killed before it had registered")
    return f"{told}, registered by the next worker after {seconds:.1f} s"
