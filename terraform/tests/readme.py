#!/usr/bin/env python3
"""Keeps the tables of inputs and outputs in README.md as variables.tf and outputs.tf say. With --write it writes them.

Usage: readme.py [--write]
"""
import re
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1]


def blocks(kind, text):
    """Name and body of each block of a kind that begins at the margin."""
    return re.findall(rf'^{kind} "([^"]+)" {{\n(.*?)^}}', text, re.M | re.S)


def attribute(body, name):
    """The text of an attribute, over the lines that it takes; None if it is not there."""
    found = re.search(rf"^  {name}\s*= (.*?)(?=^  [a-z]|^}}|\Z)", body, re.M | re.S)
    return re.sub(r"\s+", " ", found[1].strip()) if found else None


def cell(text):
    return text.replace("|", "\\|")


def description(body):
    return cell(re.search(r'^  description = "((?:[^"\\]|\\.)*)"', body, re.M)[1].replace('\\"', '"'))


def inputs():
    lines = ["| input | type | default | what it is |", "| --- | --- | --- | --- |"]
    for name, body in blocks("variable", (MODULE / "variables.tf").read_text()):
        kind, default = attribute(body, "type"), attribute(body, "default")
        default = "required" if default is None else f"`{cell(default)}`"
        lines.append(f"| `{name}` | `{cell(kind)}` | {default} | {description(body)} |")
    return lines


def outputs():
    lines = ["| output | what it is |", "| --- | --- |"]
    lines += [f"| `{name}` | {description(body)} |" for name, body in blocks("output", (MODULE / "outputs.tf").read_text())]
    return lines


def main():
    path = MODULE / "README.md"
    text = made = path.read_text()
    for name, lines in (("inputs", inputs()), ("outputs", outputs())):
        begin, end = f"<!-- {name}: tests/readme.py --write -->\n", f"<!-- end of {name} -->"
        before, rest = made.split(begin)
        made = before + begin + "\n" + "\n".join(lines) + "\n\n" + end + rest.split(end)[1]
    if "--write" in sys.argv[1:]:
        path.write_text(made)
    elif made != text:
        print("README.md: its tables are not those of variables.tf and outputs.tf: terraform/tests/readme.py --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
