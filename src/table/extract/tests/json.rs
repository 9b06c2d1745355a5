//! Members of objects, and what there is in their place.

use super::*;

fn of(columns: &[(&str, &str, &str)], parse: &str) -> Schema {
    let columns =
        columns.iter().map(|(name, kind, from)| format!(r#"{{"name":"{name}","type":"{kind}","from":"{from}"}}"#));
    schema(parse, &columns.collect::<Vec<_>>().join(","))
}

#[test]
fn what_should_have_members_and_has_none_is_a_mismatch() {
    let columns = [("a", "string", "/p/q"), ("b", "int", "/p/r/s"), ("p", "string", "other")];
    let schema = of(&columns, r#"{"json":{}}"#);
    for message in ["{}", r#"{"p":null}"#, r#"{"p":{}}"#, r#"{"p":{"r":null}}"#, r#"{"p":{"q":null,"r":{}}}"#] {
        assert_eq!(row(&schema, message), Ok(Vec::new()), "{message}");
    }
    assert_eq!(row(&schema, r#"{"p":{"q":"x","r":{"s":1}}}"#), Ok(pairs(&[("a", "x"), ("b", "1")])));
    for (message, why) in [
        (r#"{"p":[1]}"#, r#"p: "[1]" is no object"#),
        (r#"{"p":"{}"}"#, r#"p: "\"{}\"" is no object"#),
        (r#"{"p":false}"#, r#"p: "false" is no object"#),
        (r#"{"p":{"q":"x","r":0}}"#, r#"p/r: "0" is no object"#),
    ] {
        assert_eq!(row(&schema, message), Err(why.to_owned()), "{message}");
    }
    let whole = of(&[("p", "string", "p"), ("q", "string", "/p/q")], r#"{"json":{}}"#);
    assert_eq!(row(&whole, r#"{"p":{"q":1}}"#), Ok(pairs(&[("p", r#"{"q":1}"#), ("q", "1")])));
    assert_eq!(row(&whole, r#"{"p":[]}"#), Err(r#"p: "[]" is no object"#.to_owned()));
}

#[test]
fn of_members_of_one_name_the_last_counts_with_all_that_is_in_it() {
    let schema = of(&[("a", "int", "/p/q"), ("b", "string", "/p/r/s"), ("n", "int", "n")], r#"{"json":{}}"#);
    let cases: [(&str, &[(&str, &str)]); 7] = [
        (r#"{"p":{"q":1},"p":{}}"#, &[]),
        (r#"{"p":{"q":1,"r":{"s":"x"}},"p":{"q":2}}"#, &[("a", "2")]),
        (r#"{"p":{"r":{"s":"x"},"r":{}}}"#, &[]),
        (r#"{"p":{"q":1},"p":null}"#, &[]),
        (r#"{"p":[1],"p":{"q":1}}"#, &[("a", "1")]),
        (r#"{"p":{"q":"no number"},"p":{"q":1}}"#, &[("a", "1")]),
        (r#"{"n":"no number","n":1}"#, &[("n", "1")]),
    ];
    for (message, expected) in cases {
        assert_eq!(row(&schema, message), Ok(pairs(expected)), "{message}");
    }
    assert_eq!(row(&schema, r#"{"p":{"q":1},"p":[]}"#), Err(r#"p: "[]" is no object"#.to_owned()));
}

#[test]
fn pointers_are_those_of_rfc_6901() {
    let schema = of(&[("a", "string", "/a//b"), ("b", "string", "/"), ("c", "string", "/~01/~1~0")], r#"{"json":{}}"#);
    let message = r#"{"a":{"":{"b":"1"}},"":"2","~1":{"/~":"3"}}"#;
    assert_eq!(row(&schema, message), Ok(pairs(&[("a", "1"), ("b", "2"), ("c", "3")])));
    for bad in ["/a~2", "/~", "/a/b~"] {
        assert!(Place::parse(bad).unwrap_err().contains("is no JSON pointer: write ~ as ~0"), "{bad}");
    }
    assert!(Place::parse("").unwrap_err().contains("give \"/\""));
    assert_eq!(Place::parse("a~2"), Place::parse("/a~02"), "a name is no pointer");
}

#[test]
fn the_rest_has_what_no_column_takes_whole() {
    let columns = [("a", "string", "/p/q"), ("b", "string", "b"), ("rest", "string", "rest")];
    let schema = of(&columns, r#"{"json":{"rest":"rest"}}"#);
    let message = r#"{"b":1, "p":{"q":"x","r":2},"\u0063" : [ 3 ],"rest":4,"p":null}"#;
    let rest = r#"{"p":{"q":"x","r":2},"\u0063":[ 3 ],"rest":4,"p":null}"#;
    assert_eq!(row(&schema, message), Ok(pairs(&[("b", "1"), ("rest", rest)])));
    assert_eq!(row(&schema, r#"{"b":1}"#), Ok(pairs(&[("b", "1")])));
    assert_eq!(row(&schema, r#"{"x":1"#), Err("the message is not a JSON object".to_owned()));
}

/// However many members there are, memory goes by the columns, and by what comes out; what is not needed is given back.
#[test]
fn huge_objects_leave_no_memory_behind() {
    let schema = of(&[("a", "string", "/p/q"), ("m", "map<string,string>", "m")], r#"{"json":{}}"#);
    let (extractor, mut scratch) = (schema.rows.as_ref().unwrap(), Scratch::default());
    let many = r#""k":0,"#.repeat(1 << 18);
    let message = format!(r#"{{{many}"p":{{{many}"q":"x"}},"m":{{{many}"k":1}}}}"#);
    let mut bytes = Vec::new();
    extractor.extract(&mut scratch, &message, &mut bytes).unwrap();
    let mut cells = Cells::new(&bytes);
    assert!(matches!(cells.read(), Cell::Message(Span { len: 1, .. })));
    let Cell::Items(items) = cells.read() else { panic!("a map") };
    assert_eq!(items.collect::<Vec<_>>(), [Some(&b"k"[..]), Some(b"1")]);
    let long = format!(r#"{{"p":{{"q":"\n{}"}}}}"#, "x".repeat(4 << 20));
    extractor.extract(&mut scratch, &long, &mut bytes).unwrap();
    assert!(scratch.arena.capacity() <= KEPT && scratch.found.capacity() <= 16 && scratch.slots.capacity() <= 16);
}
