//! Fields with delimiters, quotes and escapes.

use super::*;

/// The values of the fields `a`, `b` and `c`, or why there are none.
fn fields(schema: &Schema, message: &str) -> Result<Vec<String>, String> {
    Ok(row(schema, message)?.into_iter().map(|(_, value)| value).collect())
}

fn of_three(more: &str) -> Schema {
    let columns = ["a", "b", "c"].map(|name| format!(r#"{{"name":"{name}","type":"string"}}"#)).join(",");
    schema(&format!(r#"{{"delimited":{{"delimiter":" ","fields":["a","b","c"]{more}}}}}"#), &columns)
}

const QUOTE: &str = r#","quote":"\"""#;
const ESCAPE: &str = r#","quote":"\"","escape":"\\""#;

#[test]
fn fields_are_as_they_stand_in_the_message() {
    let schema = of_three(QUOTE);
    let cases = [
        ("x y z", ["x", "y", "z"]),
        ("x y z\n", ["x", "y", "z"]),
        ("x y z\r\n", ["x", "y", "z"]),
        ("  ", ["", "", ""]),
        (" y ", ["", "y", ""]),
        (r#""x 1" "" """#, ["x 1", "", ""]),
        (r#""say ""x""" y """""#, [r#"say "x""#, "y", "\""]),
        ("\"two\nlines\" y \"\r\n\"", ["two\nlines", "y", "\r\n"]),
        // Neither a quote in a field nor one behind the closing quote has a meaning.
        (r#"x"y" y "z"z"zz""#, [r#"x"y""#, "y", r#"zz"zz""#]),
        // A backslash is a character like others.
        (r#""\x22a\b\\" \" "\""#, [r"\x22a\b\\", r#"\""#, r"\"]),
        ("\u{feff}x y é", ["\u{feff}x", "y", "é"]),
        ("\u{feff}\"x\" y z", ["\u{feff}\"x\"", "y", "z"]),
    ];
    for (message, expected) in cases {
        assert_eq!(fields(&schema, message), Ok(expected.map(str::to_owned).to_vec()), "{message:?}");
    }
    let unquoted = of_three("");
    let quotes = [r#""x"#, r#"y""#, r#""""#].map(str::to_owned).to_vec();
    assert_eq!(fields(&unquoted, r#""x y" """#), Ok(quotes), "without quotes these are characters like others");
}

#[test]
fn an_escape_stands_before_a_quote_or_itself() {
    let schema = of_three(ESCAPE);
    let cases = [
        (r#""\"x\"" y "z\\""#, [r#""x""#, "y", r"z\"]),
        (r#""a\b\x22" \"y "\\\"""#, [r"a\b\x22", r#"\"y"#, r#"\""#]),
        (r#""x""y" "\é" z\"#, [r#"x"y"#, r"\é", r"z\"]),
    ];
    for (message, expected) in cases {
        assert_eq!(fields(&schema, message), Ok(expected.map(str::to_owned).to_vec()), "{message:?}");
    }
    assert_eq!(
        fields(&schema, r#"x y "z\""#),
        Err("the quote that field 3 begins with is not closed".to_owned()),
        "it is a part of the field"
    );
}

#[test]
fn what_is_not_one_line_of_so_many_fields_is_a_mismatch() {
    let (schema, more) = (of_three(QUOTE), of_three(&format!(r#"{QUOTE},"more":true"#)));
    let count = |found| Err(format!("the message has {found} fields, of 3"));
    for (message, found) in [("", 1), ("\n", 1), ("x y", 2), ("x y z ", 4), ("x y z 4 5 6 7", 7)] {
        assert_eq!(fields(&schema, message), count(found), "{message:?}");
    }
    assert_eq!(fields(&more, "x y"), count(2));
    assert_eq!(fields(&more, "x y z 4 \"5 \" 6").map(|fields| fields.len()), Ok(3));
    let lines = Err("the message has more than one line".to_owned());
    for message in ["x y z\nx y z", "\nx y z", "x\ry z", "x y \"z\"\nx"] {
        assert_eq!(fields(&schema, message), lines, "{message:?}");
        assert_eq!(fields(&more, message), lines, "{message:?}");
    }
    assert_eq!(fields(&more, "x y z more\nx"), lines, "none of it is looked over");
    let unclosed = |field| Err(format!("the quote that field {field} begins with is not closed"));
    for (message, field) in [("\"x y z", 1), ("x \"", 2), ("x y \"\"\"", 3), ("x y \"z\n", 3)] {
        assert_eq!(fields(&schema, message), unclosed(field), "{message:?}");
    }
    assert_eq!(fields(&more, "x y z \"more"), unclosed(4));
}

/// That a message is of another format says more than that one of its values is wrong.
#[test]
fn values_are_judged_when_the_fields_are_right() {
    let schema = schema(r#"{"delimited":{"delimiter":",","fields":["a","b"]}}"#, r#"{"name":"a","type":"int"}"#);
    assert_eq!(row(&schema, "x"), Err("the message has 1 fields, of 2".to_owned()));
    assert_eq!(row(&schema, "x,y"), Err(r#"a: "x" is no int"#.to_owned()));
}

/// Nothing is copied that stands in the message as it is.
#[test]
fn texts_are_parts_of_the_message() {
    let schema = of_three(QUOTE);
    let message = r#"x "y z" "say ""hi""""#;
    let mut cells = Vec::new();
    schema.rows.as_ref().unwrap().extract(&mut Scratch::default(), message, &mut cells).unwrap();
    let mut cells = Cells::new(&cells);
    assert_eq!(cells.read(), Cell::Message(Span { at: 0, len: 1 }));
    assert_eq!(cells.read(), Cell::Message(Span { at: 3, len: 3 }));
    assert!(matches!(cells.read(), Cell::Own(Span { len: 8, .. })));
}

proptest! {
    /// What a writer quotes comes out as it went in.
    #[test]
    fn quoted_fields_come_out_as_they_were(
        texts in prop::collection::vec("[ab \"\\\\\n\ré,]{0,6}", 3),
        escaped in any::<bool>(),
    ) {
        let quoted = texts.iter().map(|text| match escaped {
            true => format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#)),
            false => format!("\"{}\"", text.replace('"', "\"\"")),
        });
        let message = quoted.collect::<Vec<_>>().join(" ");
        prop_assert_eq!(fields(&of_three(if escaped { ESCAPE } else { QUOTE }), &message), Ok(texts));
    }
}
