"""docs/runbook.md as written: each command of its console blocks is run, in order, and has to print what stands there.

`…` stands for anything: within a line, and as a line of its own for any lines. A comment `<!-- run: … -->` is a step that
the reader does not see; `console exit=1` after the fence says with what the last command of the block ends."""
import base64
import gzip
import io
import itertools
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from checks import Between, Handler
from servers import Case, client, end, free_port, start, until
from stream import settle

BUCKET, STREAM, PAGE = "my-lake", "app-logs", "127.0.0.1:9464"
DOCS = Path(__file__).resolve().parents[2] / "docs"
FENCE = re.compile(r"```(\w*)(?: exit=(\d+))?$")
STEP = re.compile(r"<!-- run: (.+) -->$")
ANYTHING = "…"


@dataclass
class Command:
    block: int
    line: int
    text: str
    expected: list[str]
    exit: int = 0


@dataclass
class Step:
    line: int
    text: str


@dataclass
class Example:
    """A block that is not run: a configuration, for a step that comes after it."""
    language: str
    text: str


def parsed(text):
    """What is to be done, in the order of the document. A fence or comment that is written otherwise is an error."""
    done, lines = [], iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if step := STEP.match(line):
            done.append(Step(number, step[1]))
        elif fence := FENCE.match(line):
            block = []
            for inside in lines:
                if inside[1] == "```":
                    break
                block.append(inside)
            else:
                raise AssertionError(f"line {number}: a block that does not end")
            if fence[1] == "console":
                done += commands(block, int(fence[2] or 0))
            else:
                assert fence[1] in ("sh", "sql", "toml"), f"line {number}: a block of {fence[1] or 'nothing'}"
                done.append(Example(fence[1], "".join(f"{line}\n" for _, line in block)))
        else:
            assert not re.search("```|~~~|<!--", line), f"line {number}: neither a fence nor a step: {line}"
    return done


def commands(block, exit):
    found, goes_on = [], False
    for number, line in block:
        if line.startswith("$ "):
            found.append(Command(block[0][0], number, line[2:], []))
        elif goes_on:
            found[-1].text += f"\n{line}"
        else:
            assert found, f"line {number}: output before the first command"
            found[-1].expected.append(line.rstrip())
        goes_on = line.endswith("\\") and not found[-1].expected
    assert found, "a console block without a command"
    found[-1].exit = exit
    return found


def pattern(expected):
    parts = ["(?:.*\n)*?" if line == ANYTHING else ".*?".join(map(re.escape, line.split(ANYTHING))) + "\n"
             for line in expected]
    return re.compile("".join(parts))


def plain(line):
    """Columns are as wide as what is in them: how wide does not count."""
    return re.sub(" {2,}", "  ", line.rstrip())


def compare(expected, got):
    """None, or the first line of what is expected that is not there."""
    expected = [plain(line) for line in expected]
    text = "".join(f"{plain(line)}\n" for line in got.splitlines())
    if pattern(expected).fullmatch(text):
        return None
    count = next(count for count in range(len(expected), -1, -1) if pattern(expected[:count]).match(text))
    return expected[count] if count < len(expected) else "the end of the output"


def run(world, command: Command):
    done = subprocess.run(["bash", "-c", world.shown_to_real(command.text)], cwd=world.folder, env=world.environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90)
    got = world.real_to_shown(done.stdout)
    vague = command.expected and all(line.strip(f"{ANYTHING} ") == "" for line in command.expected)
    missing = "more than …" if vague else compare(command.expected, got)
    if missing is None and done.returncode != command.exit:
        missing = f"exit code {command.exit}, not {done.returncode}"
    if missing is not None:
        raise AssertionError(f"docs/runbook.md:{command.line}: $ {command.text}\n--- missing: {missing}\n--- expected:\n"
                             + "\n".join(command.expected) + f"\n--- got (exit code {done.returncode}):\n{got}---")


