"""The binary against real servers, read back with DuckDB. See `run` beside this file."""
import argparse
import random
import tempfile
from pathlib import Path

from catalog import glue_down, glue_killed, glue_late, glued
from checks import checked
from crew import crew, drained_together, resharded, subscribers
from evolution import evolved
from masking import masked
from operating import replayed
from producers import by_the_producer_library, without_envelopes
from report import Report
from runbook import runbook
from scenarios import (drained, idle, killed, killed_before_commit, latest, split_before, split_while_away, subscribed,
                       three_groups)
from servers import Case, Servers, end, processes
from tables import apache, typed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--firemain", type=Path, required=True)
    parser.add_argument("--kinesis", type=Path, required=True, help="the test binary that serves Kinesis")
    parser.add_argument("--unoptimized", action="store_true", help="the binary is, and may take more when it is idle")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--crew", type=int, default=1, help="rounds of the crew of workers")
    parser.add_argument("--only", default="", help="a part of the names of the scenarios to run")
    parser.add_argument("--logs", type=Path, default=Path("../shared/data/logs"), help="folder of *.log files")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    lines = [line for path in sorted(options.logs.glob("*.log"))
             for line in path.read_text("utf-8", "replace").splitlines() if line]
    lines = lines or [f"made-up line {n}: {'x' * (n % 300)}" for n in range(1000)]
    folder = Path(tempfile.mkdtemp(prefix="firemain-services-"))
    cases = {"drain, Parquet": lambda case: drained(case, "parquet"),
             "drain, JSON": lambda case: drained(case, "json"),
             "CloudWatch Logs": subscribed,
             "split before the start": split_before,
             "split while stopped": split_while_away,
             "latest": latest,
             "killed before a commit": killed_before_commit,
             "three groups": three_groups,
             "resharded among three": resharded,
             "idle, 100 shards": lambda case: idle(case, 0.15 if options.unoptimized else 0.02),
             "fan-out": subscribers,
             "three drains at once": lambda case: drained_together(case, "together"),
             "three drains, fan-out": lambda case: drained_together(
                 case, "together-pushed", SOURCE__KINESIS__MODE="fan_out", SOURCE__KINESIS__CONSUMER_NAME="drains"),
             "aggregated records": by_the_producer_library,
             "lines and JSON": without_envelopes,
             "tables": typed,
             "tables, a real access log": apache,
             "masking": masked,
             "Glue": glued,
             "Glue is down": glue_down,
             "Glue comes late": glue_late,
             "Glue, killed before": glue_killed,
             "schema evolution": evolved,
             "replay": lambda case: replayed(case, options.kills // 2),
             "check": checked,
             "runbook": runbook}
    for number in range(1, options.crew + 1):
        cases[f"crew {number}"] = lambda case, name=f"crew-{number}": crew(case, name)
    cases["kill -9"] = lambda case: killed(case, options.kills)
    print(f"seed {options.seed}, {len(lines)} lines", flush=True)
    report = Report(folder, 22)
    try:
        servers = Servers(folder, str(options.kinesis.resolve()))
        count = len(processes)
        for name, scenario in cases.items():
            if options.only in name:
                # What one draws does not hang on which others ran.
                rng = random.Random(f"{options.seed}/{name}")
                case = Case(servers, str(options.firemain.resolve()), lines, rng, folder, options.logs)
                report.run(name, lambda scenario=scenario, case=case: scenario(case))
                end(processes[count:])
    finally:
        end(processes)
        report.clear()
    report.exit()


if __name__ == "__main__":
    main()
