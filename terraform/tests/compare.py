#!/usr/bin/env python3
"""Holds what the module plans against the service: the rights of the task's role, the settings that it is given, the metrics
that alarms and dashboard look at, and with --firemain the tables of Glue against what `firemain schema glue` prints.

What the service has is read from docs/configuration.md and docs/metrics.md, which its own tests hold to the code. The plan is
read from standard input, logs of `terraform test -json -verbose`. Usage: compare.py [--firemain FILE]
"""
import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1]
CONFIGURATION = (MODULE.parent / "docs/configuration.md").read_text()
METRICS = (MODULE.parent / "docs/metrics.md").read_text()
EVENTS = (MODULE.parent / "src/event.rs").read_text()


def planned(lines):
    """Resources by run and address, out of the messages of `terraform test`."""
    runs = {}
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if message.get("type") == "test_state":
            module = message["test_state"]["root_module"]
            runs[f'{message["@testfile"]}/{message["@testrun"]}'] = {each["address"]: each["values"] for each in module.get("resources", [])}
    return runs


def rights(runs):
    """The policies of the task's role allow what the code needs, and nothing else."""
    need = {}
    for action, by in re.findall(r"^\| `([a-z0-9]+:[A-Za-z]+)` \| [^|]+ \| ([^|]+) \|$", CONFIGURATION, re.M):
        for each in by.split("; "):
            need.setdefault(each, set()).add(action)
    service = need["`run`"] | need["`run`, `catalog.glue`"]
    commands = need["`status`"] | need["`check`"] | need["`verify`, `inspect`"] | need["`replay`"]
    wanted = {"least": service | need["`run`, polling"], "all": service | need["`run`, `fan_out`"] | commands}
    for run, needed in wanted.items():
        policy = json.loads(runs[f"tests/mocked/policies.tftest.hcl/{run}"]["aws_iam_role_policy.task"]["policy"])
        allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
        yield from (f"{run}: {action}: the code needs it, and the policy does not allow it" for action in sorted(needed - allowed))
        yield from (f"{run}: {action}: the policy allows it, and the code does not need it" for action in sorted(allowed - needed))
    print(f"rights: {len(wanted['least'])} actions of the service, {len(wanted['all'])} with fan-out and all commands")


def closed(runs):
    """No role has another policy, and no security group another way in, than those that the tests look at."""
    known = {
        "aws_iam_role_policy.task", "aws_iam_role_policy.execution", "aws_iam_role_policy.logs[0]",
        "aws_vpc_security_group_ingress_rule.endpoints[0]",
    }
    opening = re.compile(r"aws_(iam_.*polic|vpc_security_group_ingress|security_group_rule|.*_permission)")
    for name, run in runs.items():
        yield from (f"{name}: {address}: nobody has looked at it here" for address in run if opening.match(address) and address not in known)


def settings(runs):
    """Each setting is one that the service has, and none that the module says can be said besides."""
    known = set(re.findall(r"^- Set by: `(FIREMAIN_\w+)`", CONFIGURATION, re.M)) | {"FIREMAIN_TABLE", "AWS_REGION"}
    variables = (MODULE / "variables.tf").read_text()
    reserved = set(re.findall(r'"((?:AWS|FIREMAIN)_\w+)"', variables))
    said = set()
    for run in runs.values():
        for container in json.loads(run.get("aws_ecs_task_definition.this", {}).get("container_definitions", "[]")):
            said |= {each["name"] for each in container["environment"] + container["secrets"]}
    yield from (f"{name}: the service has no such setting" for name in sorted(said - known))
    yield from (f"{name}: the module says it, and var.environment may say it too" for name in sorted(said - reserved))
    patterns = re.search(r"- Takes: a list of: ([a-z0-9_, ]+)\n- Set by: `FIREMAIN_MASK__PATTERNS`", CONFIGURATION)[1]
    ours = re.search(r"error_message = \"mask_patterns: a list of ([a-z0-9_, ]+)\.\"", variables)[1]
    if not ours == patterns == ", ".join(re.findall(r'"(\w+)"', variables.split('variable "mask_patterns"')[1].split("], pattern)")[0])):
        yield f"mask_patterns: {ours}, and the service has {patterns}"
    print(f"settings: {len(said)}, each known to the service")


