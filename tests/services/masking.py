"""Masking: what has to be masked is in no object of the bucket, in rows as in rejections."""
import base64
import gzip
import hashlib
import hmac
import json
import string

import samples
from lake import keys
from servers import BUCKET, Case, FileRun
from tables import Lake, config, opened

KEY = "a key of tests, 16 bytes or more"
RULES = """
[[table]]
schema = "app_json"
log_groups = ["/app/*"]
[[table]]
schema = "vpc_flow"
log_groups = ["/vpc"]
"""
MASK = """
[mask]
fields = ["password", "X-Api-Key"]
patterns = ["email", "credit_card", "jwt", "aws_access_key", "bearer_token", "url_password"]
regexes = ['TAN: (?P<secret>[a-z0-9]{12})', 'PIN[A-Z]{12}']
"""


class Secrets:
    """Makes them up, and remembers them."""

    def __init__(self, rng):
        self.rng, self.all = rng, []

    def text(self, letters=string.ascii_lowercase + string.digits, length=12):
        return self.keep("".join(self.rng.choices(letters, k=length)))

    def digits(self):
        return self.keep(str(self.rng.randrange(10**11, 10**12)))

    def card(self):
        """With the digit that makes the checksum right."""
        digits = [4, *(self.rng.randrange(10) for _ in range(14))]
        doubled = sum(sum(divmod(2 * digit, 10)) if at % 2 == 0 else digit for at, digit in enumerate(digits))
        return self.keep("".join(map(str, digits)) + str(-doubled % 10))

    def jwt(self):
        parts = (json.dumps({"alg": "HS256"}), json.dumps({"sub": self.rng.random()}), "signature")
        return self.keep(".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts))

    def keep(self, secret):
        self.all.append(secret)
        return secret


def masked(case: Case):
    """Texts and hashes, Parquet and JSON; and without a mask everything is found, so that the search is one."""
    secrets = Secrets(case.rng)
    put = list(events(secrets))
    poison = list(poisoned(secrets))
    assert len(set(secrets.all)) == len(secrets.all) > 20
    lines = list(samples.lines([*envelopes(put), *poison]))
    told = []
    for kind in ("parquet", "json"):
        for how, mask, hide in (("text", f'{MASK}replacement = "####"', lambda _: "####"),
                                ("hash", f'{MASK}hash_key = "{KEY}"', hashed)):
            prefix = f"masked-{kind}-{how}"
            FileRun(case, prefix, config(case, kind, RULES, mask), lines).done()
            rows, rejections = check(Lake(case, prefix, kind), put, len(poison), hide)
            found, objects = search(case, prefix, kind, secrets.all)
            assert not found, f"{prefix}: {found}"
            staged = keys(case.servers, f"{prefix}/_firemain/default/staged/")
            assert not staged, staged
            told.append(f"{kind}, {how}: {rows} rows, {rejections} rejections, nothing in {objects} objects")
    FileRun(case, "unmasked", config(case, "parquet", RULES), lines).done()
    found, objects = search(case, "unmasked", "parquet", secrets.all)
    assert found.keys() == set(secrets.all), f"not found: {set(secrets.all) - found.keys()}"
    return "; ".join([*told, f"without a mask all {len(found)} secrets are found in {objects} objects"])


def hashed(secret):
    return "hmac:" + hmac.new(KEY.encode(), secret.encode(), hashlib.sha256).hexdigest()[:32]


def events(secrets: Secrets):
    """Log group, message with places for secrets, the secrets, and whether the message is a row."""
    twice = secrets.text()
    yield "/app/a", '{"level":"info","user":{"name":"é","password":"%s"}}', [twice], True
    yield "/app/a", '{"message":"{\\"password\\":\\"%s\\",\\"n\\":1}"}', [secrets.text()], True
    yield "/app/a", '{"message":"{\\"a\\":\\"{\\\\\\"PassWord\\\\\\":\\\\\\"%s\\\\\\"}\\"}"}', [secrets.text()], True
    yield "/app/a", '{"x-api-key" : "%s", "password": null, "status": 200}', [secrets.text()], True
    yield "/app/a", '{"message":"to %s, TAN: %s."}', [f"{secrets.text()}@example.com", secrets.text()], True
    yield "/app/a", '{"message":"password=%s&next=1 again password=%s"}', [twice, secrets.text()], True
    yield "/app/a", 'no JSON, password=%s; Bearer %s', [secrets.text(), secrets.text() + "-x"], False
    yield "/app/a", '{"status":"password=%s"}', [secrets.text()], True
    yield "/vpc", "2 1 eni 1.1.1.1 1.1.1.1 %s x 6 20 4249 1 2 ACCEPT OK", [secrets.card()], False
    yield "/vpc", "2 1 %s 1.1.1.1 1.1.1.1 1 22 6 20 4249 1 2 ACCEPT OK", [secrets.jwt()], True
    yield "plain", "card %s paid by https://user:%s@example.com/", [secrets.card(), secrets.text()], True
    yield "plain", "AKIA%s é %s\n\u2028password = '%s'", \
        [secrets.text("ABCDEFG234567", 16), secrets.keep("PIN" + secrets.text(string.ascii_uppercase)),
         secrets.text()], True
    yield "plain", '"password": %s', [secrets.digits()], True
    # As other writers write them: .NET, PHP, Python, a shell; and a list of numbers.
    yield "plain", '{"m":"{\\u0022password\\u0022:\\u0022%s\\u0022}"}', [secrets.text()], True
    yield "plain", '{"m":"{\\n \\"password\\" :\\n\\"%s\\""}', [secrets.text()], True
    yield "plain", "{'user': 'x', 'password': b'%s', 'n': 1}", [secrets.text()], True
    yield "plain", 'curl -d {"password":\\"%s\\",\\"n\\":1}', [secrets.text()], True
    yield "/app/a", '{"m":[1,%s,2]}', [secrets.card()], True
    yield "plain", "charged %s 3 times, %s-22 and 41 %s", [secrets.card(), secrets.card(), secrets.card()], True


def poisoned(secrets: Secrets):
    """Records that are no envelopes; of the last two nobody can tell what is in them."""
    def stored(text):
        return gzip.compress(text.encode(), 0)

    yield b"text with password=" + secrets.text().encode()
    yield stored('{"messageType":"DATA_MESSAGE","password":"%s"}' % secrets.text())
    yield stored('{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","subscriptionFilters":[],'
                 '"logEvents":[{"id":"1","timestamp":"TAN: %s","message":"m"}]}' % secrets.text())
    yield stored('{"password":"%s"}' % secrets.text())[:-5]
    yield b"\xf3\x89\x9a\xc2 password=" + secrets.text().encode() + bytes(16)


def envelopes(put):
    for number, (group, template, its, _) in enumerate(put):
        event = {"id": f"{number:056d}", "timestamp": samples.EDGES[0], "message": fill(template, its)}
        yield {"messageType": "DATA_MESSAGE", "owner": samples.OWNER, "logGroup": group, "logStream": "s",
               "subscriptionFilters": ["f"], "logEvents": [event]}


def fill(template, its):
    return template % tuple(its)


def wanted(template, its, hide):
    """The message as it has to be: what is no string becomes one, a key keeps nothing of itself."""
    if template.startswith("AKIA"):
        template, its = template.removeprefix("AKIA"), ["AKIA" + its[0], *its[1:]]
    if template.endswith(': %s'):
        template = template[:-2] + '"%s"'
    template = template.replace("[1,%s,2]", '[1,"%s",2]')
    return fill(template, map(hide, its))


def check(lake: Lake, put, poison, hide):
    """Rows and rejections have what they should in the place of each secret."""
    for table in ("app_json", "vpc_flow", "log_events", "errors"):
        lake.view(table)
    seen = {row["event_id"]: row for table in ("app_json", "vpc_flow", "log_events")
            for row in lake.rows(f"SELECT * EXCLUDE (log_stream) FROM {table}")}
    rejections = lake.rows("SELECT errorcode, errormessage, rawdata FROM errors")
    payloads = [opened_if_whole(base64.b64decode(row["rawdata"] or "")) for row in rejections]
    events = {event["id"]: event["message"] for row, payload in zip(rejections, payloads)
              if row["errorcode"] == "Table.Mismatch" for event in json.loads(payload)["logEvents"]}
    for number, (_, template, its, is_row) in enumerate(put):
        want, id = wanted(template, its, hide), f"{number:056d}"
        message = seen.get(id, {}).get("message") if is_row else events.get(id)
        assert message == want and (id in seen) == is_row, f"{message!r}, not {want!r}"
    assert len(seen) + len(events) == len(put) and len(rejections) == len(events) + poison
    # Columns are made of what is masked.
    twice = hide(put[0][2][0])
    assert json.loads(seen[f"{0:056d}"]["extra"])["user"]["password"] == twice
    assert seen[f"{5:056d}"]["text"].startswith(f"password={twice}&next=1")
    assert seen[f"{9:056d}"]["interface_id"] == hide(put[9][2][0])
    withheld = [row for row, payload in zip(rejections, payloads) if not payload]
    assert len(withheld) == 2 and all("withheld" in row["errormessage"] for row in withheld), withheld
    return len(seen), len(rejections)


def opened_if_whole(data):
    try:
        return opened(data)
    except EOFError:
        return data


def search(case: Case, prefix, kind, secrets):
    """The secrets that are in any object below a prefix, and where: as it is, or unpacked; and how many there are."""
    found, objects = {}, keys(case.servers, f"{prefix}/")
    sql = Lake(case, prefix, kind).sql
    for key in objects:
        body = case.servers.bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        texts = [body]
        if key.endswith(".parquet"):
            rows = sql.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM read_parquet('s3://{BUCKET}/{key}')")
            texts += [str(value).encode() for row in rows.fetchall() for value in row]
        elif key.endswith(".gz"):
            texts += [gzip.decompress(body)]
            if f"/{prefix}/errors/" in f"/{key}":
                raw = [base64.b64decode(json.loads(line).get("rawData") or "") for line in texts[-1].splitlines()]
                texts += [*raw, *map(opened_if_whole, raw)]
        for secret in secrets:
            if any(secret.encode() in text for text in texts):
                found[secret] = key
    assert objects
    return found, len(objects)
