"""`firemain check`: one thing is broken after the other, and the line that says so is looked for. moto is S3, Kinesis, Glue
and STS, behind a proxy that denies actions, and tells another time."""
import http.client
import json
import subprocess
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from servers import KEY, REGION, SECRET, Case, client, until
from stream import settle
from tables import firemain

NAME, ACCOUNT, OTHER_REGION = "checked", "123456789012", "eu-west-1"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
# Of the settings of a bucket, none of which the service needs: part of the request, action, line.
SETTINGS = [("?ownershipControls", "s3:GetBucketOwnershipControls", "object ownership"),
            ("?publicAccessBlock", "s3:GetBucketPublicAccessBlock", "public access"),
            ("?encryption", "s3:GetEncryptionConfiguration", "encryption"),
            ("?versioning", "s3:GetBucketVersioning", "versioning"),
            ("?lifecycle", "s3:GetLifecycleConfiguration", "lifecycle")]


class Between(ThreadingHTTPServer):
    """Hands requests on to another server. Its clock is ahead by so many seconds; requests of a method whose target has a
    part are denied, or held up until they are let go."""
    daemon_threads = True

    def __init__(self, to):
        self.to, self.ahead, self.denied, self.held, self.let_go = to, 0, None, None, threading.Event()
        self.holds = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A client that has gone, as one does that is ended by a signal."""

    @property
    def port(self):
        return self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True

    def matches(self, what):
        return what and what[0] == self.command and what[1] in self.path

    def do_any(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.matches(self.server.denied):
            return self.reply(403, {}, DENIED)
        if self.matches(self.server.held):
            self.server.holds.set()
            self.server.let_go.wait(30)
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=30)
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        # moto calls it otherwise than S3 does.
        data = answer.read().replace(b"GetBucketVersioningResponse", b"VersioningConfiguration")
        dropped = ("date", "server", "content-length", "connection", "transfer-encoding")
        self.reply(answer.status, {k: v for k, v in answer.getheaders() if k.lower() not in dropped}, data)
        upstream.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_any

    def reply(self, status, headers, data):
        self.send_response_only(status)
        self.send_header("Date", formatdate(time.time() + self.server.ahead, usegmt=True))
        for header in headers.items():
            self.send_header(*header)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        pass


class World:
    """A deployment that lacks nothing: bucket, stream, Glue tables."""

    def __init__(self, case: Case):
        moto = case.servers.moto
        self.case, self.between = case, Between(moto)
        self.s3, self.kinesis, self.glue = (client(service, moto) for service in ("s3", "kinesis", "glue"))
        self.s3.create_bucket(Bucket=NAME)
        self.block_public(True)
        self.own("BucketOwnerEnforced")
        self.encrypt({"SSEAlgorithm": "AES256"})
        self.rules(ABORT)
        self.kinesis.create_stream(StreamName=NAME, ShardCount=2)
        settle(self.kinesis, NAME)
        self.arn = self.kinesis.describe_stream_summary(StreamName=NAME)["StreamDescriptionSummary"]["StreamARN"]
        self.kinesis.put_record(StreamName=NAME, PartitionKey="a", Data=b"{}")
        self.glue.create_database(DatabaseInput={"Name": NAME})
        for table in ("log_events", "apache_access", "errors"):
            self.glue.create_table(DatabaseName=NAME, TableInput=self.table(table))

    def table(self, name, **storage):
        location = f"s3://{NAME}/logs/{name}/"
        table = json.loads(firemain(self.case, "schema", "glue", name, "--location", location))
        table["StorageDescriptor"] |= storage
        return table

    def update_table(self, name, **storage):
        self.glue.update_table(DatabaseName=NAME, TableInput=self.table(name, **storage))

    def block_public(self, policy):
        block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "RestrictPublicBuckets"), True)
        self.s3.put_public_access_block(Bucket=NAME, PublicAccessBlockConfiguration=block | {"BlockPublicPolicy": policy})

    def own(self, ownership):
        self.s3.put_bucket_ownership_controls(Bucket=NAME, OwnershipControls={"Rules": [{"ObjectOwnership": ownership}]})

    def encrypt(self, default):
        rule = {"ApplyServerSideEncryptionByDefault": default}
        self.s3.put_bucket_encryption(Bucket=NAME, ServerSideEncryptionConfiguration={"Rules": [rule]})

    def rules(self, *rules):
        self.s3.put_bucket_lifecycle_configuration(Bucket=NAME, LifecycleConfiguration={"Rules": list(rules)})

    def version(self, status):
        self.s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": status})

    def command(self, *args, **settings):
        settings = {"SOURCE__KINESIS__STREAM": NAME, "DESTINATION": f"s3://{NAME}/logs", "CATALOG__GLUE__DATABASE": NAME,
                    "TABLE": '[{schema = "apache_access", log_groups = ["/web"]}]'} | settings
        env = {"AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
               "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.between.port}"}
        env |= {f"FIREMAIN_{name}": value for name, value in settings.items()}
        return {"args": [self.case.binary, "check", *args], "env": env, "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE, "text": True}

    def check(self, **settings):
        """The lines, by subject, and what the command ended with."""
        done = subprocess.run(**self.command("--output", "json", **settings), timeout=60)
        assert done.stdout, f"exit {done.returncode}: {done.stderr}"
        lines, found = json.loads(done.stdout)["checks"], {}
        for line in lines:
            found.setdefault(line["subject"], []).append((line["state"], line["text"]))
        failed = any(line["state"] == "failed" for line in lines)
        assert done.returncode == int(failed), f"exit {done.returncode}: {lines}"
        return found

    def objects(self):
        return [object["Key"] for object in self.s3.list_objects_v2(Bucket=NAME).get("Contents", ())]


ABORT = {"ID": "abort", "Status": "Enabled", "Filter": {"Prefix": ""},
         "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
OLD_VERSIONS = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/_firemain/"},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
EXPIRES = {"ID": "month", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}


def troubles(lines):
    """What is not as it should be, by subject."""
    return {subject: states for subject, found in lines.items()
            if (states := [state for state, _ in found if state != "ok"]) and subject != "Glue partitions"}


def checked(case: Case):
    """Everything is there; then one thing is broken after the other, told by its own line and no other."""
    world = World(case)
    between, told = world.between, 0

    def expect(subject, state, says, others=(), **settings):
        nonlocal told
        lines = world.check(**settings)
        assert subject in lines, f"no line of {subject}: {lines}"
        assert any(of == state and says in text for of, text in lines[subject]), f"{state} {says!r}: {lines[subject]}"
        wrong = troubles(lines).keys() - {subject, *others}
        assert not wrong, f"with {subject} broken, also {({name: lines[name] for name in wrong})}"
        told += 1

    whole = world.check()
    assert not troubles(whole), whole
    assert whole["Glue partitions"][0][0] == "not_checked" and "glue:BatchCreatePartition" in str(whole), whole
    assert f":user/moto of account {ACCOUNT}" in whole["credentials"][0][1], whole["credentials"]
    assert "one of shardId-" in whole["records"][0][1], whole["records"]
    assert "within" in whole["clock"][0][1] and "Kinesis, S3, STS" in whole["clock"][0][1], whole["clock"]
    passed = len(whole) - 1

    # The bucket.
    nothing = ("bucket settings", "objects, state", "objects")
    glue = ("Glue, log_events", "Glue, apache_access", "Glue, errors")
    expect("bucket", "failed", "there is no bucket no-such-bucket", (*nothing, *glue), DESTINATION="s3://no-such-bucket/logs")
    client("s3", case.servers.moto, region=OTHER_REGION).create_bucket(
        Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": OTHER_REGION})
    expect("bucket", "failed", f"set AWS_REGION={OTHER_REGION}, and name the stream by its ARN if it stays in {REGION}",
           (*nothing, *glue), DESTINATION="s3://elsewhere/logs")
    world.block_public(False)
    expect("public access", "warning", "BlockPublicPolicy is off, turn it on")
    world.s3.delete_public_access_block(Bucket=NAME)
    expect("public access", "warning", "no block of public access is set")
    world.block_public(True)
    world.own("ObjectWriter")
    expect("object ownership", "warning", "Object Ownership is ObjectWriter")
    world.own("BucketOwnerEnforced")
    world.encrypt({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/lake"})
    expect("encryption", "ok", "the key alias/lake: kms:GenerateDataKey and kms:Decrypt")
    world.encrypt({"SSEAlgorithm": "AES256"})
    world.version("Enabled")
    expect("versioning", "warning", "expires noncurrent versions below logs/_firemain/")
    world.rules(ABORT, OLD_VERSIONS)
    expect("versioning", "ok", "a lifecycle rule expires noncurrent versions")
    world.version("Suspended")
    world.rules(OLD_VERSIONS)
    expect("lifecycle", "warning", "no rule removes incomplete multipart uploads")
    world.rules(ABORT, EXPIRES)
    expect("lifecycle", "warning", 'the rule "month" deletes objects below logs/_firemain/ too')
    world.rules(ABORT)

    # The stream.
    expect("stream", "failed", f"no such stream or shard in {REGION}", ["records"], SOURCE__KINESIS__STREAM="no-such-stream")
    fan_out = {"SOURCE__KINESIS__MODE": "fan_out"}
    named = fan_out | {"SOURCE__KINESIS__CONSUMER_NAME": "reader"}
    expect("consumer", "not_checked", "kinesis:RegisterStreamConsumer", ["subscription"], **named)
    made = world.kinesis.register_stream_consumer(StreamARN=world.arn, ConsumerName="reader")["Consumer"]["ConsumerARN"]
    expect("consumer", "ok", f"{made} is ACTIVE", ["subscription"], **named)
    expect("subscription", "not_checked", f"kinesis:SubscribeToShard is allowed for {made}", **named)
    expect("consumer", "failed", "no such consumer", **fan_out,
           SOURCE__KINESIS__CONSUMER_ARN=f"{world.arn}/consumer/nobody:1711083600")

    # Glue.
    expect("Glue database", "failed", "there is no database nowhere", ["Glue tables"], CATALOG__GLUE__DATABASE="nowhere")
    world.update_table("log_events", Location="s3://other/log_events/")
    expect("Glue, log_events", "failed", 'its location is "s3://other/log_events/", and rows are delivered to')
    columns = world.table("log_events")["StorageDescriptor"]["Columns"]
    world.update_table("log_events", Columns=columns[:-1])
    expect("Glue, log_events", "warning", f"ALTER TABLE {NAME}.log_events ADD COLUMNS ({columns[-1]['Name']} ")
    world.update_table("log_events")
    world.glue.delete_table(DatabaseName=NAME, Name="apache_access")
    expect("Glue, apache_access", "warning", f"`firemain schema glue apache_access --location s3://{NAME}/logs/apache_access/`")
    world.glue.create_table(DatabaseName=NAME, TableInput=world.table("apache_access"))

    # The clock.
    for ahead, state in ((50, "ok"), (120, "warning"), (-120, "warning"), (400, "failed"), (-3600, "failed")):
        between.ahead = ahead
        says = "within" if state == "ok" else f"{'behind' if ahead > 0 else 'ahead of'} that of Kinesis, S3, STS"
        expect("clock", state, says)
    between.ahead = 0

    # What is denied.
    for part, action, subject in SETTINGS:
        between.denied = ("GET", part)
        expect(subject, "not_checked", f"allow {action}; the service does not need that")
    between.denied = ("PUT", "/logs/_firemain/default/staged/")
    expect("objects, staged", "failed", "create, overwrite: access denied: allow s3:PutObject")
    between.denied = ("GET", "list-type=2")
    expect("objects, state", "failed", "list: access denied: allow s3:ListBucket",
           [subject for subject in whole if subject.startswith("objects, ")])
    between.denied = None
    assert not world.objects(), f"left behind: {world.objects()}"
    return f"{passed} lines pass; {told} times one thing is wrong, and told; {interrupted(world)}"


def interrupted(world: World):
    """A signal in the middle: what was put is deleted."""
    between = world.between
    between.held = ("GET", "/logs/_firemain/default/state/.check-")
    process = subprocess.Popen(**world.command())
    until(between.holds.is_set, "it has put its first object, and gets it", 20)
    assert len(world.objects()) == 1, world.objects()
    process.terminate()
    code, said = process.wait(20), process.stderr.read().strip()
    assert code == 143 and said.endswith("ended by a signal: nothing is left behind"), f"exit {code}: {said}"
    assert not world.objects(), f"left behind: {world.objects()}"
    between.held = None
    between.let_go.set()
    assert not troubles(world.check()), "it is as before"
    return said