def anchors(text):
    """Of its headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def linked(text):
    """Whatever links to a section of the runbook finds it there."""
    links = re.findall(r"\(#([\w-]+)\)", text)
    for page in [*DOCS.glob("*.md"), DOCS.parent / "README.md"]:
        links += re.findall(r"\((?:docs/)?runbook\.md#([\w-]+)\)", page.read_text())
    missing = set(links) - anchors(text)
    assert links and not missing, f"no such section: {missing}"
    return len(links)


def runbook(case: Case, page=DOCS / "runbook.md"):
    text = page.read_text()
    steps, links = parsed(text), linked(text)
    names = {step.text for step in steps if isinstance(step, Step)}
    assert names == STEPS.keys(), f"steps that are not there, or of no use: {names ^ STEPS.keys()}"
    world, ran = World(case), []
    try:
        for step in steps:
            if isinstance(step, Command):
                run(world, step)
                ran.append(step)
            elif isinstance(step, Step):
                try:
                    STEPS[step.text](world)
                except AssertionError as error:
                    raise AssertionError(f"docs/runbook.md:{step.line}: {step.text}: {error}") from None
            elif step.language == "toml":
                world.example = step.text
    finally:
        world.close()
    blocks = len({command.block for command in ran})
    assert blocks == text.count("```console"), f"{blocks} blocks were run"
    return f"{len(ran)} commands in {blocks} blocks print what they should, {len(names)} steps, {links} links"


class Gate(Handler):
    """Denies, throttles and ages what passes, as its server is told."""

    def do_any(self):
        if self.server.throttled and self.headers.get("x-amz-target", "").endswith("GetRecords"):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if self.server.answered:
                return self.reply(400, {"content-type": "application/x-amz-json-1.1"}, THROTTLED)
            self.server.answered = True
            body = json.dumps(asked | {"Limit": 1}).encode()
            self.headers.replace_header("content-length", str(len(body)))
            rfile, self.rfile = self.rfile, io.BytesIO(body)
            super().do_any()
            self.rfile = rfile
        else:
            super().do_any()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_any

    def reply(self, status, headers, data):
        if self.server.age and b"ApproximateArrivalTimestamp" in data:
            answer = json.loads(data)
            for record in answer["Records"]:
                record["ApproximateArrivalTimestamp"] -= self.server.age
            data = json.dumps(answer | {"MillisBehindLatest": self.server.age * 1000}).encode()
        super().reply(status, headers, data)


THROTTLED = json.dumps({"__type": "ProvisionedThroughputExceededException",
                        "message": "Rate exceeded for shard shardId-000000000000 in stream app-logs under account "
                                   "123456789012."}).encode()


class Gateway(Between):
    """Before S3 and before Kinesis. `age`: seconds by which records are made older. `throttled`: one record is handed out,
    and no more."""

    def __init__(self, to):
        self.throttled, self.answered, self.age = False, False, 0
        super().__init__(to)
        self.RequestHandlerClass = Gate


IDS = itertools.count(1)


def web(count, group="/ecs/web/shop"):
    """Payloads of ten lines of an access log each."""
    return [payload(group, [f'10.0.{number % 250}.{line} - - [22/Mar/2024:05:00:0{line} +0000] "GET /cart/{line} HTTP/1.1" '
                            f'200 51{line} "-" "curl/8.5"' for line in range(10)]) for number in range(count)]


def mail(count):
    return [payload("/aws/lambda/mail", [f"mail {number}.{line} sent" for line in range(10)]) for number in range(count)]


def payload(group, messages):
    now = int(time.time() * 1000)
    events = [{"id": f"3{next(IDS):055d}", "timestamp": now, "message": message} for message in messages]
    body = {"messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": group, "logStream": "i-0a1b",
            "subscriptionFilters": ["firemain"], "logEvents": events}
    return gzip.compress(json.dumps(body).encode())


class World:
    """A bucket, a stream, a folder with `firemain.toml` and the logs of workers; and what the reader calls them."""

    def __init__(self, case: Case):
        self.folder = case.folder / "runbook"
        binaries = self.folder / "bin"
        binaries.mkdir(parents=True)
        (binaries / "firemain").symlink_to(case.binary)
        self.s3, self.kinesis, self.reading = (Gateway(to) for to in (case.servers.s3, *[case.servers.kinesis] * 2))
        self.bucket, self.stream = case.servers.bucket, client("kinesis", case.servers.kinesis)
        self.bucket.create_bucket(Bucket=BUCKET)
        self.page, self.example, self.workers, self.put_so_far, self.keys = f"127.0.0.1:{free_port()}", "", [], 0, 0
        self.environment = case.servers.environment() | {
            "PATH": f"{binaries}:{os.environ['PATH']}", "HOME": str(self.folder), "AWS_PAGER": "",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{self.s3.port}",
            "AWS_ENDPOINT_URL_KINESIS": f"http://127.0.0.1:{self.kinesis.port}",
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{case.servers.moto}",
            # What takes minutes in a deployment takes seconds here.
            "FIREMAIN_FLUSH__INTERVAL": "1s", "FIREMAIN_LEASE_TIMEOUT": "2s", "FIREMAIN_HTTP__LISTEN": self.page}

    def shown_to_real(self, command):
        return command.replace(PAGE, self.page)

    def real_to_shown(self, output):
        return output.replace(self.page, PAGE)

    def begin(self, shards=2):
        """Anew, with nothing on the stream and in the bucket."""
        self.stop()
        for page in self.bucket.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for found in page.get("Contents", ()):
                self.bucket.delete_object(Bucket=BUCKET, Key=found["Key"])
        if STREAM in self.stream.list_streams()["StreamNames"]:
            self.stream.delete_stream(StreamName=STREAM)
            until(lambda: STREAM not in self.stream.list_streams()["StreamNames"], "the old stream is gone", 20)
        self.stream.create_stream(StreamName=STREAM, ShardCount=shards)
        settle(self.stream, STREAM)
        for log in self.folder.glob("*.log"):
            log.unlink()
        self.put_so_far = self.keys = 0
        self.configure(GOOD)

    def configure(self, tables):
        (self.folder / "firemain.toml").write_text(f'''destination = "s3://{BUCKET}/logs"

[source.kinesis]
stream = "{STREAM}"

{tables}''')

    def put(self, datas, key=None):
        """Each with a key of its own, the same in each run. Every payload has ten events."""
        for data in datas:
            self.keys += 1
            self.stream.put_record(StreamName=STREAM, Data=data, PartitionKey=key or f"i-{self.keys}")
        self.put_so_far += 10 * len(datas)

    def start(self, name="worker", **settings):
        env = self.environment | {"AWS_ENDPOINT_URL_KINESIS": f"http://127.0.0.1:{self.reading.port}"}
        env |= {} if name == "worker" else {"FIREMAIN_HTTP__LISTEN": "off"}
        env |= {f"FIREMAIN_{key}": value for key, value in settings.items()}
        self.workers.append(start(["firemain", "run", "--config", "firemain.toml"], self.folder / f"{name}.log", env))

    def stop(self, number=signal.SIGTERM):
        for worker in self.workers:
            worker.send_signal(number)
        for worker in self.workers:
            worker.wait(30)
        self.workers = []

    def status(self):
        line = ["firemain", "status", "--config", "firemain.toml", "--output", "json"]
        done = subprocess.run(line, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=30)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def until(self, ready, what):
        until(lambda: ready(self.status()), what, 30)

    def until_delivered(self):
        def delivered(status):
            totals = status["totals"]
            done = totals["events"] + totals["rejections"]
            return done == self.put_so_far and not status["packs"] and not status["problems"]
        self.until(delivered, "all is delivered, and well")

    def close(self):
        end(self.workers)
        for gateway in (self.s3, self.kinesis, self.reading):
            gateway.shutdown()
            gateway.server_close()


GOOD = '''[[table]]
schema = "apache_access"
log_groups = ["/ecs/web/*"]
'''
STEPS = {}


def step(text):
    def named(function):
        STEPS[text] = function
        return function
    return named


@step("a worker, and a stream that it keeps up with")
def keeps_up(world: World):
    world.begin()
    world.put(web(20) + mail(10))
    world.start()
    world.until_delivered()


@step("no worker runs any more")
def nobody(world: World):
    world.stop(signal.SIGKILL)
    time.sleep(3.1)


@step("a worker on four shards, whose reading is throttled, and records of twenty minutes ago")
def behind(world: World):
    world.begin(4)
    world.put(web(20) + mail(20))
    world.kinesis.age = world.reading.age = 1200
    world.reading.throttled, world.reading.answered = True, False
    world.start()
    world.until(lambda status: status["totals"]["records"] == 1, "one record was read")
    time.sleep(1)


@step("nothing else reads the stream, and a second worker has been started")
def more_workers(world: World):
    world.reading.throttled, world.kinesis.age, world.reading.age = False, 0, 0
    world.start("worker-2")
    world.until_delivered()
    world.until(lambda status: sorted(worker["shards"] for worker in status["workers"]) == [2, 2], "two shards each")


@step("a worker, and a bucket that denies s3:PutObject from now on")
def denied(world: World):
    keeps_up(world)
    world.s3.denied = ("PUT", "/logs/")
    world.put(web(20) + mail(10))
    until(lambda: "access denied" in (world.folder / "worker.log").read_text(), "it is denied")


@step("the bucket allows it again")
def allowed(world: World):
    world.s3.denied = None
    until(lambda: "works again" in (world.folder / "worker.log").read_text(), "it works again")
    world.until_delivered()


@step("it denies for longer than stuck_after")
def stuck(world: World):
    """With a worker that bears it for three seconds only."""
    world.stop()
    world.start(STUCK_AFTER="3s")
    world.until(joined, "it has joined")
    world.s3.denied = ("PUT", "/logs/")
    world.put(web(1))
    assert world.workers.pop().wait(30) == 1, "it does not end"


def joined(status):
    return any(worker["member"] and worker["alive"] for worker in status["workers"])


@step("the bucket allows it, and a worker was started")
def started_again(world: World):
    world.s3.denied = None
    world.start()
    world.until_delivered()


@step("a worker, a producer of plain text, and a log group whose lines a rule does not expect")
def poison(world: World):
    world.begin()
    world.put(web(20) + mail(10))
    world.put([payload("/ecs/web/admin", [json.dumps({"level": "info", "msg": f"login {line}"}) for line in range(10)])
               for _ in range(5)])
    for number in range(3):
        world.put([f"Mar 22 05:00:0{number} batch-7 backup: done\n".encode()], "batch-7")
    world.put_so_far -= 27
    world.start(FLUSH__INTERVAL="3s")
    world.until_delivered()


@step("firemain.toml has these rules")
def mended(world: World):
    world.configure(world.example)


@step("the worker was started with this firemain.toml")
def deployed(world: World):
    world.stop()
    world.start()
    world.until(joined, "it has joined")


@step("a worker was deployed with a rule that sends all log groups to app_json, and rolled back")
def bad_deploy(world: World):
    world.begin()
    world.put(web(5))
    world.start()
    world.until_delivered()
    world.stop()
    world.configure(GOOD.replace("apache_access", "app_json").replace("/ecs/web/*", "*"))
    world.start(FLUSH__INTERVAL="3s")
    world.until(joined, "it has joined")
    world.put(web(20) + mail(10))
    world.until_delivered()
    world.configure(GOOD)
    deployed(world)


@step("the state was written by a newer release")
def newer(world: World):
    world.stop()
    listed = world.bucket.list_objects_v2(Bucket=BUCKET, Prefix="logs/_firemain/default/state/")["Contents"][-1]["Key"]
    body = world.bucket.get_object(Bucket=BUCKET, Key=listed)["Body"].read()
    number = int(listed[-25:-5]) + 1
    snapshot = json.loads(body) | {"version": 2, "number": number}
    world.bucket.put_object(Bucket=BUCKET, Key=f"{listed[:-25]}{number:020}.json", Body=json.dumps(snapshot).encode())


@step("two workers, on a stream of two shards")
def two(world: World):
    world.begin()
    world.put(web(20) + mail(10))
    world.start()
    world.start("worker-2")
    world.until_delivered()
    world.until(lambda status: sorted(worker["shards"] for worker in status["workers"]) == [1, 1], "a shard each")


@step("records go on coming")
def more(world: World):
    world.put(web(20) + mail(10))
    world.until_delivered()
    world.until(lambda status: None not in [shard["owner"] for shard in status["shards"] if shard["position"] != "end"],
                "each shard has an owner")


@step("Firehose delivers the stream, and has failed with some records; a worker delivers it to another prefix")
def firehose(world: World):
    world.begin()
    datas, folder = web(20) + mail(10), time.strftime("%Y/%m/%d/%H", time.gmtime())
    world.put(datas)
    lines = [event["message"] for data in datas for event in json.loads(gzip.decompress(data))["logEvents"]]
    body = gzip.compress("".join(f"{line}\n" for line in lines).encode())
    world.bucket.put_object(Bucket=BUCKET, Key=f"firehose/{folder}/app-logs-1.gz", Body=body)
    failed = [{"attemptsMade": 4, "arrivalTimestamp": 1711083600000 + number, "errorCode": "Lambda.FunctionTimedOut",
               "errorMessage": "The Lambda function invocation timed out", "attemptEndingTimestamp": 1711083660000,
               "rawData": base64.b64encode(data).decode(), "lambdaArn": "arn:aws:lambda:us-east-1:123456789012:function:x"}
              for number, data in enumerate(mail(5))]
    world.bucket.put_object(Bucket=BUCKET, Key="firehose-errors/processing-failed/2024/03/22/05/app-logs-1",
                            Body="".join(f"{json.dumps(line)}\n" for line in failed).encode())
    world.start()
    world.until_delivered()


@step("somebody has deleted an object of the lake")
def deleted(world: World):
    keeps_up(world)
    found = world.bucket.list_objects_v2(Bucket=BUCKET, Prefix="logs/apache_access/")["Contents"]
    world.bucket.delete_object(Bucket=BUCKET, Key=found[0]["Key"])
