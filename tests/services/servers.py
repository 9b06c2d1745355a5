"""The servers, and the binary as a process beside them."""
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import boto3
from botocore.config import Config

REGION, BUCKET, KEY, SECRET = "us-east-1", "lake", "SERVICESKEY", "services-secret"
processes = []


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start(command, log: Path, env=None):
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=log.parent, env=env or os.environ)
    processes.append(process)
    return process


def end(some):
    """Kills those of the processes that still run. One that is stopped dies of it too."""
    for process in some:
        if process.poll() is None:
            process.kill()
            process.wait()


def until(ready, what, seconds=60, pause=0.1):
    end = time.monotonic() + seconds
    while True:
        error = None
        try:
            if ready():
                return
        except Exception as failed:
            error = failed
        assert time.monotonic() < end, f"not within {seconds} s: {what}" + (f" ({error!r})" if error else "")
        time.sleep(pause)


def client(service, port, retries=5, region=REGION):
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": retries, "mode": "standard"})
    return boto3.client(service, endpoint_url=f"http://127.0.0.1:{port}", region_name=region, config=config,
                        aws_access_key_id=KEY, aws_secret_access_key=SECRET)


def seaweedfs(folder: Path):
    """Starts it, with the bucket, and returns its port when it answers."""
    port = free_port()
    others = ["s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
              "filer.port.grpc", "admin.port", "admin.port.grpc"]
    start([shutil.which("weed"), f"-logdir={folder}", "mini", f"-dir={folder}", "-ip=127.0.0.1",
           "-ip.bind=127.0.0.1", f"-bucket={BUCKET}", "-s3.autoCreateBucket=false", "-s3.port.iceberg=0",
           "-s3.port.lance=0", "-admin.ui=false", "-webdav=false", "-master.telemetry=false",
           f"-s3.port={port}", *(f"-{name}={free_port()}" for name in others)], folder / "log",
          os.environ | {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET})
    until(lambda: client("s3", port, 0).put_object(Bucket=BUCKET, Key="ready", Body=b"1"), "SeaweedFS answers")
    return port


class Servers:
    def __init__(self, folder: Path, kinesis_binary: str):
        self.kinesis, self.moto = free_port(), free_port()
        start([kinesis_binary, "--ignored", "--exact", "kinesis::serve"], folder / "kinesis" / "log",
              os.environ | {"KINESIS_PORT": str(self.kinesis)})
        start([shutil.which("moto_server"), "-H", "127.0.0.1", "-p", str(self.moto)], folder / "moto" / "log")
        self.s3 = seaweedfs(folder / "s3")
        self.bucket = client("s3", self.s3)
        until(lambda: client("kinesis", self.kinesis, 0).list_streams(), "ferrokinesis answers")
        until(lambda: client("kinesis", self.moto, 0).list_streams(), "moto answers")

    def environment(self, kinesis=None, glue=None):
        return {"PATH": os.environ["PATH"], "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.s3}",
                "AWS_ENDPOINT_URL_GLUE": f"http://127.0.0.1:{glue or self.moto}",
                "AWS_ENDPOINT_URL_KINESIS": f"http://127.0.0.1:{kinesis or self.kinesis}"}


@dataclass
class Case:
    """What a scenario gets to work with."""
    servers: Servers
    binary: str
    lines: list[str]
    rng: Random
    folder: Path
    logs: Path

    def moment(self, seconds):
        """About so long."""
        time.sleep(seconds * self.rng.uniform(0.5, 1.5))


class Run:
    """A running firemain, delivering one stream to one prefix of the bucket."""
    numbers = itertools.count(1)

    def __init__(self, case: Case, stream, prefix, *args, kinesis=None, glue=None, **settings):
        env = case.servers.environment(kinesis, glue) | {f"FIREMAIN_{name}": value for name, value in settings.items()}
        self.start(case, prefix, ["--source", f"kinesis://{stream}", *args], env)

    def start(self, case: Case, prefix, args, env):
        command = [case.binary, "run", "--destination", f"s3://{BUCKET}/{prefix}", *args]
        self.log = case.folder / f"{next(self.numbers):03}-{prefix}.log"
        self.process = start(command, self.log, env | {"RUST_LOG": "info,firemain=debug"})

    def is_alive(self):
        return self.process.poll() is None

    def cpu_seconds(self):
        """Used so far, by all of its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number):
        assert self.is_alive(), f"it has ended before: {self.tail()}"
        self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds=20):
        self.signal(signal.SIGTERM)
        self.done(seconds)

    def done(self, seconds=120):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = f"none in {seconds} s"
        assert code == 0, f"exit {code}: {self.tail()}"

    def tail(self):
        return f"{self.log}: {self.log.read_text()[-800:]}"


class FileRun(Run):
    """The same of files of records, with a configuration: a further one for each run of a prefix. It ends by itself."""

    def __init__(self, case: Case, prefix, config: str, lines, *args, **env):
        folder = case.folder / f"{prefix}-records"
        folder.mkdir(exist_ok=True)
        number = len(list(folder.iterdir()))
        (folder / f"{number:03}.json").write_text("".join(f"{line}\n" for line in lines))
        path = case.folder / f"{prefix}.toml"
        path.write_text(f"{config}\n[source.file]\npaths = [\"{folder}/*.json\"]\n")
        self.start(case, prefix, ["--config", path, *args], case.servers.environment() | env)

    def refused(self, seconds=30):
        """The last line of what it says when it does not begin."""
        code = self.process.wait(seconds)
        assert code not in (0, 101), f"exit {code}: {self.tail()}"
        return f"exit {code}: {self.log.read_text().strip().splitlines()[-1]}"
