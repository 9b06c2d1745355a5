//! What Lambda itself writes, as text and as JSON.

use super::*;

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
