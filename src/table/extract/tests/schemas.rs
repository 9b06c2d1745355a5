//! The built-in schemas of what AWS writes and of applications' JSON, against lines as they are.

use super::*;

#[test]
fn app_json_keeps_what_it_has_no_column_for() {
    let schema = built_in("app_json");
    check(
        &schema,
        &[
            (
                r#"{"level":"info","message":"a \"b\" é","duration_ms":12.5,"status":"200","user":{"id":7},"tags":["x"],"error":{"type":"E"},"trace_id":null}"#,
                &[
                    ("level", "info"),
                    ("text", r#"a "b" é"#),
                    ("duration_ms", "12.5"),
                    ("status", "200"),
                    ("error", r#"{"type":"E"}"#),
                    ("extra", r#"{"user":{"id":7},"tags":["x"]}"#),
                ],
            ),
            (" {} ", &[]),
            // Of Lambda: <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>
            (
                r#"{"timestamp":"2024-06-18T02:07:06Z","level":"ERROR","message":"had an error","logger":"climate.aws","stackTrace":["  File"],"errorType":"Exception","requestId":"b16742c9-fc88-48cd-b49a-da83582e3929"}"#,
                &[
                    ("level", "ERROR"),
                    ("logger", "climate.aws"),
                    ("text", "had an error"),
                    ("log_timestamp", "2024-06-18T02:07:06Z"),
                    ("lambda_request_id", "b16742c9-fc88-48cd-b49a-da83582e3929"),
                    ("extra", r#"{"stackTrace":["  File"],"errorType":"Exception"}"#),
                ],
            ),
            // Of pino, a logger of Node.js.
            (
                r#"{"level":30,"time":1531171074631,"msg":"hello","pid":657,"hostname":"a"}"#,
                &[
                    ("level", "30"),
                    ("msg", "hello"),
                    ("log_time", "1531171074631"),
                    ("extra", r#"{"pid":657,"hostname":"a"}"#),
                ],
            ),
            (
                r#"{"msg":"done","status":"success","duration_ms":"12 ms","request_id":7,"trace_id":"4bf92f","span_id":"00f067","service":"shop"}"#,
                &[
                    ("msg", "done"),
                    ("request_id", "7"),
                    ("trace_id", "4bf92f"),
                    ("span_id", "00f067"),
                    ("service", "shop"),
                    ("duration_ms", "12 ms"),
                    ("status", "success"),
                ],
            ),
        ],
    );
    // Whatever a member that has a column is, the message is a row.
    let names =
        ["level", "message", "msg", "time", "timestamp", "requestId", "status", "duration_ms", "error", "extra"];
    for (name, value) in
        names.iter().flat_map(|name| ["1e400", "true", "[1]", r#"{"a":{}}"#, "\"\""].map(|v| (name, v)))
    {
        let message = format!(r#"{{"{name}":{value}}}"#);
        let row = row(&schema, &message).unwrap_or_else(|why| panic!("{why}: {message}"));
        assert_eq!(row.len(), 1, "{message}");
    }
    refuse(&schema, "the message is not a JSON object", &["", "text", "[1]", r#"{"a":1"#, r#"{"a":1} x"#, "null"]);
}

/// After <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html> and
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html>.
#[test]
fn cloudtrail_takes_members_of_members() {
    let schema = built_in("cloudtrail");
    let identity = r#"{"type":"IAMUser","principalId":"EXAMPLE6E4XEGITWATV6R","arn":"arn:aws:iam::123456789012:user/Mateo","accountId":"123456789012","accessKeyId":"AKIAIOSFODNN7EXAMPLE","userName":"Mateo","sessionContext":{"sessionIssuer":{},"webIdFederationData":{},"attributes":{"creationDate":"2023-07-19T21:11:57Z","mfaAuthenticated":"false"}}}"#;
    let management = format!(
        r#"{{"eventVersion":"1.08","userIdentity":{identity},"eventTime":"2023-07-19T21:17:28Z","eventSource":"ec2.amazonaws.com","eventName":"StartInstances","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.0","userAgent":"aws-cli/2.13.5","requestParameters":{{"instancesSet":{{"items":[{{"instanceId":"i-EXAMPLE56126103cb"}}]}}}},"responseElements":null,"requestID":"e4336db0-149f-4a6b-844d-EXAMPLEb9d16","eventID":"e755e09c-42f9-4c5c-9064-EXAMPLE228c7","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"123456789012","eventCategory":"Management","tlsDetails":{{"tlsVersion":"TLSv1.2","cipherSuite":"ECDHE-RSA-AES128-GCM-SHA256","clientProvidedHostHeader":"ec2.us-east-1.amazonaws.com"}},"sessionCredentialFromConsole":"true"}}"#
    );
    check(
        &schema,
        &[(
            &management,
            &[
                ("event_time", "1689801448000 ms"),
                ("event_version", "1.08"),
                ("event_source", "ec2.amazonaws.com"),
                ("event_name", "StartInstances"),
                ("event_type", "AwsApiCall"),
                ("event_category", "Management"),
                ("management_event", "true"),
                ("read_only", "false"),
                ("aws_region", "us-east-1"),
                ("source_ip_address", "192.0.2.0"),
                ("user_agent", "aws-cli/2.13.5"),
                ("user_type", "IAMUser"),
                ("user_principal_id", "EXAMPLE6E4XEGITWATV6R"),
                ("user_arn", "arn:aws:iam::123456789012:user/Mateo"),
                ("user_account_id", "123456789012"),
                ("user_access_key_id", "AKIAIOSFODNN7EXAMPLE"),
                ("user_name", "Mateo"),
                ("session_creation_date", "1689801117000 ms"),
                ("session_mfa_authenticated", "false"),
                ("user_identity", identity),
                ("session_credential_from_console", "true"),
                ("recipient_account_id", "123456789012"),
                ("request_id", "e4336db0-149f-4a6b-844d-EXAMPLEb9d16"),
                ("api_event_id", "e755e09c-42f9-4c5c-9064-EXAMPLE228c7"),
                ("tls_version", "TLSv1.2"),
                ("tls_cipher_suite", "ECDHE-RSA-AES128-GCM-SHA256"),
                ("tls_client_provided_host_header", "ec2.us-east-1.amazonaws.com"),
                ("request_parameters", r#"{"instancesSet":{"items":[{"instanceId":"i-EXAMPLE56126103cb"}]}}"#),
            ],
        )],
    );
    let missing = row(&schema, r#"{"eventTime":"2023-07-19T21:17:28Z"}"#);
    assert_eq!(missing, Err("event_version: there is no value, and it is required".to_owned()));
    refuse(&schema, "event_time: there is no value, and it is required", &["{}", r#"{"eventVersion":"1.08"}"#]);
    refuse(&schema, "the message is not a JSON object", &["", "[]", "StartInstances"]);
    let no_time = row(&schema, &management.replace("2023-07-19T21:17:28Z", "yesterday"));
    assert_eq!(no_time, Err(r#"event_time: "yesterday" is no timestamp(3)"#.to_owned()));
}

#[test]
fn cloudtrail_takes_every_category() {
    let schema = built_in("cloudtrail");
    let role = r#"{"type":"AssumedRole","principalId":"ASIAIOSFODNN7EXAMPLE:role-name","arn":"arn:aws:sts::123456789012:assumed-role/Admin/role-name","accountId":"123456789012","accessKeyId":"ASIAIOSFODNN7EXAMPLE","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"ASIAIOSFODNN7EXAMPLE","arn":"arn:aws:iam::123456789012:role/Admin","accountId":"123456789012","userName":"Admin"},"attributes":{"creationDate":"2024-06-04T23:10:46Z","mfaAuthenticated":"false"},"sourceIdentity":"mateo"}}"#;
    let network = format!(
        r#"{{"eventVersion":"1.09","userIdentity":{role},"eventTime":"2024-06-04T23:12:50Z","eventSource":"kms.amazonaws.com","eventName":"ListKeys","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.0","errorCode":"VpceAccessDenied","errorMessage":"The request was denied due to a VPC endpoint policy","requestID":"16bcc089-ac49-43f1-9177-EXAMPLE23731","eventID":"228ca3c8-5f95-4a8a-9732-EXAMPLE60ed9","eventType":"AwsVpceEvent","recipientAccountId":"123456789012","sharedEventID":"a1f3720c-ef19-47e9-a5d5-EXAMPLE8099f","vpcEndpointId":"vpce-EXAMPLE08c1b6b9b7","vpcEndpointAccountId":"123456789012","eventCategory":"NetworkActivity"}}"#
    );
    let web = r#"{"type":"WebIdentityUser","principalId":"p","userName":"system:serviceaccount:a:b","identityProvider":"arn:aws:iam::123456789012:oidc-provider/oidc.eks.example","sessionContext":{"webIdFederationData":{"federatedProvider":"arn:aws:iam::123456789012:oidc-provider/oidc.eks.example","attributes":{}}}}"#;
    let data = format!(
        r#"{{"eventVersion":"1.11","userIdentity":{web},"eventTime":"2024-06-04T23:12:50Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","apiVersion":"2006-03-01","eventType":"AwsApiCall","managementEvent":false,"readOnly":true,"additionalEventData":{{"bytesTransferredOut":7}},"resources":[{{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::b/k"}}],"eventCategory":"Data","eventContext":{{"tagContext":{{}}}},"edgeDeviceDetails":{{"a":1}}}}"#
    );
    let service = r#"{"eventVersion":"1.08","userIdentity":{"accountId":"123456789012","invokedBy":"AWS Internal"},"eventTime":"2024-06-04T23:12:50Z","eventSource":"kms.amazonaws.com","eventName":"RotateKey","userAgent":null,"requestParameters":null,"eventType":"AwsServiceEvent","serviceEventDetails":{"keyId":"k"},"addendum":{"reason":"DELIVERY_DELAY"},"eventCategory":"Management"}"#;
    // Neither has it a source and a name, nor is it anybody's.
    let insight = r#"{"eventVersion":"1.07","eventTime":"2020-07-21T20:56:00Z","awsRegion":"us-east-1","eventID":"abcd00b0-ccfe-422d-961c-98a2198a408x","eventType":"AwsCloudTrailInsight","recipientAccountId":"838185438692","sharedEventID":"7bb000gg-22b3-4c03-94af-c74tj0c8m7c0","insightDetails":{"state":"Start","eventSource":"autoscaling.amazonaws.com"},"eventCategory":"Insight"}"#;
    check(
        &schema,
        &[
            (
                &network,
                &[
                    ("event_time", "1717542770000 ms"),
                    ("event_version", "1.09"),
                    ("event_source", "kms.amazonaws.com"),
                    ("event_name", "ListKeys"),
                    ("event_type", "AwsVpceEvent"),
                    ("event_category", "NetworkActivity"),
                    ("aws_region", "us-east-1"),
                    ("source_ip_address", "192.0.2.0"),
                    ("error_code", "VpceAccessDenied"),
                    ("error_message", "The request was denied due to a VPC endpoint policy"),
                    ("user_type", "AssumedRole"),
                    ("user_principal_id", "ASIAIOSFODNN7EXAMPLE:role-name"),
                    ("user_arn", "arn:aws:sts::123456789012:assumed-role/Admin/role-name"),
                    ("user_account_id", "123456789012"),
                    ("user_access_key_id", "ASIAIOSFODNN7EXAMPLE"),
                    ("session_issuer_type", "Role"),
                    ("session_issuer_principal_id", "ASIAIOSFODNN7EXAMPLE"),
                    ("session_issuer_arn", "arn:aws:iam::123456789012:role/Admin"),
                    ("session_issuer_account_id", "123456789012"),
                    ("session_issuer_user_name", "Admin"),
                    ("session_creation_date", "1717542646000 ms"),
                    ("session_mfa_authenticated", "false"),
                    ("source_identity", "mateo"),
                    ("user_identity", role),
                    ("recipient_account_id", "123456789012"),
                    ("request_id", "16bcc089-ac49-43f1-9177-EXAMPLE23731"),
                    ("api_event_id", "228ca3c8-5f95-4a8a-9732-EXAMPLE60ed9"),
                    ("shared_event_id", "a1f3720c-ef19-47e9-a5d5-EXAMPLE8099f"),
                    ("vpc_endpoint_id", "vpce-EXAMPLE08c1b6b9b7"),
                    ("vpc_endpoint_account_id", "123456789012"),
                ],
            ),
            (
                &data,
                &[
                    ("event_time", "1717542770000 ms"),
                    ("event_version", "1.11"),
                    ("event_source", "s3.amazonaws.com"),
                    ("event_name", "GetObject"),
                    ("event_type", "AwsApiCall"),
                    ("event_category", "Data"),
                    ("management_event", "false"),
                    ("read_only", "true"),
                    ("user_type", "WebIdentityUser"),
                    ("user_principal_id", "p"),
                    ("user_name", "system:serviceaccount:a:b"),
                    ("identity_provider", "arn:aws:iam::123456789012:oidc-provider/oidc.eks.example"),
                    ("federated_provider", "arn:aws:iam::123456789012:oidc-provider/oidc.eks.example"),
                    ("user_identity", web),
                    ("api_version", "2006-03-01"),
                    ("resources", r#"[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::b/k"}]"#),
                    ("additional_event_data", r#"{"bytesTransferredOut":7}"#),
                    ("event_context", r#"{"tagContext":{}}"#),
                    ("edge_device_details", r#"{"a":1}"#),
                ],
            ),
            (
                service,
                &[
                    ("event_time", "1717542770000 ms"),
                    ("event_version", "1.08"),
                    ("event_source", "kms.amazonaws.com"),
                    ("event_name", "RotateKey"),
                    ("event_type", "AwsServiceEvent"),
                    ("event_category", "Management"),
                    ("user_account_id", "123456789012"),
                    ("invoked_by", "AWS Internal"),
                    ("user_identity", r#"{"accountId":"123456789012","invokedBy":"AWS Internal"}"#),
                    ("service_event_details", r#"{"keyId":"k"}"#),
                    ("addendum", r#"{"reason":"DELIVERY_DELAY"}"#),
                ],
            ),
            (
                insight,
                &[
                    ("event_time", "1595364960000 ms"),
                    ("event_version", "1.07"),
                    ("event_type", "AwsCloudTrailInsight"),
                    ("event_category", "Insight"),
                    ("aws_region", "us-east-1"),
                    ("recipient_account_id", "838185438692"),
                    ("api_event_id", "abcd00b0-ccfe-422d-961c-98a2198a408x"),
                    ("shared_event_id", "7bb000gg-22b3-4c03-94af-c74tj0c8m7c0"),
                    ("insight_details", r#"{"state":"Start","eventSource":"autoscaling.amazonaws.com"}"#),
                ],
            ),
        ],
    );
}

#[test]
fn vpc_flow_takes_version_2_and_any_order() {
    let schema = built_in("vpc_flow");
    // From the user guide: <https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-records-examples.html>
    let accepted = "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK";
    let expected = [
        ("version", "2"),
        ("account_id", "123456789010"),
        ("interface_id", "eni-1235b8ca123456789"),
        ("srcaddr", "172.31.16.139"),
        ("dstaddr", "172.31.16.21"),
        ("srcport", "20641"),
        ("dstport", "22"),
        ("protocol", "6"),
        ("packets", "20"),
        ("bytes", "4249"),
        ("start_time", "1418530010000 ms"),
        ("end_time", "1418530070000 ms"),
        ("action", "ACCEPT"),
        ("log_status", "OK"),
    ];
    assert_eq!(row(&schema, accepted), Ok(pairs(&expected)));
    let no_data = "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA";
    assert_eq!(row(&schema, no_data).unwrap().len(), 6);
    let ipv6 = "2 123456789010 eni-1235b8ca123456789 2001:db8:1234:a100:8d6e:3477:df66:f105 2001:db8:1234:a102:3304:8879:34cf:4071 34892 22 6 54 8855 1477913708 1477913820 ACCEPT OK";
    assert!(row(&schema, ipv6).unwrap().contains(&("srcaddr".into(), "2001:db8:1234:a100:8d6e:3477:df66:f105".into())));
    assert_eq!(row(&schema, "2 123"), Err("the message has 2 fields, of 14".to_owned()));
    assert_eq!(row(&schema, &format!("{accepted} more")), Err("the message has 15 fields, of 14".to_owned()));
    assert_eq!(row(&schema, &format!("{accepted}\n{accepted}")), Err("the message has more than one line".to_owned()));
    let port = accepted.replace("20641", "x");
    assert_eq!(row(&schema, &port), Err(r#"srcport: "x" is no int"#.to_owned()));

    let custom = of_fields("vpc-id srcaddr tcp-flags end");
    let expected =
        [("srcaddr", "10.0.0.1"), ("end_time", "1418530070000 ms"), ("vpc_id", "vpc-1"), ("tcp_flags", "19")];
    assert_eq!(row(&custom, "vpc-1 10.0.0.1 19 1418530070"), Ok(pairs(&expected)));
    let library = Library::open(None).unwrap();
    let wrong = Schema::parse("vpc_flow.json", library.text("vpc_flow").unwrap(), Some(&["vpcid".to_owned()]));
    assert!(
        wrong.unwrap_err().to_string().contains(r#"there is no field "vpcid": the schema has version, account-id,"#)
    );
}

/// `vpc_flow` where a table says its fields.
fn of_fields(fields: &str) -> Schema {
    let library = Library::open(None).unwrap();
    let fields: Vec<_> = fields.split(' ').map(str::to_owned).collect();
    Schema::parse("vpc_flow.json", library.text("vpc_flow").unwrap(), Some(&fields)).unwrap()
}

/// All that there are, in the order of <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>: 14 of
/// version 2, 7 of 3, 4 of 4, 4 of 5, 10 of 7, and one each of 8, 9 and 10. Those of 6 are of transit gateways.
#[test]
fn vpc_flow_takes_every_field_of_every_version() {
    let version_2 = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end \
                     action log-status";
    let later = "vpc-id subnet-id instance-id tcp-flags type pkt-srcaddr pkt-dstaddr region az-id sublocation-type \
                 sublocation-id pkt-src-aws-service pkt-dst-aws-service flow-direction traffic-path ecs-cluster-arn \
                 ecs-cluster-name ecs-container-instance-arn ecs-container-instance-id ecs-container-id \
                 ecs-second-container-id ecs-service-name ecs-task-definition-arn ecs-task-arn ecs-task-id \
                 reject-reason resource-id encryption-status";
    let schema = of_fields(&format!("{version_2} {later}"));
    let arn = "arn:aws:ecs:eu-west-1:123456789010";
    let line = format!(
        "10 123456789010 eni-1235b8ca123456789 172.31.16.139 203.0.113.5 43416 443 6 10 840 1418530010 1418530070 REJECT OK \
         vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-01234567890123456 3 IPv4 172.31.16.139 203.0.113.5 eu-west-1 \
         euw1-az1 wavelength wlz-1 S3 CLOUDFRONT egress 8 {arn}:cluster/main main {arn}:container-instance/main/0c1 0c1 \
         d0c1 d0c2 web {arn}:task-definition/web:3 {arn}:task/main/7a7a 7a7a BPA nat-1235b8ca 3"
    );
    let of = |kind: &str| format!("{arn}:{kind}");
    let expected: Values<'_> = &[
        ("version", "10"),
        ("account_id", "123456789010"),
        ("interface_id", "eni-1235b8ca123456789"),
        ("srcaddr", "172.31.16.139"),
        ("dstaddr", "203.0.113.5"),
        ("srcport", "43416"),
        ("dstport", "443"),
        ("protocol", "6"),
        ("packets", "10"),
        ("bytes", "840"),
        ("start_time", "1418530010000 ms"),
        ("end_time", "1418530070000 ms"),
        ("action", "REJECT"),
        ("log_status", "OK"),
        ("vpc_id", "vpc-abcdefab012345678"),
        ("subnet_id", "subnet-aaaaaaaa012345678"),
        ("instance_id", "i-01234567890123456"),
        ("tcp_flags", "3"),
        ("traffic_type", "IPv4"),
        ("pkt_srcaddr", "172.31.16.139"),
        ("pkt_dstaddr", "203.0.113.5"),
        ("region", "eu-west-1"),
        ("az_id", "euw1-az1"),
        ("sublocation_type", "wavelength"),
        ("sublocation_id", "wlz-1"),
        ("pkt_src_aws_service", "S3"),
        ("pkt_dst_aws_service", "CLOUDFRONT"),
        ("flow_direction", "egress"),
        ("traffic_path", "8"),
        ("ecs_cluster_arn", &of("cluster/main")),
        ("ecs_cluster_name", "main"),
        ("ecs_container_instance_arn", &of("container-instance/main/0c1")),
        ("ecs_container_instance_id", "0c1"),
        ("ecs_container_id", "d0c1"),
        ("ecs_second_container_id", "d0c2"),
        ("ecs_service_name", "web"),
        ("ecs_task_definition_arn", &of("task-definition/web:3")),
        ("ecs_task_arn", &of("task/main/7a7a")),
        ("ecs_task_id", "7a7a"),
        ("reject_reason", "BPA"),
        ("resource_id", "nat-1235b8ca"),
        ("encryption_status", "3"),
    ];
    assert_eq!((row(&schema, &line), expected.len()), (Ok(pairs(expected)), 42));
    // What is not known, or does not apply.
    let absent = format!("10 123456789010 -{}", " -".repeat(39));
    assert_eq!(row(&schema, &absent), Ok(pairs(&[("version", "10"), ("account_id", "123456789010")])));
    let status = line.strip_suffix('3').unwrap();
    assert_eq!(row(&schema, &format!("{status}nitro")), Err(r#"encryption_status: "nitro" is no int"#.to_owned()));
    assert_eq!(row(&schema, status.trim_end()), Err("the message has 41 fields, of 42".to_owned()));
}

/// The values of columns, by their names.
type Values<'a> = &'a [(&'a str, &'a str)];

/// Lines, and the row of each.
fn check(schema: &Schema, cases: &[(&str, Values<'_>)]) {
    for (line, expected) in cases {
        assert_eq!(row(schema, line), Ok(pairs(expected)), "{line}");
    }
}

/// Lines that do not match, and the reason.
fn refuse(schema: &Schema, why: &str, lines: &[&str]) {
    for line in lines {
        assert_eq!(row(schema, line), Err(why.to_owned()), "{line}");
    }
}

/// After <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>,
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html> and
/// <https://docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html>.
#[test]
fn lambda_platform_takes_the_lines_of_an_invocation() {
    const ID: &str = "4ac44a8b-4ba4-4a57-9b6c-0a3d0e7e1f10";
    let at = |line: &'static str| line.replace("ID", ID);
    let schema = built_in("lambda_platform");
    check(
        &schema,
        &[
            (
                &at("START RequestId: ID Version: $LATEST\n"),
                &[("kind", "START"), ("request_id", ID), ("function_version", "$LATEST")],
            ),
            (&at("END RequestId: ID\n"), &[("kind", "END"), ("request_id", ID)]),
            (
                "REPORT RequestId: 79104EXAMPLEB723\tDuration: 14.37 ms\tBilled Duration: 15 ms\tMemory Size: 128 MB\t\
                 Max Memory Used: 60 MB\tInit Duration: 140.38 ms\t\nXRAY TraceId: 1-5e34a614-10bdxmplf1fb44f07bc535a1\t\
                 SegmentId: 07f5xmpl2d1f6f85\tSampled: true\t\n",
                &[
                    ("kind", "REPORT"),
                    ("request_id", "79104EXAMPLEB723"),
                    ("duration_ms", "14.37"),
                    ("billed_ms", "15"),
                    ("memory_size_mb", "128"),
                    ("memory_used_mb", "60"),
                    ("init_ms", "140.38"),
                    ("trace_id", "1-5e34a614-10bdxmplf1fb44f07bc535a1"),
                    ("segment_id", "07f5xmpl2d1f6f85"),
                    ("sampled", "true"),
                ],
            ),
            (
                &at("REPORT RequestId: ID\tDuration: 306.34 ms\tBilled Duration: 610 ms\tMemory Size: 3009 MB\t\
                     Max Memory Used: 155 MB\tRestore Duration: 511.25 ms\tBilled Restore Duration: 303 ms\t\n"),
                &[
                    ("kind", "REPORT"),
                    ("request_id", ID),
                    ("duration_ms", "306.34"),
                    ("billed_ms", "610"),
                    ("memory_size_mb", "3009"),
                    ("memory_used_mb", "155"),
                    ("restore_ms", "511.25"),
                    ("billed_restore_ms", "303"),
                ],
            ),
            // With spaces, as it is shown in places.
            (
                &at("REPORT RequestId: ID Duration: 3000.00 ms Billed Duration: 3000 ms Memory Size: 128 MB \
                     Max Memory Used: 34 MB Status: timeout"),
                &[
                    ("kind", "REPORT"),
                    ("request_id", ID),
                    ("duration_ms", "3000"),
                    ("billed_ms", "3000"),
                    ("memory_size_mb", "128"),
                    ("memory_used_mb", "34"),
                    ("status", "timeout"),
                ],
            ),
            (
                &at("REPORT RequestId: ID\tDuration: 10935.70 ms\tBilled Duration: 10936 ms\tMemory Size: 1024 MB\t\
                     Max Memory Used: 1024 MB\tStatus: error\tError Type: Runtime.OutOfMemory\n\
                     XRAY TraceId: 1-6ac7d556-032906e375c910cf42cb849e\tSegmentId: 90cbc97f4ee64a7f\tSampled: false\t\n"),
                &[
                    ("kind", "REPORT"),
                    ("request_id", ID),
                    ("duration_ms", "10935.7"),
                    ("billed_ms", "10936"),
                    ("memory_size_mb", "1024"),
                    ("memory_used_mb", "1024"),
                    ("trace_id", "1-6ac7d556-032906e375c910cf42cb849e"),
                    ("segment_id", "90cbc97f4ee64a7f"),
                    ("sampled", "false"),
                    ("status", "error"),
                    ("error_type", "Runtime.OutOfMemory"),
                ],
            ),
            (
                &at("2024-03-22T05:00:03.000Z ID Task timed out after 3.01 seconds\n\n"),
                &[
                    ("kind", "Task timed out"),
                    ("request_id", ID),
                    ("error", "Task timed out after 3.01 seconds"),
                    ("timeout_s", "3.01"),
                ],
            ),
            (
                &at("RequestId: ID Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n"),
                &[
                    ("kind", "Error"),
                    ("request_id", ID),
                    ("error_type", "Runtime.ExitError"),
                    ("error", "Runtime exited with error: signal: killed"),
                ],
            ),
            (
                &at("RequestId: ID Error: Runtime exited without providing a reason"),
                &[("kind", "Error"), ("request_id", ID), ("error", "Runtime exited without providing a reason")],
            ),
            (
                &at("RequestId: ID Process exited before completing request\n"),
                &[
                    ("kind", "Process exited"),
                    ("request_id", ID),
                    ("error", "Process exited before completing request"),
                ],
            ),
        ],
    );
    refuse(
        &schema,
        "the message does not match the regular expression",
        &[
            "",
            "2024-03-22T05:00:03.000Z\tid\tINFO\thello",
            "[ERROR] Runtime.ImportModuleError: Unable to import module 'handler'",
            "REPORT RequestId: 1\tDuration: 1 s",
            &at("END RequestId: ID said the function"),
            &at("the function said: END RequestId: ID"),
            r#"{"time":"2024-06-17T17:23:55.902Z","type":"platform.start","record":{}}"#,
        ],
    );
}

#[test]
fn lambda_platform_takes_the_lines_of_an_environment() {
    let schema = built_in("lambda_platform");
    let arn = "arn:aws:lambda:us-east-1::runtime:b8b295733fb8ae6769e0fb039181ce76e1f54a4d04bb5ca7ded937bb0d839109";
    check(
        &schema,
        &[
            (
                &format!("INIT_START Runtime Version: python:3.12.v30\tRuntime Version ARN: {arn}\n"),
                &[("kind", "INIT_START"), ("runtime", "python:3.12.v30"), ("runtime_arn", arn)],
            ),
            (
                "INIT_REPORT Init Duration: 10006.95 ms\tPhase: init\tStatus: timeout\n",
                &[("kind", "INIT_REPORT"), ("init_ms", "10006.95"), ("status", "timeout"), ("phase", "init")],
            ),
            (
                "INIT_REPORT Init Duration: 1236.04 ms\tPhase: invoke\tStatus: error\tError Type: Extension.Crash\n",
                &[
                    ("kind", "INIT_REPORT"),
                    ("init_ms", "1236.04"),
                    ("status", "error"),
                    ("error_type", "Extension.Crash"),
                    ("phase", "invoke"),
                ],
            ),
            ("INIT_REPORT Init Duration: 6211.43 ms\n", &[("kind", "INIT_REPORT"), ("init_ms", "6211.43")]),
            (
                &format!("RESTORE_START Runtime Version: java:11.v20\tRuntime Version ARN: {arn}\n"),
                &[("kind", "RESTORE_START"), ("runtime", "java:11.v20"), ("runtime_arn", arn)],
            ),
            (
                "RESTORE_START Runtime Version: nodejs:22.v20",
                &[("kind", "RESTORE_START"), ("runtime", "nodejs:22.v20")],
            ),
            ("RESTORE_REPORT Restore Duration: 398.97 ms\n", &[("kind", "RESTORE_REPORT"), ("restore_ms", "398.97")]),
            (
                "RESTORE_REPORT Restore Duration: 1236.04 ms\tStatus: error\tError Type: Runtime.ExitError\n",
                &[
                    ("kind", "RESTORE_REPORT"),
                    ("restore_ms", "1236.04"),
                    ("status", "error"),
                    ("error_type", "Runtime.ExitError"),
                ],
            ),
            (
                "EXTENSION\tName: AWSParametersAndSecretsLambdaExtension\tState: Ready\tEvents: [SHUTDOWN, INVOKE]\n",
                &[
                    ("kind", "EXTENSION"),
                    ("extension", "AWSParametersAndSecretsLambdaExtension"),
                    ("state", "Ready"),
                    ("events", "SHUTDOWN, INVOKE"),
                ],
            ),
            (
                "EXTENSION\tName: lambda-adapter\tState: Started\tEvents: []\n",
                &[("kind", "EXTENSION"), ("extension", "lambda-adapter"), ("state", "Started"), ("events", "")],
            ),
            (
                "TELEMETRY\tName: datadog-agent\tState: Subscribed\tTypes: [Platform, Function, Extension]\n",
                &[
                    ("kind", "TELEMETRY"),
                    ("extension", "datadog-agent"),
                    ("state", "Subscribed"),
                    ("types", "Platform, Function, Extension"),
                ],
            ),
            (
                "LOGS\tName: cloudwatch_lambda_agent\tState: Already subscribed\tTypes: [Platform]\n",
                &[
                    ("kind", "LOGS"),
                    ("extension", "cloudwatch_lambda_agent"),
                    ("state", "Already subscribed"),
                    ("types", "Platform"),
                ],
            ),
        ],
    );
    refuse(
        &schema,
        "the message does not match the regular expression",
        &["EXTENSION\tName: x\tState: Ready", "RESTORE_REPORT", "INIT_REPORT Init Duration: long"],
    );
}

/// After <https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html>.
#[test]
fn lambda_platform_json_takes_the_events_of_an_invocation_and_of_an_environment() {
    const ID: &str = "6d68ca91-49c9-448d-89b8-7ca3e6dc66aa";
    const TRACE: &str = "Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1";
    let schema = built_in("lambda_platform_json");
    // The type, the record, and what it makes besides these two and the time.
    let cases: &[(&str, &str, Values<'_>)] = &[
        (
            "platform.start",
            r#"{"requestId":"ID","functionArn":"arn:aws:lambda:eu-west-1:1:function:f","version":"$LATEST","tracing":{"spanId":"54565fb41ac79632","type":"X-Amzn-Trace-Id","value":"TRACE"}}"#,
            &[
                ("request_id", ID),
                ("function_version", "$LATEST"),
                ("trace_header", TRACE),
                ("span_id", "54565fb41ac79632"),
            ],
        ),
        (
            "platform.runtimeDone",
            r#"{"requestId":"ID","status":"error","errorType":"Runtime.ExitError","spans":[{"name":"responseLatency","start":"2024-02-09T08:42:44.078Z","durationMs":0.677}],"metrics":{"durationMs":140.0,"producedBytes":16}}"#,
            &[("request_id", ID), ("duration_ms", "140"), ("status", "error"), ("error_type", "Runtime.ExitError")],
        ),
        (
            "platform.report",
            r#"{"requestId":"ID","metrics":{"durationMs":1233.96,"billedDurationMs":1698,"memorySizeMB":256,"maxMemoryUsedMB":123,"initDurationMs":463.512},"status":"success"}"#,
            &[
                ("request_id", ID),
                ("duration_ms", "1233.96"),
                ("billed_ms", "1698"),
                ("memory_size_mb", "256"),
                ("memory_used_mb", "123"),
                ("init_ms", "463.512"),
                ("status", "success"),
            ],
        ),
        (
            "platform.report",
            r#"{"requestId":"ID","status":"success","metrics":{"durationMs":147.156,"billedDurationMs":201,"memorySizeMB":512,"maxMemoryUsedMB":91,"restoreDurationMs":500.795,"billedRestoreDurationMs":53}}"#,
            &[
                ("request_id", ID),
                ("duration_ms", "147.156"),
                ("billed_ms", "201"),
                ("memory_size_mb", "512"),
                ("memory_used_mb", "91"),
                ("restore_ms", "500.795"),
                ("billed_restore_ms", "53"),
                ("status", "success"),
            ],
        ),
        (
            "platform.initStart",
            r#"{"initializationType":"on-demand","phase":"init","runtimeVersion":"nodejs-14.v3","runtimeVersionArn":"arn","functionName":"myFunction","functionVersion":"$LATEST","instanceId":"82561ce0-53dd-47d1-90e0-c8f5e063e62e","instanceMaxMemory":256}"#,
            &[
                ("phase", "init"),
                ("initialization_type", "on-demand"),
                ("runtime", "nodejs-14.v3"),
                ("runtime_arn", "arn"),
            ],
        ),
        (
            "platform.initReport",
            r#"{"initializationType":"on-demand","phase":"init","status":"timeout","metrics":{"durationMs":10000.487}}"#,
            &[
                ("duration_ms", "10000.487"),
                ("status", "timeout"),
                ("phase", "init"),
                ("initialization_type", "on-demand"),
            ],
        ),
        (
            "platform.restoreReport",
            r#"{"status":"success","metrics":{"durationMs":15.19},"spans":[]}"#,
            &[("duration_ms", "15.19"), ("status", "success")],
        ),
        (
            "platform.extension",
            r#"{"events":["INVOKE","SHUTDOWN"],"name":"my-telemetry-extension","state":"Ready"}"#,
            &[("extension", "my-telemetry-extension"), ("state", "Ready"), ("events", r#"["INVOKE","SHUTDOWN"]"#)],
        ),
        (
            "platform.telemetrySubscription",
            r#"{"name":"my-telemetry-extension","state":"Subscribed","types":["platform","function"]}"#,
            &[
                ("extension", "my-telemetry-extension"),
                ("state", "Subscribed"),
                ("types", r#"["platform","function"]"#),
            ],
        ),
        (
            "platform.logsDropped",
            r#"{"droppedBytes":12345,"droppedRecords":123,"reason":"the consumer is slower than the logs"}"#,
            &[],
        ),
    ];
    for (kind, record, values) in cases {
        let record = record.replace("ID", ID).replace("TRACE", TRACE);
        let line = format!(r#"{{"time":"2022-10-12T00:01:15.000Z","type":"{kind}","record":{record}}}"#);
        let mut expected = vec![("kind", *kind), ("event_time", "1665532875000 ms")];
        expected.extend_from_slice(values);
        expected.push(("record", &record));
        assert_eq!(row(&schema, &line), Ok(pairs(&expected)), "{line}");
    }
    // What functions log, in Lambda's JSON or their own.
    let log = r#"{"timestamp":"2022-10-12T00:03:50.000Z","level":"INFO","requestId":"79b4f56e","message":"Hello"}"#;
    refuse(&schema, "kind: there is no value, and it is required", &[log, "{}"]);
    refuse(
        &schema,
        "record: there is no value, and it is required",
        &[r#"{"time":"2022-10-12T00:03:50.000Z","type":"order"}"#],
    );
    refuse(&schema, "the message is not a JSON object", &["START RequestId: 1 Version: 2", "Hello"]);
}

/// What both schemas of Lambda say is called the same, and is of the same type.
#[test]
fn schemas_of_lambda_share_their_columns() {
    let (text, json) = (built_in("lambda_platform"), built_in("lambda_platform_json"));
    let kind = |schema: &Schema, name: &str| schema.columns.iter().find(|column| column.name == name).map(|c| c.kind);
    let shared = text.columns.iter().filter(|column| kind(&json, &column.name).is_some());
    assert!(shared.clone().all(|column| kind(&json, &column.name) == Some(column.kind)));
    let own: Vec<_> = text.columns.iter().map(|c| c.name.as_str()).filter(|name| kind(&json, name).is_none()).collect();
    assert_eq!(own, ["trace_id", "segment_id", "sampled", "error", "timeout_s"]);
}

/// After <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>.
#[test]
fn alb_access_takes_quoted_fields_and_such_as_will_come() {
    let schema = built_in("alb_access");
    let group = "arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067";
    let certificate = "arn:aws:acm:us-east-2:123456789012:certificate/12345678-1234-1234-1234-123456789012";
    let line = format!(
        r#"https 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 {group} "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" "{certificate}" 1 2018-07-02T22:22:48.364000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd5678ef90 "-" "-" "-""#
    );
    let whole: Values<'_> = &[
        ("kind", "https"),
        ("response_time", "1530570180186 ms"),
        ("elb", "app/my-loadbalancer/50dc6c495c0c9188"),
        ("client", "192.168.131.39:2817"),
        ("target", "10.0.0.1:80"),
        ("request_processing_time", "0.086"),
        ("target_processing_time", "0.048"),
        ("response_processing_time", "0.037"),
        ("elb_status_code", "200"),
        ("target_status_code", "200"),
        ("received_bytes", "0"),
        ("sent_bytes", "57"),
        ("request", "GET https://www.example.com:443/ HTTP/1.1"),
        ("user_agent", "curl/7.46.0"),
        ("ssl_cipher", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("ssl_protocol", "TLSv1.2"),
        ("target_group_arn", group),
        ("trace_id", "Root=1-58337281-1d84f3d73c47ec4e58577259"),
        ("domain_name", "www.example.com"),
        ("chosen_cert_arn", certificate),
        ("matched_rule_priority", "1"),
        ("request_creation_time", "1530570168364 ms"),
        ("actions_executed", "authenticate|forward"),
        ("target_list", "10.0.0.1:80"),
        ("target_status_code_list", "200"),
        ("conn_trace_id", "TID_1234abcd5678ef90"),
    ];
    check(&schema, &[(&line, whole), (&format!("{line}\n"), whole), (&format!("{line} 203.0.113.9 \"new\""), whole)]);

    let transformed = line.replace(
        r#"TID_1234abcd5678ef90 "-" "-" "-""#,
        r#"TID_1234abcd5678ef90 "api.example.com" "/v2/users?id=1" "TransformSuccess""#,
    );
    let with = [("transformed_host", "api.example.com"), ("transformed_uri", "/v2/users?id=1")];
    let with = [whole, &with, &[("request_transform_status", "TransformSuccess")]].concat();
    check(&schema, &[(&transformed, &with)]);

    // A request that no target took: what has no value is `-`, and no time is -1.
    let nobody: Values<'_> = &[
        ("kind", "http"),
        ("response_time", "1543616580186 ms"),
        ("elb", "app/my-loadbalancer/50dc6c495c0c9188"),
        ("client", "192.168.131.39:2817"),
        ("request_processing_time", "-1"),
        ("target_processing_time", "-1"),
        ("response_processing_time", "-1"),
        ("elb_status_code", "502"),
        ("received_bytes", "34"),
        ("sent_bytes", "366"),
        ("request", "GET http://www.example.com:80/ HTTP/1.1"),
        ("user_agent", "curl/7.46.0"),
        ("target_group_arn", group),
        ("trace_id", "Root=1-58337364-23a8c76965a2ef7629b185e3"),
        ("matched_rule_priority", "0"),
        ("request_creation_time", "1543616568364 ms"),
        ("actions_executed", "forward"),
        ("error_reason", "LambdaInvalidResponse"),
    ];
    let failed = format!(
        r#"http 2018-11-30T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 - -1 -1 -1 502 - 34 366 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.46.0" - - {group} "Root=1-58337364-23a8c76965a2ef7629b185e3" "-" "-" 0 2018-11-30T22:22:48.364000Z "forward" "-" "LambdaInvalidResponse" "-" "-" "-" "-" - "-" "-" "-""#
    );
    check(&schema, &[(&failed, nobody)]);
    let value = |line: &str, column: &str| {
        let row = row(&schema, line).unwrap_or_else(|why| panic!("{why}: {line}"));
        row.into_iter().find(|(name, _)| name == column).map(|(_, value)| value)
    };
    let broken = r#"http 2024-03-21T16:10:26.071854Z app/lb/1 192.0.2.104:36217 - -1 -1 -1 400 - 0 0 "- http://www.example.com:80- -" "-" - - - "-" "-" "-" - 2024-03-21T16:10:26.061854Z "-" "-" "-" "-" "-" "Severe" "BadMethod" TID_1 "-" "-" "-""#;
    for (column, expected) in [
        ("request", Some("- http://www.example.com:80- -")),
        ("matched_rule_priority", None),
        ("actions_executed", None),
        ("elb_status_code", Some("400")),
        ("classification", Some("Severe")),
        ("classification_reason", Some("BadMethod")),
    ] {
        assert_eq!(value(broken, column).as_deref(), expected, "{column}");
    }
    let at_rules = failed.replace(" 0 2018-11-30", " -1 2018-11-30");
    assert_eq!(value(&at_rules, "matched_rule_priority").as_deref(), Some("-1"));
    let more = line.replace(r#""10.0.0.1:80" "200""#, r#""10.0.0.1:80 10.0.0.2:80" "200 502""#);
    assert_eq!(value(&more, "target_list").as_deref(), Some("10.0.0.1:80|10.0.0.2:80"));
    assert_eq!(value(&more, "target_status_code_list").as_deref(), Some("200|502"));
    let quoted = line.replace("curl/7.46.0", r#"a \x22b\x22 ""c"" d"#);
    assert_eq!(value(&quoted, "user_agent").as_deref(), Some(r#"a \x22b\x22 "c" d"#));

    let early = line.split(" TID_").next().unwrap();
    refuse(&schema, r#"elb_status_code: "OK" is no int"#, &[&line.replace(" 200 200 ", " OK 200 ")]);
    // Lines from before the last fields came have no value there.
    check(&schema, &[(early, &whole[..25])]);
    let cut = early.rsplitn(6, ' ').last().unwrap();
    refuse(&schema, "the message has 24 fields, of 33", &[cut]);
}
