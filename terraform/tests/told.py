#!/usr/bin/env python3
"""Tells what `terraform test -json` logs say: the failures, and a line with the count. Ends with 1 if any run failed.

Usage: told.py LOG...
"""
import json
import sys


def main():
    counts = {"passed": 0, "failed": 0, "errored": 0, "skipped": 0}
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as log:
            for line in log:
                try:
                    message = json.loads(line)
                except ValueError:
                    print(line, end="")
                    continue
                if message.get("type") == "diagnostic":
                    told = message["diagnostic"]
                    at = told.get("range", {})
                    place = f'{at.get("filename", "")}:{at.get("start", {}).get("line", "")}'
                    print(f'{told["severity"]}: {message.get("@testrun", "")} {place}: {told["summary"]}: {told.get("detail", "")}')
                elif message.get("type") == "test_summary":
                    for what in counts:
                        counts[what] += message["test_summary"].get(what, 0)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    return 0 if counts["passed"] and not counts["failed"] and not counts["errored"] and not counts["skipped"] else 1


if __name__ == "__main__":
    sys.exit(main())
