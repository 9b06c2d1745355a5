//! The built-in schemas against lines as their producers write them, and parsers against what they may meet.

mod delimited;
mod grok;
mod json;

use proptest::prelude::*;

use super::super::cells::{Cell, Cells};
use super::super::library::Library;
use super::super::{Schema, Source};
use std::sync::Arc;

use super::*;

/// The values that a message makes, by column, as text; columns without value are left out.
fn row(schema: &Schema, message: &str) -> Result<Vec<(String, String)>, String> {
    let extractor = schema.rows.as_ref().expect("it takes values out of messages");
    let mut bytes = b"before".to_vec();
    extractor.extract(&mut Scratch::default(), message, &mut bytes).map_err(|mismatch| {
        assert_eq!(bytes, b"before", "nothing is appended");
        mismatch.to_string()
    })?;
    let bytes = &bytes[6..];
    let mut cells = Cells::new(bytes);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let columns = schema.columns.iter().filter(|column| matches!(column.source, Source::Message { .. }));
    let values = columns.map(|column| {
        let value = match cells.read() {
            Cell::Null => return (column.name.clone(), None),
            Cell::Message(span) => text(span.of(message.as_bytes())),
            Cell::Own(span) => text(span.of(bytes)),
            Cell::Bigint(number) => number.to_string(),
            Cell::Int(number) => number.to_string(),
            Cell::Double(number) => number.to_string(),
            Cell::Boolean(value) => value.to_string(),
            Cell::Timestamp(millis) => format!("{millis} ms"),
            Cell::Date(days) => format!("{days} d"),
            Cell::Items(items) => items.map(|item| item.map_or("null".to_owned(), text)).collect::<Vec<_>>().join("|"),
        };
        (column.name.clone(), Some(value))
    });
    Ok(values.filter_map(|(name, value)| Some((name, value?))).collect())
}

fn built_in(name: &str) -> Arc<Schema> {
    Arc::clone(Library::open(None).unwrap().get(name).unwrap())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A schema with these columns (JSON, as in a file) and this way to parse.
fn schema(parse: &str, columns: &str) -> Schema {
    let text = format!(
        r#"{{"name":"t","version":1,"parse":{parse},"columns":[{columns},{{"name":"message","type":"string"}}],"partitions":[
            {{"name":"log_group","type":"string"}},{{"name":"dt","type":"string"}},{{"name":"hour","type":"string"}}]}}"#
    );
    Schema::parse("t.json", &text, None).unwrap()
}

