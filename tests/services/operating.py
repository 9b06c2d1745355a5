"""What an operator does: replay, over kills, and the books."""
import json
import subprocess
from collections import Counter

from lake import counts, keys, same
from servers import BUCKET, Case, Run, start
from stream import make_stream, payloads, put

# No line of these log groups is JSON: all are rejected.
WRONG = {"TABLE": "[{schema='app_json', log_groups=['/replay/*']}]"}
# Many flushes, so that kills fall between them.
SLOW = {"FLUSH__BUFFER_BYTES": "1MiB", "LEASE_TIMEOUT": "1s"}


def environment(case: Case, settings):
    return case.servers.environment() | {f"FIREMAIN_{name}": value for name, value in settings.items()}


def told(case: Case, command, prefix, *args, code=0, **settings) -> dict:
    """What a command says as JSON, which ends with this code."""
    line = [case.binary, command, "--destination", f"s3://{BUCKET}/{prefix}", "--output", "json", *args]
    done = subprocess.run(line, env=environment(case, settings), capture_output=True, text=True, timeout=120)
    assert done.returncode == code, f"{command}: exit {done.returncode}: {done.stderr[-800:]}"
    return json.loads(done.stdout) if done.stdout else {}


def balanced(case: Case, prefix, *args) -> str:
    """The proof of `verify`, in short."""
    proof = told(case, "verify", prefix, *args)
    read, lake = proof["read"], proof["delivered"]
    assert (read["events"], read["rejections"], read["objects"]) == (lake["rows"], lake["rejections"], lake["objects"])
    return f"books of {proof['commits']} commits"


class Replay(Run):
    """A replay as a process."""

    def __init__(self, case: Case, prefix, *args, **settings):
        self.log = case.folder / f"{next(self.numbers):03}-{prefix}-replay.log"
        command = [case.binary, "replay", "--destination", f"s3://{BUCKET}/{prefix}", *args]
        self.process = start(command, self.log, environment(case, settings))


def replayed(case: Case, kills):
    """Everything is rejected by a wrong rule; then replayed over kills, two at once at times: every event once."""
    kinesis, want, datas = make_stream(case.servers, "replayed", 4), Counter(), []
    lines = [line for line in case.lines if not line.startswith("{")]
    for data, want in payloads(lines, case.rng, 1500, ["/replay/a", "/replay/b#c", "/replay/d"]):
        datas.append(data)
    put(kinesis, "replayed", datas, case.rng)
    Run(case, "replayed", "replayed", "--drain", FLUSH__BUFFER_BYTES="4MiB", **WRONG).done()
    errors = keys(case.servers, "replayed/errors/")
    assert errors and not keys(case.servers, "replayed/log_events/")
    for _ in range(kills):
        running = [Replay(case, "replayed", **SLOW) for _ in range(case.rng.choice((1, 1, 2)))]
        case.moment(case.rng.uniform(0.05, 4))
        for replay in running:
            if replay.is_alive():
                replay.kill()
    early = len(keys(case.servers, "replayed/log_events/"))
    assert early > 0, "no object became visible between the kills"
    Replay(case, "replayed", **SLOW).done()
    assert not keys(case.servers, "replayed/errors/"), "what was replayed is in the error prefix still"
    moved = keys(case.servers, "replayed/replayed/")
    assert {key.rsplit("/", 1)[1] for key in moved} == {key.rsplit("/", 1)[1] for key in errors}
    books = balanced(case, "replayed"), balanced(case, "replayed", "--replays")
    assert told(case, "replay", "replayed")["objects"] == 0
    return (f"{len(errors)} objects, {kills} kills, {early} objects by then, {books[1]}: "
            + same(counts(case.servers, "replayed"), want, "replay"))
