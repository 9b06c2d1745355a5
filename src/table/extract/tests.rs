//! The built-in schemas against lines as their producers write them, and parsers against what they may meet.

mod delimited;
mod grok;
mod json;
mod schemas;

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
    // Debian's vhost_combined has one field more: better no row than one that is shifted.
    let shifted = row(&schema, &format!(r#"host:443 1.2.3.4 - - {time} "GET / HTTP/1.1" 200 1 "-" "x""#));
    assert_eq!(shifted, Err("the message does not match the regular expression".to_owned()));
    for (user, expected) in [("-", None), ("-x", Some("-x")), ("ann lee", Some("ann lee")), ("a - b", Some("a - b"))] {
        let row = row(&schema, &format!(r#"1.2.3.4 - {user} {time} "GET / HTTP/1.1" 200 1"#)).unwrap();
        assert_eq!(row.iter().find(|(name, _)| name == "user").map(|(_, value)| value.as_str()), expected);
    }
    let too_much = row(&schema, &format!(r#"1.2.3.4 - - {time} "GET / HTTP/1.1" 200 99999999999999999999"#));
    assert_eq!(too_much, Err(r#"bytes: "99999999999999999999" does not fit bigint"#.to_owned()));
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
