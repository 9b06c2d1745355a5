"""Messages as their producers write them, and the values that each table has to show of them.

Every sample is put once for each of `EDGES`, so that every table has rows at both ends of an hour and of a day. What
is expected of a row is said for all columns of its table: those that a sample does not name have to be null."""
import base64
import gzip
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone

HOUR, DAY = 3_600_000, 86_400_000
# Midnight, three days ago: a projected table shows the last thirty days.
BASE = int(datetime.now(timezone.utc).timestamp() // 86_400 - 3) * DAY
EDGES = [BASE + 5 * HOUR, BASE + 6 * HOUR - 1, BASE + 6 * HOUR, BASE + DAY - 1, BASE + DAY]
ARRIVAL = BASE + DAY + 6 * HOUR + 123
OWNER, STREAM = "123456789012", "2024/03/22/[$LATEST]é"
PARTITIONS = ("log_group", "dt", "hour")


@dataclass(frozen=True)
class Table:
    """A rule of the configuration."""
    schema: str
    log_groups: list[str]
    on_mismatch: str = "error"
    fields: list[str] = field(default_factory=list)

    def rule(self, name):
        rule = {"name": name, "schema": self.schema, "log_groups": self.log_groups, "on_mismatch": self.on_mismatch}
        lines = [f"{key} = {json.dumps(value)}" for key, value in (rule | {"fields": self.fields}).items() if value]
        return "\n".join(["[[table]]", *lines, ""])


@dataclass(frozen=True)
class Sample:
    table: str
    log_group: str
    message: str
    # The values of columns; or of a message that does not match: why.
    values: dict | str


TABLES = {
    "apache_access": Table("apache_access", ["/ecs/web-*", "web #1/*"]),
    "app_json": Table("app_json", ["/app/*"], "log_events"),
    "cloudtrail": Table("cloudtrail", ["aws-cloudtrail-logs-*"]),
    "vpc_flow": Table("vpc_flow", ["/vpc/flow#logs"]),
    "vpc_own": Table("vpc_flow", ["vpc.own_*"], fields=["vpc-id", "srcaddr", "tcp-flags", "end", "bytes",
                                                              "ecs-task-arn", "reject-reason", "resource-id",
                                                              "encryption-status"]),
    "lambda_platform": Table("lambda_platform", ["/aws/lambda/*"], "log_events"),
    "lambda_platform_json": Table("lambda_platform_json", ["/aws/lambda-json/*"], "log_events"),
    "alb_access": Table("alb_access", ["/alb/100%"]),
    "every_type": Table("every_type", ["/every type/*"]),
}
RULES = "\n".join(table.rule(name) for name, table in TABLES.items())

EVERY_TYPE = {
    "name": "every_type", "version": 1, "description": "A column of every type: it's for tests.",
    "parse": {"json": {"rest": "rest"}},
    "columns": [
        {"name": "event_id", "type": "string", "required": True, "description": "The event's id."},
        {"name": "timestamp", "type": "timestamp(3)", "required": True},
        {"name": "a_string", "type": "string"},
        {"name": "a_bigint", "type": "bigint"},
        {"name": "an_int", "type": "int"},
        {"name": "a_double", "type": "double"},
        {"name": "a_boolean", "type": "boolean"},
        {"name": "a_time", "type": "timestamp(3)", "zone": "-03:30"},
        {"name": "a_millis", "type": "timestamp(3)", "format": "epoch_millis"},
        {"name": "a_log_time", "type": "timestamp(3)", "format": "%d/%b/%Y:%H:%M:%S %z"},
        {"name": "a_date", "type": "date"},
        {"name": "a_list", "type": "array<string>"},
        {"name": "a_map", "type": "map<string,string>"},
        {"name": "inner", "type": "string", "from": "/a~1b/~0"},
        {"name": "rest", "type": "string"},
        {"name": "message", "type": "string", "required": True},
        {"name": "never_there", "type": "string"},
        {"name": "log_stream", "type": "string"},
        {"name": "owner", "type": "string"},
        {"name": "ingested_at", "type": "timestamp(3)", "required": True},
    ],
    "partitions": [{"name": name, "type": "string"} for name in PARTITIONS],
}


def at(text):
    """A time without its zone, as all engines show it."""
    return datetime.fromisoformat(text)


def of_millis(millis):
    return datetime(1970, 1, 1) + timedelta(milliseconds=millis)


NO_MATCH = "the message does not match the regular expression"
ODD = "web #1/a.b_c-d/50% off"
APACHE = '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326'
APACHE_VALUES = {"client": "127.0.0.1", "user": "frank", "request_time": at("2000-10-10T20:55:36"), "method": "GET",
                 "path": "/apache_pb.gif", "protocol": "HTTP/1.0", "status": 200, "bytes": 2326}
NGINX = '2001:db8::1 - - [22/Mar/2024:05:00:00 +0000] '
NGINX_VALUES = {"client": "2001:db8::1", "request_time": at("2024-03-22T05:00:00")}
VPC = ("2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 "
       "ACCEPT OK")
IDENTITY = {"type": "IAMUser", "principalId": "EXAMPLE6E4XEGITWATV6R",
            "arn": "arn:aws:iam::123456789012:user/Mateo", "accountId": "123456789012",
            "accessKeyId": "AKIAIOSFODNN7EXAMPLE", "userName": "Mateo",
            "sessionContext": {"sessionIssuer": {}, "attributes": {"creationDate": "2023-07-19T21:11:57Z",
                                                                   "mfaAuthenticated": "false"}}}
TRAIL = {"eventVersion": "1.08", "userIdentity": IDENTITY,
         "eventTime": "2023-07-19T21:17:28Z", "eventSource": "ec2.amazonaws.com", "eventName": "StartInstances",
         "awsRegion": "us-east-1", "sourceIPAddress": "192.0.2.0", "userAgent": "aws-cli/2.13.5",
         "requestParameters": {"instancesSet": {"items": [{"instanceId": "i-EXAMPLE56126103cb"}]}},
         "responseElements": None, "requestID": "e4336db0-149f-4a6b-844d-EXAMPLEb9d16",
         "eventID": "e755e09c-42f9-4c5c-9064-EXAMPLE228c7", "readOnly": False, "eventType": "AwsApiCall",
         "managementEvent": True, "recipientAccountId": "123456789012", "eventCategory": "Management",
         "tlsDetails": {"tlsVersion": "TLSv1.2", "cipherSuite": "ECDHE-RSA-AES128-GCM-SHA256",
                        "clientProvidedHostHeader": "ec2.us-east-1.amazonaws.com"}}
TRAIL_VALUES = {"event_time": at("2023-07-19T21:17:28"), "event_version": "1.08",
                "event_source": "ec2.amazonaws.com", "user_principal_id": "EXAMPLE6E4XEGITWATV6R",
                "user_access_key_id": "AKIAIOSFODNN7EXAMPLE", "session_creation_date": at("2023-07-19T21:11:57"),
                "session_mfa_authenticated": False, "user_identity": json.dumps(IDENTITY), "tls_version": "TLSv1.2",
                "tls_cipher_suite": "ECDHE-RSA-AES128-GCM-SHA256",
                "tls_client_provided_host_header": "ec2.us-east-1.amazonaws.com",
                "event_name": "StartInstances", "aws_region": "us-east-1", "source_ip_address": "192.0.2.0",
                "user_agent": "aws-cli/2.13.5", "user_type": "IAMUser",
                "user_arn": "arn:aws:iam::123456789012:user/Mateo", "user_account_id": "123456789012",
                "user_name": "Mateo", "recipient_account_id": "123456789012", "event_type": "AwsApiCall",
                "event_category": "Management", "management_event": True, "read_only": False,
                "request_id": "e4336db0-149f-4a6b-844d-EXAMPLEb9d16",
                "api_event_id": "e755e09c-42f9-4c5c-9064-EXAMPLE228c7",
                "request_parameters": '{"instancesSet": {"items": [{"instanceId": "i-EXAMPLE56126103cb"}]}}'}
ISSUER = "arn:aws:iam::123456789012:role/Admin"
ROLE = {"type": "AssumedRole", "invokedBy": "ec2.amazonaws.com",
        "sessionContext": {"sessionIssuer": {"type": "Role", "arn": ISSUER}, "sourceIdentity": "mateo",
                           "attributes": {"mfaAuthenticated": "true"}}}
ALB_TARGETS = "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067"
ALB_CERTIFICATE = "arn:aws:acm:us-east-2:123456789012:certificate/12345678-1234-1234-1234-123456789012"
ALB = ("https 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.086 "
       '0.048 0.037 200 200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" '
       f'ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 {ALB_TARGETS} "Root=1-58337281-1d84f3d73c47ec4e58577259" '
       f'"www.example.com" "{ALB_CERTIFICATE}" 1 2018-07-02T22:22:48.364000Z "authenticate,forward" "-" "-" '
       '"10.0.0.1:80 10.0.0.2:80" "200 502" "-" "-" TID_1234abcd5678ef90 "-" "-" "-"')
ALB_VALUES = {"kind": "https", "response_time": at("2018-07-02T22:23:00.186"),
              "elb": "app/my-loadbalancer/50dc6c495c0c9188", "client": "192.168.131.39:2817", "target": "10.0.0.1:80",
              "request_processing_time": 0.086, "target_processing_time": 0.048, "response_processing_time": 0.037,
              "elb_status_code": 200, "target_status_code": 200, "received_bytes": 0, "sent_bytes": 57,
              "request": "GET https://www.example.com:443/ HTTP/1.1", "user_agent": "curl/7.46.0",
              "ssl_cipher": "ECDHE-RSA-AES128-GCM-SHA256", "ssl_protocol": "TLSv1.2",
              "target_group_arn": ALB_TARGETS, "trace_id": "Root=1-58337281-1d84f3d73c47ec4e58577259",
              "domain_name": "www.example.com", "chosen_cert_arn": ALB_CERTIFICATE, "matched_rule_priority": 1,
              "request_creation_time": at("2018-07-02T22:22:48.364"), "actions_executed": ["authenticate", "forward"],
              "target_list": ["10.0.0.1:80", "10.0.0.2:80"], "target_status_code_list": ["200", "502"],
              "conn_trace_id": "TID_1234abcd5678ef90"}
REQUEST = "4ac44a8b-4ba4-4a57-9b6c-0a3d0e7e1f10"
TEXT = "Grüße, 東京 🔥 \"quoted\" \\ back\\slash \t tab \r\n line \u2028 'single' <&> % {} ; --"


def of(table, log_group, *samples):
    return [Sample(table, log_group, message, values) for message, values in samples]


def objects(log_group, *samples):
    """Of the table with a column of every type."""
    return of("every_type", log_group, *((json.dumps(message, ensure_ascii=False), values)
                                         for message, values in samples))


SAMPLES = [
    *of("apache_access", "/ecs/web-api.1",
        (APACHE, APACHE_VALUES),
        (APACHE + ' "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"',
         APACHE_VALUES | {"referer": "http://www.example.com/start.html",
                          "user_agent": "Mozilla/4.08 [en] (Win98; I ;Nav)"}),
        ("no line of httpd", NO_MATCH),
        ('1.2.3.4 - - [31/Feb/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1',
         'request_time: "31/Feb/2015:10:05:03 +0000" is no timestamp(3)')),
    *of("apache_access", ODD,
        (NGINX + r'"\x16\x03\x01" 400 - "-" "-"',
         NGINX_VALUES | {"request": r"\x16\x03\x01", "status": 400}),
        (NGINX + r'"GET /a\"b?q=é HTTP/2.0" 304 0 "say \"hi\"" "-"',
         NGINX_VALUES | {"method": "GET", "path": r'/a\"b?q=é', "protocol": "HTTP/2.0", "status": 304, "bytes": 0,
                         "referer": r'say \"hi\"'})),
    *of("app_json", "/app/orders.v1",
        ('{"level":"info","message":"a \\"b\\" é","duration_ms":12.5,"status":"200","user":{"id":7},"tags":["x"],'
         '"error":{"type":"E"},"trace_id":null}',
         {"level": "info", "text": 'a "b" é', "duration_ms": "12.5", "status": "200", "error": '{"type":"E"}',
          "extra": '{"user":{"id":7},"tags":["x"]}'}),
        ("{}", {}),
        ("Started in 3 s", "log_events"),
        ('{"level":30,"time":1531171074631,"timestamp":"2024-06-18T02:07:06Z","msg":"done","status":"success",'
         '"duration_ms":"12 ms","request_id":7,"requestId":"b16742c9","span_id":"00f067","service":"shop"}',
         {"level": "30", "log_time": "1531171074631", "log_timestamp": "2024-06-18T02:07:06Z", "msg": "done",
          "status": "success", "duration_ms": "12 ms", "request_id": "7", "lambda_request_id": "b16742c9",
          "span_id": "00f067", "service": "shop"})),
    *of("cloudtrail", "aws-cloudtrail-logs-123456789012-x",
        (json.dumps(TRAIL), TRAIL_VALUES),
        (json.dumps(TRAIL | {"errorCode": "AccessDenied", "errorMessage": "no", "resources": [{"a": 1}],
                             "responseElements": {"x": "é"}, "readOnly": None, "userIdentity": ROLE,
                             "eventCategory": "NetworkActivity", "eventType": "AwsVpceEvent", "tlsDetails": None,
                             "vpcEndpointId": "vpce-1", "vpcEndpointAccountId": "123456789012",
                             "sharedEventID": "a1f3720c", "additionalEventData": {"bytesTransferredIn": 0},
                             "serviceEventDetails": {"a": "b"}, "apiVersion": "2006-03-01",
                             "sessionCredentialFromConsole": "true"}),
         TRAIL_VALUES | dict.fromkeys(("user_arn", "user_account_id", "user_name", "user_principal_id",
                                       "user_access_key_id", "session_creation_date", "tls_version",
                                       "tls_cipher_suite", "tls_client_provided_host_header", "read_only"))
         | {"error_code": "AccessDenied", "error_message": "no", "resources": '[{"a": 1}]',
            "response_elements": '{"x": "\\u00e9"}', "user_type": "AssumedRole", "invoked_by": "ec2.amazonaws.com",
            "session_issuer_arn": ISSUER, "session_issuer_type": "Role", "session_mfa_authenticated": True,
            "source_identity": "mateo", "user_identity": json.dumps(ROLE), "event_category": "NetworkActivity",
            "event_type": "AwsVpceEvent", "vpc_endpoint_id": "vpce-1", "vpc_endpoint_account_id": "123456789012",
            "shared_event_id": "a1f3720c", "additional_event_data": '{"bytesTransferredIn": 0}',
            "service_event_details": '{"a": "b"}', "api_version": "2006-03-01",
            "session_credential_from_console": True}),
        ('{"eventVersion":"1.07","eventTime":"2020-07-21T20:56:00Z","eventType":"AwsCloudTrailInsight",'
         '"insightDetails":{"state":"Start"},"eventCategory":"Insight"}',
         {"event_version": "1.07", "event_time": at("2020-07-21T20:56:00"), "event_type": "AwsCloudTrailInsight",
          "insight_details": '{"state":"Start"}', "event_category": "Insight"}),
        ('{"eventTime":"2023-07-19T21:17:28Z"}', "event_version: there is no value, and it is required")),
    *of("vpc_flow", "/vpc/flow#logs",
        (VPC, {"version": 2, "account_id": "123456789010", "interface_id": "eni-1235b8ca123456789",
               "srcaddr": "172.31.16.139", "dstaddr": "172.31.16.21", "srcport": 20641, "dstport": 22, "protocol": 6,
               "packets": 20, "bytes": 4249, "start_time": at("2014-12-14T04:06:50"),
               "end_time": at("2014-12-14T04:07:50"), "action": "ACCEPT", "log_status": "OK"}),
        ("2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA",
         {"version": 2, "account_id": "123456789010", "interface_id": "eni-1235b8ca123456789",
          "start_time": at("2015-05-10T18:01:16"), "end_time": at("2015-05-10T18:02:14"), "log_status": "NODATA"}),
        ("2 123", "the message has 2 fields, of 14"),
        (VPC.replace("20641", "x"), 'srcport: "x" is no int')),
    *of("vpc_own", "vpc.own_fields-1",
        ("vpc-1 10.0.0.1 19 1418530070 9223372036854775807 arn:aws:ecs:us-east-2:1:task/c/7a BPA nat-1 3",
         {"vpc_id": "vpc-1", "srcaddr": "10.0.0.1", "tcp_flags": 19, "end_time": at("2014-12-14T04:07:50"),
          "bytes": 2**63 - 1, "ecs_task_arn": "arn:aws:ecs:us-east-2:1:task/c/7a", "reject_reason": "BPA",
          "resource_id": "nat-1", "encryption_status": 3}),
        ("vpc-1 10.0.0.1 19 1418530070 - - - - -",
         {"vpc_id": "vpc-1", "srcaddr": "10.0.0.1", "tcp_flags": 19, "end_time": at("2014-12-14T04:07:50")})),
    *of("lambda_platform", "/aws/lambda/orders",
        (f"START RequestId: {REQUEST} Version: $LATEST\n",
         {"kind": "START", "request_id": REQUEST, "function_version": "$LATEST"}),
        (f"END RequestId: {REQUEST}\n", {"kind": "END", "request_id": REQUEST}),
        (f"REPORT RequestId: {REQUEST}\tDuration: 14.37 ms\tBilled Duration: 15 ms\tMemory Size: 128 MB\t"
         "Max Memory Used: 60 MB\tInit Duration: 140.38 ms\t\nXRAY TraceId: 1-5e34a614-10bdxmplf1fb44f07bc535a1\t"
         "SegmentId: 07f5xmpl2d1f6f85\tSampled: true\t\n",
         {"kind": "REPORT", "request_id": REQUEST, "duration_ms": 14.37, "billed_ms": 15.0, "memory_size_mb": 128,
          "memory_used_mb": 60, "init_ms": 140.38, "trace_id": "1-5e34a614-10bdxmplf1fb44f07bc535a1",
          "segment_id": "07f5xmpl2d1f6f85", "sampled": True}),
        (f"REPORT RequestId: {REQUEST}\tDuration: 306.34 ms\tBilled Duration: 610 ms\tMemory Size: 3009 MB\t"
         "Max Memory Used: 155 MB\tRestore Duration: 511.25 ms\tBilled Restore Duration: 303 ms\tStatus: error\t"
         "Error Type: Runtime.ExitError\n",
         {"kind": "REPORT", "request_id": REQUEST, "duration_ms": 306.34, "billed_ms": 610.0, "memory_size_mb": 3009,
          "memory_used_mb": 155, "restore_ms": 511.25, "billed_restore_ms": 303.0, "status": "error",
          "error_type": "Runtime.ExitError"}),
        ("2024-03-22T05:00:03.000Z\tid\tINFO\thello", "log_events")),
    *of("lambda_platform", "/aws/lambda/on-demand_2",
        (f"2024-03-22T05:00:03.000Z {REQUEST} Task timed out after 3.01 seconds\n\n",
         {"kind": "Task timed out", "request_id": REQUEST, "error": "Task timed out after 3.01 seconds",
          "timeout_s": 3.01}),
        (f"RequestId: {REQUEST} Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n",
         {"kind": "Error", "request_id": REQUEST, "error": "Runtime exited with error: signal: killed",
          "error_type": "Runtime.ExitError"}),
        ("INIT_START Runtime Version: nodejs:20.v30\tRuntime Version ARN: arn:aws:lambda:eu-west-1::runtime:abc\n",
         {"kind": "INIT_START", "runtime": "nodejs:20.v30", "runtime_arn": "arn:aws:lambda:eu-west-1::runtime:abc"}),
        ("INIT_REPORT Init Duration: 10006.95 ms\tPhase: init\tStatus: timeout\n",
         {"kind": "INIT_REPORT", "init_ms": 10006.95, "phase": "init", "status": "timeout"}),
        ("EXTENSION\tName: lambda-adapter\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n",
         {"kind": "EXTENSION", "extension": "lambda-adapter", "state": "Ready", "events": "INVOKE, SHUTDOWN"}),
        ("TELEMETRY\tName: agent\tState: Subscribed\tTypes: [Platform]\n",
         {"kind": "TELEMETRY", "extension": "agent", "state": "Subscribed", "types": "Platform"})),
    *of("lambda_platform_json", "/aws/lambda-json/orders",
        *((json.dumps({"time": "2024-06-17T17:23:55.826Z", "type": kind, "record": record}),
           values | {"kind": kind, "event_time": at("2024-06-17T17:23:55.826"), "record": json.dumps(record)})
          for kind, record, values in (
            ("platform.start", {"requestId": REQUEST, "version": "$LATEST",
                                "tracing": {"spanId": "54565fb41ac79632", "value": "Root=1-62e900b2;Sampled=1"}},
             {"request_id": REQUEST, "function_version": "$LATEST", "trace_header": "Root=1-62e900b2;Sampled=1",
              "span_id": "54565fb41ac79632"}),
            ("platform.report", {"requestId": REQUEST, "status": "success",
                                 "metrics": {"durationMs": 147.156, "billedDurationMs": 201, "memorySizeMB": 512,
                                             "maxMemoryUsedMB": 91, "initDurationMs": 10, "restoreDurationMs": 500.795,
                                             "billedRestoreDurationMs": 53}},
             {"request_id": REQUEST, "status": "success", "duration_ms": 147.156, "billed_ms": 201.0,
              "memory_size_mb": 512, "memory_used_mb": 91, "init_ms": 10.0, "restore_ms": 500.795,
              "billed_restore_ms": 53.0}),
            ("platform.initReport", {"initializationType": "on-demand", "phase": "init", "status": "error",
                                     "errorType": "Runtime.ExitError", "metrics": {"durationMs": 10000.487}},
             {"initialization_type": "on-demand", "phase": "init", "status": "error",
              "error_type": "Runtime.ExitError", "duration_ms": 10000.487}),
            ("platform.extension", {"events": ["INVOKE"], "name": "lambda-adapter", "state": "Ready"},
             {"events": '["INVOKE"]', "extension": "lambda-adapter", "state": "Ready"}))),
        ('{"timestamp":"2024-06-17T17:23:55.826Z","level":"INFO","requestId":"x","message":"hello"}', "log_events")),
    *of("alb_access", "/alb/100%",
        (ALB, ALB_VALUES),
        (ALB.replace("10.0.0.1:80 0.086 0.048 0.037 200 200", "- -1 -1 -1 502 -") + ' "new"',
         ALB_VALUES | {"target": None, "request_processing_time": -1.0, "target_processing_time": -1.0,
                       "response_processing_time": -1.0, "elb_status_code": 502, "target_status_code": None}),
        (ALB.replace('5678ef90 "-" "-" "-"', '5678ef90 "api.example.com" "/v2?id=1" "TransformSuccess"')
         .replace('" 1 2018', '" - 2018'),
         ALB_VALUES | {"transformed_host": "api.example.com", "transformed_uri": "/v2?id=1",
                       "request_transform_status": "TransformSuccess", "matched_rule_priority": None}),
        ("http", "the message has 1 fields, of 25 to 33")),
    *objects("/every type/100%",
             ({"a_string": TEXT, "a_bigint": 2**63 - 1, "an_int": 2**31 - 1, "a_double": 1.7976931348623157e308,
               "a_boolean": True, "a_time": "2024-03-22 01:30:00.1239", "a_millis": 1_711_083_600_123,
               "a_log_time": "22/Mar/2024:00:00:00 -0500", "a_date": "2024-02-29",
               "a_list": ["a\n", 1, None, TEXT, ""],
               "a_map": {"é 🔥": "1", "none": None, "deep": {"d": [1]}, "": TEXT}, "a/b": {"~": "deep"}, "more": [1]},
              {"a_string": TEXT, "a_bigint": 2**63 - 1, "an_int": 2**31 - 1, "a_double": 1.7976931348623157e308,
               "a_boolean": True, "a_time": at("2024-03-22T05:00:00.123"), "a_millis": at("2024-03-22T05:00:00.123"),
               "a_log_time": at("2024-03-22T05:00:00"), "a_date": date(2024, 2, 29),
               "a_list": ["a\n", "1", None, TEXT, ""],
               "a_map": {"é 🔥": "1", "none": None, "deep": '{"d": [1]}', "": TEXT}, "inner": "deep",
               "rest": '{"a/b":{"~": "deep"},"more":[1]}'}),
             ({"a_string": "", "a_bigint": -2**63, "an_int": -2**31, "a_double": -1.5e-7, "a_boolean": False,
               "a_time": "1969-12-31T23:59:59.999Z", "a_millis": -1, "a_log_time": "31/Dec/1899:23:00:00 -0100",
               "a_date": "1969-12-31", "a_list": [], "a_map": {}},
              {"a_string": "", "a_bigint": -2**63, "an_int": -2**31, "a_double": -1.5e-7, "a_boolean": False,
               "a_time": at("1969-12-31T23:59:59.999"), "a_millis": at("1969-12-31T23:59:59.999"),
               "a_log_time": at("1900-01-01T00:00:00"), "a_date": date(1969, 12, 31), "a_list": [], "a_map": {}})),
    *objects("/every type/a=b:c?",
             ({}, {}),
             ({"a_string": None, "a_bigint": None, "an_int": None, "a_double": None, "a_boolean": None,
               "a_time": None, "a_date": None, "a_list": None, "a_map": None, "a/b": None},
              {"rest": '{"a/b":null}'}),
             ({"a/b": 7}, 'a/b: "7" is no object'),
             ({"a_double": 3, "a_bigint": "-7", "an_int": 1e3, "a_string": 12.50, "a_boolean": "TRUE",
               "a_time": "2024-03-22T05:00:00+05:45", "a_date": "1582-10-04", "a_list": [None], "a_map": {"k": ""}},
              {"a_double": 3.0, "a_bigint": -7, "an_int": 1000, "a_string": "12.5", "a_boolean": True,
               "a_time": at("2024-03-21T23:15:00"), "a_date": date(1582, 10, 4), "a_list": [None],
               "a_map": {"k": ""}})),
    *objects("/every type/%2F",
             ({"a_time": "9999-12-31T23:59:59.999Z", "a_date": "9999-12-31", "a_bigint": 0, "a_double": 0.1},
              {"a_time": at("9999-12-31T23:59:59.999"), "a_date": date(9999, 12, 31), "a_bigint": 0, "a_double": 0.1}),
             ({"an_int": 2**31}, 'an_int: "2147483648" does not fit int'),
             ({"a_list": "a,b"}, r'a_list: "\"a,b\"" is no array<string>')),
    *of("log_events", "plain", ("as it is", {}), (TEXT, {})),
    *of("log_events", "null", ("a log group that looks like none", {})),
]


@dataclass(frozen=True)
class Put:
    """An event that was put, and where it has to come out: as a row of a table, or as a rejection (`None`)."""
    id: str
    timestamp: int
    sample: Sample
    table: str | None


def puts():
    """All events: each sample at each edge."""
    for number, sample in enumerate(SAMPLES):
        for edge, timestamp in enumerate(EDGES):
            table = sample.table
            if isinstance(sample.values, str):
                table = "log_events" if sample.values == "log_events" else None
            yield Put(f"3{number * 100 + edge:055d}", timestamp, sample, table)


def envelopes(events):
    """The payloads of a subscription: one for each log group."""
    groups = {}
    for put in events:
        event = {"id": put.id, "timestamp": put.timestamp, "message": put.sample.message}
        groups.setdefault(put.sample.log_group, []).append(event)
    for group, its in groups.items():
        yield {"messageType": "DATA_MESSAGE", "owner": OWNER, "logGroup": group, "logStream": STREAM,
               "subscriptionFilters": ["f"], "logEvents": its}


def lines(payloads):
    """What `aws kinesis get-records` prints, a line for each payload: bytes as they are, others as a gzip envelope."""
    for number, payload in enumerate(payloads):
        data = payload if isinstance(payload, bytes) else gzip.compress(json.dumps(payload).encode())
        record = {"SequenceNumber": f"4957{number:052d}", "Data": base64.b64encode(data).decode(),
                  "PartitionKey": str(number), "ApproximateArrivalTimestamp": ARRIVAL / 1000}
        yield json.dumps({"Records": [record]})


def place(log_group, timestamp):
    """The values of the columns that partition a table."""
    moment = of_millis(timestamp)
    return {"log_group": log_group, "dt": f"{moment:%Y-%m-%d}", "hour": f"{moment:%H}"}


def expected(table, columns):
    """The rows of a table by their ids, each with all of these columns."""
    rows = {}
    for put in puts():
        if put.table != table:
            continue
        row = dict.fromkeys(columns)
        # What is not a row of its own table is one of the general one, as it is.
        values = put.sample.values if isinstance(put.sample.values, dict) else {}
        row |= values | {"event_id": put.id, "timestamp": of_millis(put.timestamp), "message": put.sample.message,
                         "log_stream": STREAM, "owner": OWNER, "ingested_at": of_millis(ARRIVAL)}
        row |= place(put.sample.log_group, put.timestamp)
        assert row.keys() == {*columns, *PARTITIONS}, row.keys() ^ {*columns, *PARTITIONS}
        rows[put.id] = row
    return rows


def rejected():
    """Why each event is rejected, by its id."""
    return {put.id: f"table {put.sample.table}: {put.sample.values}" for put in puts() if put.table is None}


def compare(want, seen, what):
    """Of rows by their ids, or fails with the first value that differs."""
    assert want, f"{what}: nothing is expected"
    ids = Counter(row["event_id"] for row in seen)
    twice = [id for id, count in ids.items() if count > 1]
    assert not twice, f"{what}: {len(twice)} rows are there twice: {twice[:3]}"
    assert ids.keys() == want.keys(), \
        f"{what}: missing {sorted(want.keys() - ids.keys())[:3]}, unexpected {sorted(ids.keys() - want.keys())[:3]}"
    for row in seen:
        wanted = want[row["event_id"]]
        assert row.keys() == wanted.keys(), f"{what}: other columns: {sorted(row.keys() ^ wanted.keys())}"
        for column, value in row.items():
            wants = wanted[column]
            assert type(value) is type(wants) and value == wants, \
                f"{what}: {column} of {row['message']!r} is {value!r}, not {wants!r}"
    return len(seen), sum(len(row) for row in seen)