def metrics(runs):
    """Alarms, autoscaling and dashboard name metrics that the service has, by the dimensions and in the unit that it has."""
    known = {
        name: ({"Group", dimension} - {""}, unit)
        for name, dimension, unit in re.findall(r"^\| `([\w.]+)`(?: by `(\w+)`)? \| (\w+) \| `firemain_", METRICS, re.M)
    }
    kinds = re.search(r"^`Kind` of `KinesisErrors` is one of (.+)\.$", METRICS, re.M)[1]
    values = {"KinesisErrors": re.findall(r"`(\w+)`", kinds), "Rejections": rejection_codes()}
    plan = runs["tests/mocked/alarms.tftest.hcl/alarms"]
    named = [*named_by_alarms(plan), *named_by_scaling(plan), *named_by_dashboard(plan)]
    if len({where.split(".")[0] for where, *_ in named}) != 3:
        yield "no metric of alarms, of autoscaling or of the dashboard was found"
    for where, metric, dimensions, unit in named:
        has, of = known.get(metric, (None, None))
        if set(dimensions) != has or unit not in (None, of):
            yield f"{where}: {metric} by {', '.join(sorted(dimensions))} in {unit}: the service has {has} in {of}"
    for metric, all_of_them in values.items():
        summed = [dimensions.get("Kind") or dimensions["Code"] for where, name, dimensions, _ in named if name == metric and "alarm" in where]
        if sorted(summed) != sorted(all_of_them):
            yield f"the alarm of {metric} adds up {summed}, and there are {all_of_them}"
    print(f"metrics: {len({metric for _, metric, *_ in named})}, each known to the service")


def named_by_alarms(plan):
    for address, alarm in plan.items():
        if address.startswith("aws_cloudwatch_metric_alarm."):
            for each in [query["metric"][0] for query in alarm["metric_query"] if query["metric"]] or [alarm]:
                if each["namespace"] == "Firemain":
                    yield address, each["metric_name"], each["dimensions"], None


def named_by_scaling(plan):
    policy = plan["aws_appautoscaling_policy.lag"]["target_tracking_scaling_policy_configuration"][0]
    metric = policy["customized_metric_specification"][0]
    yield "aws_appautoscaling_policy.lag", metric["metric_name"], {each["name"]: each["value"] for each in metric["dimensions"]}, metric["unit"]


def named_by_dashboard(plan):
    body = json.loads(plan["aws_cloudwatch_dashboard.this"]["dashboard_body"])
    for metric in [metric for widget in body["widgets"] for metric in widget["properties"].get("metrics", [])]:
        if isinstance(metric[0], dict):
            dimensions, name = re.match(r"SEARCH\('\{Firemain,([\w,]+)\} MetricName=\"([\w.]+)\"", metric[0]["expression"]).groups()
            yield "aws_cloudwatch_dashboard.this", name, dict.fromkeys(dimensions.split(",")), None
        elif metric[0] == "Firemain":
            yield "aws_cloudwatch_dashboard.this", metric[1], {metric[2]: metric[3]}, None


def rejection_codes():
    return re.findall(r'=> "([A-Z][A-Za-z]+\.[A-Z][A-Za-z]+)"', EVENTS)


def projection(runs):
    said = runs["tests/mocked/tables.tftest.hcl/projected"]['aws_glue_catalog_table.this["errors"]']["parameters"]["projection.error.values"]
    if said.split(",") != rejection_codes():
        yield f"rejection_codes in glue.tf are {said}, those of the service {','.join(rejection_codes())}"


def tables(runs, firemain):
    """Each table of tests/mocked/tables.tftest.hcl, in its three forms, is what the binary prints."""
    forms = {"registered": [], "projected": ["--partitions", "projected", "--days", "7"], "json_and_lifecycle": ["--format", "json"]}
    count = 0
    for run, more in forms.items():
        for address, table in runs[f"tests/mocked/tables.tftest.hcl/{run}"].items():
            if not address.startswith("aws_glue_catalog_table."):
                continue
            count += 1
            ours = glue_input(table)
            command = [firemain, "schema", "glue", table["parameters"]["firemain.schema"], "--table", table["name"], "--location", ours["StorageDescriptor"]["Location"], *more]
            printed = subprocess.run(command, capture_output=True, text=True, check=False)
            theirs = json.loads(printed.stdout or "null")
            if ours != theirs:
                yield f"{run}: {address}: `{' '.join(command[1:])}` prints {json.dumps(theirs)} {printed.stderr}\n  and the module has {json.dumps(ours)}"
    if not count:
        yield "no table was found"
    print(f"tables: {count}, compared with `firemain schema glue`")


def glue_input(table):
    """A table of Terraform in the shape of Glue's TableInput."""
    columns = lambda some: [{"Comment": c["comment"], "Name": c["name"], "Type": c["type"]} for c in some]
    storage = table["storage_descriptor"][0]
    return {
        "Name": table["name"],
        "Description": table["description"],
        "TableType": table["table_type"],
        "Parameters": table["parameters"],
        "PartitionKeys": columns(table["partition_keys"]),
        "StorageDescriptor": {
            "Columns": columns(storage["columns"]),
            "Location": storage["location"],
            "InputFormat": storage["input_format"],
            "OutputFormat": storage["output_format"],
            "SerdeInfo": {"SerializationLibrary": storage["ser_de_info"][0]["serialization_library"]},
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--firemain", help="the binary")
    firemain = parser.parse_args().firemain
    runs = planned(sys.stdin)
    wrong = [line for part in (rights, closed, settings, metrics, projection) for line in part(runs)]
    wrong += tables(runs, firemain) if firemain else []
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
