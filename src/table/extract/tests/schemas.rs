//! The built-in schemas of what AWS writes and of applications' JSON, against lines as they are.

mod lambda;
mod network;

use super::*;

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
