"""moto_server 5.2.1 with what hashicorp/aws 5.100 asks for and moto lacks, so that a second plan is empty; with fan_out.py, and
rights.py, which holds roles to their policies.

Usage: moto_plus.py -H 127.0.0.1 -p PORT
"""
import json
import re
import sys
from html import unescape
from inspect import signature
from urllib.parse import quote

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse as Scaling
from moto.athena.models import AthenaBackend
from moto.athena.responses import AthenaResponse
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.ecs.responses import EC2ContainerServiceResponse as Ecs
from moto.kinesis.responses import KinesisResponse
from moto.logs.models import SubscriptionFilter
from moto.logs.responses import LogsResponse
from moto.s3.responses import S3Response

import fan_out  # noqa: F401
import rights  # noqa: F401

# Tags of Application Auto Scaling, by ARN.
tags = {}
registered = Scaling.register_scalable_target


def register(self):
    answer = registered(self)
    arn = json.loads(answer if isinstance(answer, str) else answer.body).get("ScalableTargetARN")
    if arn and self._get_param("Tags"):
        tags.setdefault(arn, {}).update(self._get_param("Tags"))
    return answer


def tag(self):
    tags.setdefault(self._get_param("ResourceARN"), {}).update(self._get_param("Tags") or {})
    return "{}"


def untag(self):
    for key in self._get_param("TagKeys") or []:
        tags.get(self._get_param("ResourceARN"), {}).pop(key, None)
    return "{}"


Scaling.register_scalable_target = register
Scaling.list_tags_for_resource = lambda self: json.dumps({"Tags": tags.get(self._get_param("ResourceARN"), {})})
Scaling.tag_resource, Scaling.untag_resource = tag, untag


def delete_named_query(self):
    self.athena_backend.named_queries.pop(self._get_param("NamedQueryId"), None)
    return "{}"


AthenaResponse.delete_named_query = delete_named_query
# No tags are none, and not an error.
AthenaBackend.list_tags_for_resource = lambda self, arn: self.tagger.list_tags_for_resource(arn)

# Subscriptions of accounts, by account, type and name.
policies = {}


def put_account_policy(self):
    names = ("policyName", "policyDocument", "policyType", "scope", "selectionCriteria")
    policy = {name: self._get_param(name) for name in names if self._get_param(name) is not None}
    policy = {"scope": "ALL", **policy, "accountId": self.current_account, "lastUpdatedTime": 0}
    policies[(self.current_account, policy["policyType"], policy["policyName"])] = policy
    return json.dumps({"accountPolicy": policy})


def describe_account_policies(self):
    kind, name = self._get_param("policyType"), self._get_param("policyName")
    found = [policy for key, policy in policies.items() if key[:2] == (self.current_account, kind) and (not name or key[2] == name)]
    return json.dumps({"accountPolicies": found})


def delete_account_policy(self):
    policies.pop((self.current_account, self._get_param("policyType"), self._get_param("policyName")), None)
    return "{}"


LogsResponse.put_account_policy = put_account_policy
LogsResponse.describe_account_policies = describe_account_policies
LogsResponse.delete_account_policy = delete_account_policy

# How a subscription is spread: moto knows one way alone.
spread = {}
put_filter, told = LogsResponse.put_subscription_filter, SubscriptionFilter.to_json


def put_subscription_filter(self):
    spread[(self._get_param("logGroupName"), self._get_param("filterName"))] = self._get_param("distribution")
    return put_filter(self)


def to_json(self):
    return {**told(self), "distribution": spread.get((self.log_group_name, self.name)) or "ByLogStream"}


LogsResponse.put_subscription_filter, SubscriptionFilter.to_json = put_subscription_filter, to_json

# Tags that a stream is made with.
made_stream = KinesisResponse.create_stream


def create_stream(self):
    answer = made_stream(self)
    if self._get_param("Tags"):
        self.kinesis_backend.add_tags_to_stream(None, self._get_param("StreamName"), self._get_param("Tags"))
    return answer


KinesisResponse.create_stream = create_stream

# How a service is spread over zones.
made_service = Ecs.create_service


def create_service(self):
    answer = made_service(self)
    answer.result["service"].availability_zone_rebalancing = self._get_param("availabilityZoneRebalancing") or "DISABLED"
    return answer


Ecs.create_service = create_service

# Capabilities that are dropped: ECS answers with those that are added too, none.
registered_task = Ecs.register_task_definition


def register_task_definition(self):
    for container in self._get_param("containerDefinitions") or []:
        container.get("linuxParameters", {}).get("capabilities", {}).setdefault("add", [])
    return registered_task(self)


Ecs.register_task_definition = register_task_definition

# Descriptions of rules whose other side is a group or a list of prefixes.
made_rule = SecurityGroupRule.__init__


def make_rule(self, *args, **kwargs):
    made_rule(self, *args, **kwargs)
    prefixes = signature(made_rule).bind(self, *args, **kwargs).arguments.get("prefix_list_id") or {}
    sides = (self.ip_range, self.source_group, prefixes)
    self.told = next((side["Description"] for side in sides if side.get("Description")), None)


SecurityGroupRule.__init__ = make_rule
SecurityGroupRule.description = property(lambda self: self.told)

# Keys of versions are to be encoded like those of objects: a bucket whose keys have a % is never emptied otherwise.
listed = S3Response.list_object_versions


def list_object_versions(self):
    status, headers, body = listed(self)
    if "url" in self.querystring.get("encoding-type", []):
        body = re.sub("(?<=<Key>)[^<]+", lambda key: quote(unescape(key[0])), body)
    return status, headers, body


S3Response.list_object_versions = list_object_versions

from moto.server import main  # noqa: E402

main(sys.argv[1:])
