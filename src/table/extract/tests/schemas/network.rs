//! Flow logs of VPCs, and access logs of load balancers.

use super::*;

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
    refuse(&schema, "the message has 24 fields, of 25 to 33", &[cut]);
}
