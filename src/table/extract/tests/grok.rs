//! Patterns of patterns, and that neither they nor messages make them endless.

use std::collections::BTreeMap;

use super::super::grok::LONGEST;
use super::*;

#[test]
fn grok_patterns_fill_columns_by_their_aliases() {
    let parse = r#"{"grok":{"patterns":["%{IP:client} %{WORD:verb} %{CODE:code}"],"definitions":{"CODE":"[0-9]{3}"}}}"#;
    let columns = r#"{"name":"client","type":"string"},{"name":"verb","type":"string"},{"name":"code","type":"int"}"#;
    let schema = schema(parse, columns);
    let expected = [("client", "2001:db8::1"), ("verb", "GET"), ("code", "200")];
    assert_eq!(row(&schema, "2001:db8::1 GET 200"), Ok(pairs(&expected)));
    assert_eq!(row(&schema, "nobody GET 200"), Err("the message does not match the grok pattern".to_owned()));
}

#[test]
fn of_groups_of_one_alias_the_one_that_took_part_counts() {
    let parse =
        r#"{"grok":{"patterns":["^(?:ip=%{IP:from}|host=%{HOSTNAME:from}) %{DAY=[0-9]+}-%{DAY:day}-(?<rest>.*)$"]}}"#;
    let columns = ["from", "day", "rest"].map(|name| format!(r#"{{"name":"{name}","type":"string"}}"#)).join(",");
    let schema = schema(parse, &columns);
    let (day, rest) = (("day", "2"), ("rest", "é"));
    assert_eq!(row(&schema, "ip=::1 1-2-é"), Ok(pairs(&[("from", "::1"), day, rest])));
    assert_eq!(row(&schema, "host=a.example 1-2-é"), Ok(pairs(&[("from", "a.example"), day, rest])));
}

fn grok(pattern: &str, definitions: &[(&str, &str)]) -> Result<Grok, String> {
    let definitions = definitions.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Grok::compile(pattern, &definitions.collect::<BTreeMap<_, _>>())
}

#[test]
fn definitions_that_blow_up_are_refused_at_once() {
    let doubled: Vec<_> = (0..40).map(|n| (format!("P{n}"), format!("%{{P{}}}%{{P{}}}", n + 1, n + 1))).collect();
    let mut doubled: Vec<_> = doubled.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let deep: Vec<_> = (0..100).map(|n| (format!("D{n}"), format!("%{{D{}}}", n + 1))).collect();
    let deep: Vec<_> = deep.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    doubled.push(("P40", ""));
    let long = "x".repeat(LONGEST + 1);
    let cases = [
        ("%{P0}", &doubled[..], "longer than 64 KiB with its definitions put in"),
        ("%{X}", &[("X", &*long)], "longer than 64 KiB"),
        ("%{D0}", &deep[..], "more than 64 definitions are in each other"),
        ("%{A}", &[("A", "a%{B}"), ("B", "b%{A:x}")], "the definition of \"A\" has itself in it"),
        ("%{NOPE:a}", &[], "there is no pattern \"NOPE\": add it to \"definitions\""),
        ("%{IP", &[], "is no grok pattern: it has a %{...} that is not whole"),
        ("%{I P}", &[], "is no grok pattern: ' ' has no place in %{...}"),
        ("(?<a>x)|(?<a>y)", &[], "group \"a\" is there twice"),
        ("", &[], "it is empty"),
    ];
    for (pattern, definitions, why) in cases {
        let start = std::time::Instant::now();
        let said = grok(pattern, definitions).map(|_| ()).unwrap_err();
        assert!(said.contains(why), "{said}, and not {why}");
        assert!(start.elapsed().as_secs() < 1, "{pattern}: {:?}", start.elapsed());
    }
    assert!(grok("%{A}%{A}", &[("A", "%{B}%{B}"), ("B", "b")]).is_ok(), "more than once is not in itself");
}

/// The usual definitions are all such that they can be compiled.
#[test]
fn usual_definitions_compile() {
    for name in
        ["COMBINEDAPACHELOG", "SYSLOGLINE", "TIMESTAMP_ISO8601", "CLOUDFRONT_ACCESS_LOG", "ELB_ACCESS_LOG", "PATH"]
    {
        let grok = grok(&format!("%{{{name}}}"), &[]).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(
            grok.names().any(|name| name == "timestamp"),
            name != "PATH" && name != "TIMESTAMP_ISO8601",
            "{name}"
        );
    }
}

#[test]
fn a_message_that_takes_too_long_is_a_mismatch_of_its_own() {
    let parse = r#"{"grok":{"patterns":["^(?:(?=a)a+)+b(?<x>c)","^(?<y>a)"]}}"#;
    let schema = schema(parse, r#"{"name":"x","type":"string"},{"name":"y","type":"string"}"#);
    assert_eq!(row(&schema, "aac b"), Ok(pairs(&[("y", "a")])), "what does not match the first may match the second");
    assert_eq!(row(&schema, "aabc"), Ok(pairs(&[("x", "c")])));
    let start = std::time::Instant::now();
    for len in [40, 4000, 1 << 20] {
        let found = row(&schema, &"a".repeat(len));
        assert_eq!(found, Err("the message takes too long to match the grok pattern".to_owned()), "{len}");
    }
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

/// What begins with `^` is not tried at other places, of which a long message has more than steps are allowed.
#[test]
fn anchored_patterns_match_long_messages_or_do_not() {
    let columns = ["x", "y"].map(|name| format!(r#"{{"name":"{name}","type":"string"}}"#)).join(",");
    let no_match = Err("the message does not match the grok pattern".to_owned());
    let long = "a ".repeat(200_000);
    for anchored in ["^%{IP:x} (?<y>b)", "(?:^|\\\\A)%{IP:x}(?<y> b)?", "(?i)^%{IP:x} (?<y>B)", "%{LINE:x}(?<y>)"] {
        let parse = format!(r#"{{"grok":{{"patterns":["{anchored}"],"definitions":{{"LINE":"^(?=1)1.1.1.1 (b)"}}}}}}"#);
        let schema = schema(&parse, &columns);
        assert_eq!(row(&schema, &long), no_match, "{anchored}");
        assert_eq!(row(&schema, "x 1.1.1.1 b"), no_match, "{anchored}");
        assert_eq!(row(&schema, ""), no_match, "{anchored}");
        assert_eq!(row(&schema, &format!("1.1.1.1 b {long}")).map(|row| row.len()), Ok(2), "{anchored}");
    }
    for open in ["%{IP:x} (?<y>b)", "^a|%{IP:x} (?<y>b)", "(?x) (?<y>) 1.1.1.(?=1) (?<x>1) # what ends the line"] {
        let schema = schema(&format!(r#"{{"grok":{{"patterns":["{open}"]}}}}"#), &columns);
        assert_eq!(row(&schema, "x 1.1.1.1 b").map(|row| row.len()), Ok(2), "{open}");
    }
    let commented =
        schema(r#"{"grok":{"patterns":["(?x)^ (?<x> 1 (?=2) 2 ) (?<y>) # what ends the line"]}}"#, &columns);
    assert_eq!(row(&commented, "12").map(|row| row.len()), Ok(2));
}
