//! What is refused of the way to parse a message, and of the columns' types.

use super::*;

/// The file's text, with this way to parse and these columns, one a line.
fn file(parse: &str, columns: &[&str]) -> String {
    let message = r#"{"name":"message","type":"string"}"#;
    columns_of(parse, &[columns, &[message]].concat())
}

/// Without the message.
fn columns_of(parse: &str, columns: &[&str]) -> String {
    let columns = columns.join(",\n    ");
    format!(
        r#"{{
  "name": "t", "version": 1,
  "parse": {parse},
  "columns": [
    {columns}
  ],
  "partitions": [
    {{"name": "log_group", "type": "string"}}, {{"name": "dt", "type": "string"}}, {{"name": "hour", "type": "string"}}
  ]
}}"#
    )
}

/// What is wrong with a text, and the beginning of the place that is said to be wrong.
fn wrong(text: &str, fields: Option<&[String]>) -> (String, String) {
    let error = parse("t.json", text, fields).map(|_| ()).expect_err(text);
    let line = text.lines().nth(error.line - 1).unwrap();
    (error.why, line.chars().skip(error.column - 1).collect())
}

#[track_caller]
fn assert_wrong(text: &str, place: &str, why: &str) {
    let (said, at) = wrong(text, None);
    assert!(said.contains(why), "{said:?}, and not {why:?}\n{text}");
    assert!(at.starts_with(place), "{said:?} is at {at}, and not at {place}\n{text}");
}

fn delimited(rest: &str) -> String {
    format!(r#"{{"delimited": {{{rest}}}}}"#)
}

#[test]
fn delimiters_quotes_and_escapes_have_to_differ_and_are_in_a_line() {
    for (keys, place, why) in [
        (r#""delimiter": "\n", "fields": ["a"]"#, r#""\n""#, "it ends the line"),
        (r#""delimiter": ";", "quote": "\r", "fields": ["a"]"#, r#""\r""#, "it ends the line"),
        (r#""delimiter": ";", "quote": ";", "fields": ["a"]"#, r#"";", "fields""#, "it is the delimiter too"),
        (r#""delimiter": ";", "escape": "\\", "fields": ["a"]"#, r#""\\""#, "there is no \"quote\": add one"),
        (
            r#""delimiter": ";", "quote": "'", "escape": ";", "fields": ["a"]"#,
            r#"";", "fields""#,
            "it is the delimiter",
        ),
        (r#""delimiter": ";", "quote": "'", "escape": "'", "fields": ["a"]"#, r#""'", "fields""#, "may be doubled"),
        (r#""delimiter": ";", "quote": "'", "escape": "é", "fields": ["a"]"#, r#""é""#, "an ASCII character"),
        (r#""delimiter": ";", "quote": "'", "escape": "ab", "fields": ["a"]"#, "", "a single character is wanted here"),
    ] {
        assert_wrong(&file(&delimited(keys), &[]), place, why);
    }
}

#[test]
fn fields_have_names_of_their_own_and_fill_what_is_required() {
    let (usual, required) = (r#"{"name":"a","type":"string"}"#, r#"{"name":"b","type":"string","required":true}"#);
    let text = file(&delimited(r#""delimiter": " ", "fields": ["a", "b", "a"]"#), &[usual]);
    assert_wrong(&text, r#""a"]"#, "field \"a\" is there twice");
    let text = file(&delimited(r#""delimiter": " ", "fields": []"#), &[]);
    assert_wrong(&text, "{", "\"fields\" is empty");
    let no_row = "column \"b\" is required, and \"b\" is not among the fields";
    let text = file(&delimited(r#""delimiter": " ", "fields": ["a"], "known": ["b"]"#), &[usual, required]);
    assert_wrong(&text, r#""b""#, no_row);

    let text = file(&delimited(r#""delimiter": " ", "fields": ["a", "b"]"#), &[usual, required]);
    let of_rule =
        |fields: &[&str]| wrong(&text, Some(&fields.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()));
    assert!(of_rule(&["b", "b"]).0.contains("field \"b\" is there twice"));
    let (why, place) = of_rule(&["a"]);
    assert!(why.contains(no_row) && place.starts_with(r#""b""#), "{why} {place}");
    assert!(of_rule(&[]).0.contains("\"fields\" is empty"));
}

#[test]
fn what_has_no_column_is_not_lost_unawares() {
    let column = r#"{"name":"a","type":"string"}"#;
    let rest = r#"{"name":"rest","type":"string"}"#;
    let keep = |parse: &str, columns: &[&str]| columns_of(&format!("{parse}, \"keep_message\": false"), columns);
    assert_wrong(
        &keep(r#"{"json": {}}"#, &[column]),
        "false",
        "members without a column would be lost: name a \"rest\"",
    );
    parse("t.json", &keep(r#"{"json": {"rest": "rest"}}"#, &[column, rest]), None).unwrap();
    let more = keep(&delimited(r#""delimiter": " ", "fields": ["a"], "more": true"#), &[column]);
    assert_wrong(&more, "false", "further fields would be lost: leave \"more\" out, or keep the message");
    parse("t.json", &keep(&delimited(r#""delimiter": " ", "fields": ["a"]"#), &[column]), None).unwrap();
}

#[test]
fn pointers_have_to_be_such() {
    for from in ["/a~2", ""] {
        let column = format!(r#"{{"name":"a","type":"string","from":"{from}"}}"#);
        assert_wrong(
            &file(r#"{"json": {}}"#, &[&column]),
            &format!("{from:?}"),
            if from.is_empty() { "no member" } else { "~0" },
        );
    }
}