#[test]
fn apache_access_takes_common_and_combined_lines() {
    let schema = built_in("apache_access");
    // The example of httpd's manual: <https://httpd.apache.org/docs/current/logs.html>
    let common = r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#;
    let expected = [
        ("client", "127.0.0.1"),
        ("user", "frank"),
        ("request_time", "971211336000 ms"),
        ("method", "GET"),
        ("path", "/apache_pb.gif"),
        ("protocol", "HTTP/1.0"),
        ("status", "200"),
        ("bytes", "2326"),
    ];
    assert_eq!(row(&schema, common), Ok(pairs(&expected)));
    let combined = format!(r#"{common} "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)""#);
    let behind =
        [("referer", "http://www.example.com/start.html"), ("user_agent", "Mozilla/4.08 [en] (Win98; I ;Nav)")];
    assert_eq!(row(&schema, &combined), Ok(pairs(&[&expected[..], &behind].concat())));

    let value = |line: &str, column: &str| {
        let row = row(&schema, line).unwrap_or_else(|why| panic!("{why}: {line}"));
        row.into_iter().find(|(name, _)| name == column).map(|(_, value)| value)
    };
    let time = "[17/May/2015:10:05:03 +0000]";
    let odd = [
        (format!(r#"2001:db8::1 - - {time} "GET / HTTP/1.1" 304 - "-" "-""#), "client", Some("2001:db8::1")),
        (format!(r#"::1 - - {time} "GET / HTTP/1.1" 304 - "-" "-""#), "bytes", None),
        (format!(r#"a.example - - {time} "GET / HTTP/1.1" 304 - "-" "-""#), "user_agent", None),
        (format!(r#"1.2.3.4 - jane doe {time} "GET / HTTP/1.1" 200 1"#), "user", Some("jane doe")),
        (format!(r#"1.2.3.4 - - {time} "GET /a\"b HTTP/1.1" 200 1"#), "path", Some(r#"/a\"b"#)),
        (format!(r#"1.2.3.4 - - {time} "-" 408 -"#), "request", None),
        (format!(r#"1.2.3.4 - - {time} "" 400 0 "-" "-""#), "request", Some("")),
        (format!(r#"1.2.3.4 - - {time} "\x16\x03\x01" 400 226 "-" "-""#), "request", Some(r"\x16\x03\x01")),
        (format!(r#"1.2.3.4 - - {time} "GET /" 200 1"#), "path", Some("/")),
        (
            format!(r#"1.2.3.4 - - {time} "GET / HTTP/1.1" 200 1 "say \"hi\"" "a \\ b""#),
            "referer",
            Some(r#"say \"hi\""#),
        ),
    ];
    for (line, column, expected) in odd {
        assert_eq!(value(&line, column).as_deref(), expected, "{column} of {line}");
    }
    let no_match = "the message does not match the regular expression";
    for line in ["", "hello", r#"1.2.3.4 - - [x] "GET / HTTP/1.1" 2000 1"#] {
        assert_eq!(row(&schema, line), Err(no_match.to_owned()), "{line}");
    }
    let bad_time = row(&schema, r#"1.2.3.4 - - [31/Feb/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1"#);
    assert_eq!(bad_time, Err(r#"request_time: "31/Feb/2015:10:05:03 +0000" is no timestamp(3)"#.to_owned()));
    let too_much = row(&schema, &format!(r#"1.2.3.4 - - {time} "GET / HTTP/1.1" 200 99999999999999999999"#));
    assert_eq!(too_much, Err(r#"bytes: "99999999999999999999" does not fit bigint"#.to_owned()));
}

#[test]
fn app_json_keeps_what_it_has_no_column_for() {
    let schema = built_in("app_json");
    let message = r#"{"level":"info","message":"a \"b\" é","duration_ms":12.5,"status":"200","user":{"id":7},"tags":["x"],"error":{"type":"E"},"trace_id":null}"#;
    let expected = [
        ("level", "info"),
        ("text", r#"a "b" é"#),
        ("duration_ms", "12.5"),
        ("status", "200"),
        ("error", r#"{"type":"E"}"#),
        ("extra", r#"{"user":{"id":7},"tags":["x"]}"#),
    ];
    assert_eq!(row(&schema, message), Ok(pairs(&expected)));
    assert_eq!(row(&schema, " {} "), Ok(Vec::new()));
    for message in ["", "text", "[1]", r#"{"a":1"#, r#"{"a":1} x"#, "null"] {
        assert_eq!(row(&schema, message), Err("the message is not a JSON object".to_owned()), "{message}");
    }
    let wrong = row(&schema, r#"{"status":"teapot"}"#);
    assert_eq!(wrong, Err(r#"status: "teapot" is no int"#.to_owned()));
}

#[test]
fn cloudtrail_takes_members_of_members() {
    // After the example of the user guide:
    // <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html>
    let message = r#"{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","principalId":"EXAMPLE6E4XEGITWATV6R","arn":"arn:aws:iam::123456789012:user/Mateo","accountId":"123456789012","accessKeyId":"AKIAIOSFODNN7EXAMPLE","userName":"Mateo","sessionContext":{"sessionIssuer":{},"webIdFederationData":{},"attributes":{"creationDate":"2023-07-19T21:11:57Z","mfaAuthenticated":"false"}}},"eventTime":"2023-07-19T21:17:28Z","eventSource":"ec2.amazonaws.com","eventName":"StartInstances","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.0","userAgent":"aws-cli/2.13.5","requestParameters":{"instancesSet":{"items":[{"instanceId":"i-EXAMPLE56126103cb"}]}},"responseElements":null,"requestID":"e4336db0-149f-4a6b-844d-EXAMPLEb9d16","eventID":"e755e09c-42f9-4c5c-9064-EXAMPLE228c7","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"123456789012","eventCategory":"Management"}"#;
    let expected = [
        ("event_time", "1689801448000 ms"),
        ("event_source", "ec2.amazonaws.com"),
        ("event_name", "StartInstances"),
        ("aws_region", "us-east-1"),
        ("source_ip_address", "192.0.2.0"),
        ("user_agent", "aws-cli/2.13.5"),
        ("user_type", "IAMUser"),
        ("user_arn", "arn:aws:iam::123456789012:user/Mateo"),
        ("user_account_id", "123456789012"),
        ("user_name", "Mateo"),
        ("recipient_account_id", "123456789012"),
        ("event_type", "AwsApiCall"),
        ("event_category", "Management"),
        ("management_event", "true"),
        ("read_only", "false"),
        ("request_id", "e4336db0-149f-4a6b-844d-EXAMPLEb9d16"),
        ("api_event_id", "e755e09c-42f9-4c5c-9064-EXAMPLE228c7"),
        ("request_parameters", r#"{"instancesSet":{"items":[{"instanceId":"i-EXAMPLE56126103cb"}]}}"#),
    ];
    assert_eq!(row(&built_in("cloudtrail"), message), Ok(pairs(&expected)));
    let missing = row(&built_in("cloudtrail"), r#"{"eventTime":"2023-07-19T21:17:28Z"}"#);
    assert_eq!(missing, Err("event_source: there is no value, and it is required".to_owned()));
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

    let library = Library::open(None).unwrap();
    let fields: Vec<String> = ["vpc-id", "srcaddr", "tcp-flags", "end"].map(str::to_owned).into();
    let custom = Schema::parse("vpc_flow.json", library.text("vpc_flow").unwrap(), Some(&fields)).unwrap();
    let expected =
        [("srcaddr", "10.0.0.1"), ("end_time", "1418530070000 ms"), ("vpc_id", "vpc-1"), ("tcp_flags", "19")];
    assert_eq!(row(&custom, "vpc-1 10.0.0.1 19 1418530070"), Ok(pairs(&expected)));
    let wrong = Schema::parse("vpc_flow.json", library.text("vpc_flow").unwrap(), Some(&["vpcid".to_owned()]));
    assert!(
        wrong.unwrap_err().to_string().contains(r#"there is no field "vpcid": the schema has version, account-id,"#)
    );
}

#[test]
fn lambda_platform_takes_the_lines_of_an_invocation() {
    let schema = built_in("lambda_platform");
    let id = "79104EXAMPLEB723";
    let start = row(&schema, &format!("START RequestId: {id} Version: $LATEST\n"));
    assert_eq!(start, Ok(pairs(&[("kind", "START"), ("request_id", id), ("function_version", "$LATEST")])));
    assert_eq!(row(&schema, &format!("END RequestId: {id}\n")), Ok(pairs(&[("kind", "END"), ("request_id", id)])));
    let report = format!(
        "REPORT RequestId: {id}\tDuration: 14.37 ms\tBilled Duration: 15 ms\tMemory Size: 128 MB\tMax Memory Used: 60 MB\t\
         Init Duration: 140.38 ms\t\nXRAY TraceId: 1-5e34a614-10bdxmplf1fb44f07bc535a1\tSegmentId: 07f5xmpl2d1f6f85\tSampled: true\t\n"
    );
    let expected = [
        ("kind", "REPORT"),
        ("request_id", id),
        ("duration_ms", "14.37"),
        ("billed_ms", "15"),
        ("memory_size_mb", "128"),
        ("memory_used_mb", "60"),
        ("init_ms", "140.38"),
        ("trace_id", "1-5e34a614-10bdxmplf1fb44f07bc535a1"),
    ];
    assert_eq!(row(&schema, &report), Ok(pairs(&expected)));
    let failed = format!(
        "REPORT RequestId: {id}\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 MB\tMax Memory Used: 34 MB\t\
         Status: timeout\n"
    );
    assert!(row(&schema, &failed).unwrap().contains(&("status".into(), "timeout".into())));
    let init =
        "INIT_START Runtime Version: nodejs:20.v30\tRuntime Version ARN: arn:aws:lambda:eu-west-1::runtime:abc\n";
    assert_eq!(row(&schema, init), Ok(pairs(&[("kind", "INIT_START"), ("runtime", "nodejs:20.v30")])));
    let timed_out =
        "2024-03-22T05:00:03.000Z 4ac44a8b-4ba4-4a57-9b6c-0a3d0e7e1f10 Task timed out after 3.01 seconds\n\n";
    assert!(row(&schema, timed_out).unwrap().contains(&("timeout_s".into(), "3.01".into())));
    assert!(
        row(&schema, "2024-03-22T05:00:03.000Z\tid\tINFO\thello").is_err(),
        "what functions write is not the platform's"
    );
}

#[test]
fn alb_access_takes_quoted_fields_and_such_as_will_come() {
    let schema = built_in("alb_access");
    // From the user guide:
    // <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>
    let line = r#"https 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.086 0.048 0.037 200 200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067 "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" "arn:aws:acm:us-east-2:123456789012:certificate/12345678-1234-1234-1234-123456789012" 1 2018-07-02T22:22:48.364000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-""#;
    let row_of = |line: &str| row(&schema, line).unwrap_or_else(|why| panic!("{why}"));
    let value =
        |line: &str, column: &str| row_of(line).into_iter().find(|(name, _)| name == column).map(|(_, value)| value);
    assert_eq!(value(line, "kind").as_deref(), Some("https"));
    assert_eq!(value(line, "response_time").as_deref(), Some("1530570180186 ms"));
    assert_eq!(value(line, "request").as_deref(), Some("GET https://www.example.com:443/ HTTP/1.1"));
    assert_eq!(value(line, "target_processing_time").as_deref(), Some("0.048"));
    assert_eq!(value(line, "actions_executed").as_deref(), Some("authenticate|forward"));
    assert_eq!(value(line, "redirect_url"), None);
    assert_eq!(row_of(&format!("{line} TID_1234abcd \"-\" \"-\"")), row_of(line), "fields that came later");
    let failed = line.replace("10.0.0.1:80 0.086 0.048 0.037 200 200", "- -1 -1 -1 502 -");
    assert_eq!((value(&failed, "target"), value(&failed, "target_status_code")), (None, None));
    assert_eq!(value(&failed, "request_processing_time").as_deref(), Some("-1"));
    let quoted = line.replace("curl/7.46.0", r#"a \x22b\x22 ""c"" d"#);
    assert_eq!(value(&quoted, "user_agent").as_deref(), Some(r#"a \x22b\x22 "c" d"#));
}

#[test]
fn json_values_become_every_type() {
    let columns = [
        r#"{"name":"s","type":"string"}"#,
        r#"{"name":"b","type":"bigint"}"#,
        r#"{"name":"i","type":"int"}"#,
        r#"{"name":"d","type":"double"}"#,
        r#"{"name":"t","type":"boolean"}"#,
        r#"{"name":"at","type":"timestamp(3)","format":"epoch_millis"}"#,
        r#"{"name":"day","type":"date"}"#,
        r#"{"name":"l","type":"array<string>"}"#,
        r#"{"name":"m","type":"map<string,string>"}"#,
        r#"{"name":"inner","type":"string","from":"/a~1b/~0"}"#,
    ];
    let schema = schema(r#"{"json":{}}"#, &columns.join(","));
    let message = r#"{"s":"x\u0000y","b":9223372036854775807,"i":-1,"d":"1.5","t":true,"at":1711083600123,"day":"2024-03-22",
        "l":["a\n",1,null,{"k":[]},""],"m":{"a":"1","b":null,"c":{"d":1},"a":"2"},"a/b":{"~":"deep","other":1}}"#;
    let expected = [
        ("s", "x\0y"),
        ("b", "9223372036854775807"),
        ("i", "-1"),
        ("d", "1.5"),
        ("t", "true"),
        ("at", "1711083600123 ms"),
        ("day", "19804 d"),
        ("l", "a\n|1|null|{\"k\":[]}|"),
        ("m", "b|null|c|{\"d\":1}|a|2"),
        ("inner", "deep"),
    ];
    assert_eq!(row(&schema, message), Ok(pairs(&expected)));
    for (message, why) in [
        (r#"{"b":9223372036854775808}"#, r#"b: "9223372036854775808" does not fit bigint"#),
        (r#"{"i":2147483648}"#, r#"i: "2147483648" does not fit int"#),
        (r#"{"i":true}"#, r#"i: "true" is no int"#),
        (r#"{"d":[1]}"#, r#"d: "[1]" is no double"#),
        (r#"{"t":1}"#, r#"t: "1" is no boolean"#),
        (r#"{"l":"a,b"}"#, r#"l: "\"a,b\"" is no array<string>"#),
        (r#"{"m":["a"]}"#, r#"m: "[\"a\"]" is no map<string,string>"#),
        (r#"{"s":"\ud83d"}"#, r#"s: "\"\\ud83d\"" is no string"#),
        (r#"{"day":"22.3.2024"}"#, r#"day: "22.3.2024" is no date"#),
    ] {
        assert_eq!(row(&schema, message), Err(why.to_owned()), "{message}");
    }
    assert_eq!(row(&schema, r#"{"s":1,"s":"last"}"#), Ok(pairs(&[("s", "last")])), "as everywhere");
    assert_eq!(row(&schema, r#"{"s":"x","s":null}"#), Ok(Vec::new()));
}

proptest! {
    /// Of no schema and no message.
    #[test]
    fn nothing_panics_and_values_are_those_of_the_message(
        message in prop_oneof![
            ".{0,80}",
            "[-0-9.: \"\\\\,\\[\\]{}a-zé\n]{0,80}",
            "(START|END|REPORT) RequestId: [a-z0-9]{0,4}.{0,40}",
        ],
    ) {
        let library = Library::open(None).unwrap();
        for (schema, _) in library.schemas().filter(|(schema, _)| schema.rows.is_some()) {
            let _ = row(schema, &message);
        }
    }

    /// What JSON has comes out as it was.
    #[test]
    fn json_texts_and_numbers_come_out(text in "\\PC{0,20}", number in any::<i64>(), key in "[a-z\"\\\\]{1,5}") {
        let schema = schema(
            r#"{"json":{"rest":"rest"}}"#,
            r#"{"name":"text","type":"string"},{"name":"number","type":"bigint"},{"name":"rest","type":"string"}"#,
        );
        let other = format!("x{key}");
        let message = serde_json::json!({ "text": text, "number": number, (other.as_str()): [text] }).to_string();
        let row = row(&schema, &message).unwrap();
        prop_assert_eq!(&row[0].1, &text);
        prop_assert_eq!(&row[1].1, &number.to_string());
        let rest: serde_json::Value = serde_json::from_str(&row[2].1).unwrap();
        prop_assert_eq!(&rest[other.as_str()][0], &serde_json::Value::from(text));
    }
}
