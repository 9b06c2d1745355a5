"""Trino: installed, started, and asked."""
import json
import os
import shutil
import subprocess
import tarfile
import time
import urllib.request
import zipfile
from datetime import date, datetime
from pathlib import Path

from servers import KEY, REGION, SECRET, free_port, start, until

VERSION = "476"
ARTIFACTS = (f"io.trino:trino-server-core:{VERSION}:tar.gz", f"io.trino:trino-hive:{VERSION}:zip")
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"

NODE = """node.environment=test
node.id=firemain
node.data-dir={data}
node.bind-ip=127.0.0.1
node.internal-address=127.0.0.1
"""
CONFIG = """coordinator=true
node-scheduler.include-coordinator=true
http-server.http.port={port}
discovery.uri=http://127.0.0.1:{port}
"""
# The vector module is for the decoding of Parquet.
JVM = """-server
-Xmx{heap}
-XX:+UseSerialGC
-XX:+ExitOnOutOfMemoryError
-XX:ReservedCodeCacheSize=256M
-Djdk.attach.allowAttachSelf=true
-Dfile.encoding=UTF-8
--add-modules=jdk.incubator.vector
--enable-native-access=ALL-UNNAMED
"""
# moto's Glue has no segments, each of which would answer with all partitions, and no statistics of columns.
HIVE = """connector.name=hive
hive.metastore=glue
hive.metastore.glue.region={region}
hive.metastore.glue.endpoint-url=http://127.0.0.1:{glue}
hive.metastore.glue.aws-access-key={key}
hive.metastore.glue.aws-secret-key={secret}
hive.metastore.glue.partitions-segments=1
hive.table-statistics-enabled=false
hive.partition-projection-enabled=true
fs.native-s3.enabled=true
s3.endpoint=http://127.0.0.1:{s3}
s3.region={region}
s3.path-style-access=true
s3.aws-access-key={key}
s3.aws-secret-key={secret}
"""


class QueryFailed(Exception):
    """What Trino says."""


def java_home() -> Path:
    """The newest JDK that is new enough, or the one that is named."""
    named = os.environ.get("TRINO_JAVA_HOME")
    homes = [Path(named)] if named else sorted(Path("/usr/lib/jvm").glob("temurin-2[4-9]-jdk-*"))
    assert homes and (homes[-1] / "bin" / "java").exists(), "no JDK of version 24 or newer: set TRINO_JAVA_HOME"
    return homes[-1]


def install(folder: Path) -> Path:
    """The server's core and the one plugin that is needed, by Maven; what is there already stays."""
    home = folder / f"trino-{VERSION}"
    if home.exists():
        return home
    new = folder / "new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for artifact in ARTIFACTS:
        print(f"fetching {artifact}", flush=True)
        subprocess.run(["mvn", "-B", "-q", COPY, f"-Dartifact={artifact}", f"-DoutputDirectory={new}"], check=True,
                       stdin=subprocess.DEVNULL)
    with tarfile.open(new / f"trino-server-core-{VERSION}.tar.gz") as archive:
        archive.extractall(new, filter="tar")
    with zipfile.ZipFile(new / f"trino-hive-{VERSION}.zip") as archive:
        archive.extractall(new)
    server = new / f"trino-server-core-{VERSION}"
    shutil.rmtree(server / "plugin", ignore_errors=True)
    (server / "plugin").mkdir()
    (new / f"trino-hive-{VERSION}").rename(server / "plugin" / "hive")
    server.rename(home)
    shutil.rmtree(new)
    return home


class Trino:
    def __init__(self, home: Path, folder: Path, s3, glue):
        self.port = free_port()
        names = {"port": self.port, "data": folder / "data", "heap": os.environ.get("TRINO_HEAP", "2G"), "s3": s3,
                 "glue": glue, "region": REGION, "key": KEY, "secret": SECRET}
        files = {"node.properties": NODE, "config.properties": CONFIG, "jvm.config": JVM,
                 "log.properties": "io.trino=WARN\n", "catalog/hive.properties": HIVE}
        for name, text in files.items():
            path = folder / "etc" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.format(**names))
        self.process = start([home / "bin" / "launcher", "--etc-dir", folder / "etc", "--data-dir", folder / "data",
                              "run"], folder / "log", os.environ | {"JAVA_HOME": str(java_home())})
        # It answers some seconds before it has a node to scan with.
        until(lambda: self.query("SELECT count(*) FROM information_schema.schemata"), "Trino answers", 180, pause=1)

    def memory(self):
        """Of the process, in GB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e9

    def run(self, statement, schema="default"):
        """A statement as it is printed: the client takes its semicolon away, as Trino's own does."""
        return self.query(statement.rstrip().removesuffix(";"), schema)

    def query(self, sql, schema="default") -> list[dict]:
        columns, rows = [], []
        page = self.call(f"http://127.0.0.1:{self.port}/v1/statement", schema, sql)
        while True:
            if error := page.get("error"):
                raise QueryFailed(f"{error['errorName']}: {error['message']}")
            columns = page.get("columns") or columns
            rows += page.get("data") or []
            if "nextUri" not in page:
                break
            if "data" not in page:
                time.sleep(0.02)
            page = self.call(page["nextUri"], schema)
        kinds = [(column["name"], column["type"]) for column in columns]
        return [{name: value_of(kind, value) for (name, kind), value in zip(kinds, row)} for row in rows]

    def call(self, url, schema, body=None):
        headers = {"X-Trino-User": "test", "X-Trino-Catalog": "hive", "X-Trino-Schema": schema,
                   "X-Trino-Time-Zone": "UTC", "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME"}
        request = urllib.request.Request(url, body and body.encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)


def value_of(kind, value):
    """A value as the samples have it."""
    if value is None:
        return None
    if kind == "timestamp(3)":
        return datetime.fromisoformat(value)
    if kind == "date":
        return date.fromisoformat(value)
    return value


def literal(value) -> str:
    """A value in SQL."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat(' ', 'milliseconds')}'"
    if isinstance(value, date):
        return f"DATE '{value}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"DOUBLE '{value!r}'" if isinstance(value, float) else repr(value)
