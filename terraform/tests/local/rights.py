"""What the role of a task may do, held by the stand-in: moto itself looks neither at resources nor at conditions. Only who has
assumed a role is asked; Terraform and the tests may do everything.

An action that no statement allows is refused as AWS does it; each one that is asked for is a line of the file RIGHTS_LOG.
"""
import json
import os
import re
from html import unescape
from urllib.parse import parse_qs, urlparse

from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.exceptions import JsonRESTError
from moto.iam.models import iam_backends
from moto.s3.exceptions import S3AccessDeniedError
from moto.sts.models import sts_backends

# What a query asks of a bucket, and of an object.
OF_BUCKET = {
    "encryption": "s3:GetEncryptionConfiguration",
    "lifecycle": "s3:GetLifecycleConfiguration",
    "location": "s3:GetBucketLocation",
    "ownershipControls": "s3:GetBucketOwnershipControls",
    "publicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "versioning": "s3:GetBucketVersioning",
}
OF_OBJECT = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "POST": "s3:PutObject", "DELETE": "s3:DeleteObject"}


def like(pattern, text):
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


def role_of(account, key):
    """The name of the role that has been assumed with this access key."""
    assumed = (role for role in sts_backends[account]["aws"].assumed_roles if role.access_key_id == key)
    return next((role.role_arn.rsplit("/", 1)[1] for role in assumed), None)


def statements(account, role):
    iam = iam_backends[account]["aws"]
    for name in iam.list_role_policies(role):
        yield from json.loads(iam.get_role_policy(role, name)[1])["Statement"]


def holds(condition, context):
    """Whether a condition holds. Those of keys of KMS never do: nobody calls KMS here."""
    for operator, keys in condition.items():
        for key, wanted in keys.items():
            if operator == "StringLikeIfExists" and key == "s3:prefix":
                if key in context and not any(like(pattern, context[key]) for pattern in wanted):
                    return False
            elif (operator, key) == ("StringEquals", "kms:ViaService"):
                return False
            else:
                raise NotImplementedError(f"{operator} of {key}")
    return True


def allowed(account, role, action, resource, context):
    return any(
        action in statement["Action"]
        and any(like(pattern, resource) for pattern in statement["Resource"])
        and holds(statement.get("Condition", {}), context)
        for statement in statements(account, role)
    )


def asked_of_s3(self, resource):
    """The action and the context of a request to S3."""
    query = parse_qs(urlparse(self.uri).query, keep_blank_values=True)
    if "/" in resource:
        action = "s3:AbortMultipartUpload" if self.method == "DELETE" and "uploadId" in query else OF_OBJECT[self.method]
        return [(action, resource)], {}
    if self.method == "POST" and "delete" in query:
        keys = re.findall("<Key>([^<]+)</Key>", self.body.decode() if isinstance(self.body, bytes) else self.body)
        return [("s3:DeleteObject", f"{resource}/{unescape(key)}") for key in keys], {}
    action = next((OF_BUCKET[each] for each in query if each in OF_BUCKET), "s3:ListBucket")
    # A HEAD of a bucket names no prefix.
    return [(action, resource)], {"s3:prefix": query["prefix"][0]} if "prefix" in query else {}


def asked(self, service, region, account):
    """The actions and resources of any other request."""
    asks = json.loads(self.body or "{}") if isinstance(self.body, (str, bytes)) else {}
    action, arn = f"{service}:{self._get_action()}", f"arn:aws:{service}:{region}:{account}"
    if service == "kinesis":
        return [(action, asks.get("ConsumerARN") or asks.get("StreamARN") or f"{arn}:stream/{asks.get('StreamName')}")]
    if service == "glue":
        database = asks.get("DatabaseName") or asks.get("Name")
        table = asks.get("TableName") or (asks.get("Name") if "DatabaseName" in asks else None)
        return [(action, f"{arn}:{each}") for each in ["catalog", f"database/{database}", *([f"table/{database}/{table}"] if table else [])]]
    return [(action, "*")]


def authorize(self, _, resource="*"):
    credential = re.search(r"Credential=([^/]+)/[0-9]+/([^/]+)/([^/]+)/", self.headers.get("Authorization") or "")
    role = credential and role_of(self.current_account, credential[1])
    if not role:
        return
    _, region, service = credential.groups()
    of_s3, context = asked_of_s3(self, resource) if service == "s3" else ([], {})
    for action, each in of_s3 or asked(self, service, region, self.current_account):
        free = action == "sts:GetCallerIdentity"
        may = free or allowed(self.current_account, role, action, each, context)
        with open(os.environ["RIGHTS_LOG"], "a", encoding="utf-8") as log:
            log.write(json.dumps({"action": action, "resource": each, "allowed": may, **context}) + "\n")
        if not may:
            text = f"User: {role} is not authorized to perform: {action} on resource: {each}"
            raise S3AccessDeniedError() if service == "s3" else JsonRESTError("AccessDeniedException", text)


ActionAuthenticatorMixin._authenticate_and_authorize_action = authorize
