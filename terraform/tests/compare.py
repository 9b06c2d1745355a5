#!/usr/bin/env python3
"""Holds what the module plans against the service: the policy of the task's role against the calls in the source, the rejections'
codes, and with --firemain the tables of Glue against what `firemain schema glue` prints.

Reads the log of `terraform test -json -verbose` from standard input. Usage: compare.py [--firemain FILE]
"""
import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "src"

# Calls of the SDK's clients that the service or `firemain check` makes, and what allows them. What is left out has no
# action of its own (HeadBucket and ListObjectsV2 are s3:ListBucket), or is of a command that another role is for.
SDK = {
    "describe_stream_summary": "kinesis:DescribeStreamSummary",
    "list_shards": "kinesis:ListShards",
    "get_shard_iterator": "kinesis:GetShardIterator",
    "get_records": "kinesis:GetRecords",
    "describe_stream_consumer": "kinesis:DescribeStreamConsumer",
    "subscribe_to_shard": "kinesis:SubscribeToShard",
    "head_bucket": "s3:ListBucket",
    "list_objects_v2": "s3:ListBucket",
    "get_bucket_location": "s3:GetBucketLocation",
    "get_bucket_ownership_controls": "s3:GetBucketOwnershipControls",
    "get_public_access_block": "s3:GetBucketPublicAccessBlock",
    "get_bucket_encryption": "s3:GetEncryptionConfiguration",
    "get_bucket_lifecycle_configuration": "s3:GetLifecycleConfiguration",
    "get_bucket_versioning": "s3:GetBucketVersioning",
}
# Elsewhere: put_records is `generate` and `replay --to-stream`, register_stream_consumer is not needed where Terraform
# makes the consumer, get_caller_identity nobody has to allow.
ELSEWHERE = {"put_records", "register_stream_consumer", "get_caller_identity"}
# Methods of the object store, as src/store and src/commit use them.
STORE = {
    "put_opts": ["s3:PutObject"],
    "put_multipart_opts": ["s3:PutObject", "s3:AbortMultipartUpload"],
    "get": ["s3:GetObject"],
    "get_opts": ["s3:GetObject"],
    "list": ["s3:ListBucket"],
    "list_with_offset": ["s3:ListBucket"],
    "delete": ["s3:DeleteObject"],
    "copy": ["s3:GetObject", "s3:PutObject"],
}
# What KMS is called for by Kinesis and S3.
KEYS = {"kms:Decrypt", "kms:GenerateDataKey"}


def sources():
    """Path and text of each file of the service, without those of tests."""
    for path in sorted(SOURCE.rglob("*.rs")):
        if "tests" not in path.parts and path.name != "tests.rs" and "fixtures" not in path.name:
            yield path, path.read_text().split("#[cfg(test)]\nmod tests {")[0]


def called():
    """The actions that the code's calls need, and those calls that are not known here."""
    actions, unknown = set(KEYS), set()
    for path, text in sources():
        for call in re.findall(r"(?:client|sts|subscriber\(\))\s*\.([a-z0-9_]+)\(\)", text):
            if call in SDK:
                actions.add(SDK[call])
            elif call not in ELSEWHERE and re.match(r"(get|put|list|describe|delete|create|register|batch|head|update|subscribe)_", call):
                unknown.add(call)
        # All that the service does with objects goes through one file.
        for call in re.findall(r"\bself\s*\.store\s*\.([a-z_]+)\(", text) if path.name == "storage.rs" else []:
            if call in STORE:
                actions.update(STORE[call])
            else:
                unknown.add(f"store.{call}")
        actions.update(f"glue:{action}" for action in re.findall(r'\.call(?:_of_tables)?\("([A-Z][A-Za-z]+)"', text))
    return actions, unknown


def planned(lines):
    """Resources by run and address, out of the messages of `terraform test`."""
    runs = {}
    for line in lines:
        try:
            message = json.loads(line)
        except ValueError:
            continue
        name = f'{message.get("@testfile", "")}/{message.get("@testrun", "")}'
        if message.get("type") != "test_state":
            continue
        module = message["test_state"]["root_module"]
        runs[name] = {each["address"]: each["values"] for each in module.get("resources", [])}
    return runs


def allowed(run):
    policy = json.loads(run["aws_iam_role_policy.task"]["policy"])
    return {action for statement in policy["Statement"] for action in statement["Action"]}


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


def tables_differ(runs, firemain):
    """Compares each table of tests/tables.tftest.hcl, in its three forms; returns how many there are and what differs."""
    differ, count = [], 0
    for run, more in {"registered": [], "projected": ["--partitions", "projected", "--days", "7"], "json_and_lifecycle": ["--format", "json"]}.items():
        for address, table in runs[f"tests/tables.tftest.hcl/{run}"].items():
            if not address.startswith("aws_glue_catalog_table."):
                continue
            count += 1
            ours = glue_input(table)
            command = [firemain, "schema", "glue", table["parameters"]["firemain.schema"], "--table", table["name"], "--location", ours["StorageDescriptor"]["Location"], *more]
            printed = subprocess.run(command, capture_output=True, text=True, check=False)
            theirs = json.loads(printed.stdout or "null")
            if ours != theirs:
                differ.append(f"{run}: {address}: `{' '.join(command[1:])}` prints {json.dumps(theirs)} {printed.stderr}\n  and the module has {json.dumps(ours)}")
    return count, differ


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--firemain", help="the binary")
    args = parser.parse_args()
    wrong = []
    runs = planned(sys.stdin)
    need, unknown = called()
    wrong += [f"{call}: a call that this list does not know: add it to {Path(__file__).name} and to iam.tf" for call in sorted(unknown)]
    service = allowed(runs["tests/policies.tftest.hcl/least"])
    everything = service | allowed(runs["tests/policies.tftest.hcl/all"])
    wrong += [f"{action}: the code calls it, and no policy allows it" for action in sorted(need - everything)]
    wrong += [f"{action}: a policy allows it, and the code does not call it" for action in sorted(everything - need)]
    codes = re.findall(r'=> "([A-Z][A-Za-z]+\.[A-Z][A-Za-z]+)"', (SOURCE / "event.rs").read_text())
    said = runs["tests/tables.tftest.hcl/projected"]['aws_glue_catalog_table.this["errors"]']["parameters"]["projection.error.values"]
    if said != ",".join(codes):
        wrong.append(f"rejection_codes in glue.tf are {said}, those of the service {','.join(codes)}")
    print(f"{len(need)} actions that the code needs, {len(service)} of them in the service's policy")
    if args.firemain:
        count, differ = tables_differ(runs, args.firemain)
        wrong += differ if count else ["no table was found"]
        print(f"{count} tables as `firemain schema glue` prints them" if not differ else f"{len(differ)} of {count} tables differ")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
