//! Where the values of names begin and end: of members of JSON, and of pairs.

use super::*;

fn by_fields() -> Masker {
    masker(&["password", "Authorization", "x-api-key"], &[], &[], Replacement::default())
}

#[test]
fn members_of_json_are_masked_at_any_depth_and_it_stays_json() {
    let cases = [
        (r#"{"password":"hunter2","user":"u"}"#, r#"{"password":"****","user":"u"}"#),
        (r#"{ "PassWord" : "a\"b\\" }"#, r#"{ "PassWord" : "****" }"#),
        (r#"{"a":[{"b":{"password":"x"}}]}"#, r#"{"a":[{"b":{"password":"****"}}]}"#),
        (r#"{"password":123,"b":-1.5e3}"#, r#"{"password":"****","b":-1.5e3}"#),
        (r#"{"password":true}"#, r#"{"password":"****"}"#),
        (r#"{"password":null,"x-api-key":""}"#, r#"{"password":null,"x-api-key":"****"}"#),
        (r#"{"password":{"old":"}a","new":["]","b"]},"c":1}"#, r#"{"password":"****","c":1}"#),
        (r#"{"password":[1,2],"c":1}"#, r#"{"password":"****","c":1}"#),
        (
            r#"{"passwords":"x","my_password":"y","password2":"z"}"#,
            r#"{"passwords":"x","my_password":"y","password2":"z"}"#,
        ),
        (r#"{"note":"password","v":"password"}"#, r#"{"note":"password","v":"password"}"#),
        (
            r#"{"a":"b"} {"password":"ä€"} {"authorization":"Bearer abc"}"#,
            r#"{"a":"b"} {"password":"****"} {"authorization":"****"}"#,
        ),
        (r"{'password': 'it\'s', 'b': 1}", r"{'password': '****', 'b': 1}"),
        (r"{'password': 12}", r"{'password': '****'}"),
        (r#"cut off {"password":"hun"#, r#"cut off {"password":"****"#),
        (r#"cut off {"password":{"a":"#, r#"cut off {"password":"****""#),
    ];
    let masker = by_fields();
    for (text, expected) in cases {
        assert_eq!(masked(&masker, text), expected);
    }
}

#[test]
fn members_are_found_however_a_writer_writes_them() {
    let cases = [
        // .NET's quotes, once and twice.
        (
            r#"{"m":"{\u0022password\u0022:\u0022a\\\u0022b\u0022,\u0022c\u0022:1}"}"#,
            r#"{"m":"{\u0022password\u0022:\u0022****\u0022,\u0022c\u0022:1}"}"#,
        ),
        (r#"{"m":"{\\u0022password\\u0022:12}"}"#, r#"{"m":"{\\u0022password\\u0022:\\u0022****\\u0022}"}"#),
        (r#"{"m":"{\u0027password\u0027: \u0027a b\u0027}"}"#, r#"{"m":"{\u0027password\u0027: \u0027****\u0027}"}"#),
        // Printed with line ends, and by a browser.
        (r#"{"m":"{\n\"password\"\n:\n\"x y\"}"}"#, r#"{"m":"{\n\"password\"\n:\n\"****\"}"}"#),
        ("{\"password\":\u{a0}\"x y\"}", "{\"password\":\u{a0}\"****\"}"),
        // Of another depth than the name, as shells leave it.
        (r#"curl -d {"password":\"x y\",\"b\":1}"#, r#"curl -d {"password":\"****\",\"b\":1}"#),
        // Python's and its bytes; what is a word of a language is no value.
        ("{u'password': u'x y', b'b': 1}", "{u'password': u'****', b'b': 1}"),
        ("{'password': b'it\\'s', 'b': 1}", "{'password': b'****', 'b': 1}"),
        ("{'password': {'a': '}x', 'b': (1, 'y)')}, 'c': 1}", "{'password': '****', 'c': 1}"),
        ("{'password': ('x', 'y'), 'c': None}", "{'password': '****', 'c': None}"),
        ("{'password': None}", "{'password': None}"),
        (r#"{"m":"{'password': 'it\\'s', 'b': 1}"}"#, r#"{"m":"{'password': '****', 'b': 1}"}"#),
        (r#"{"password" : Binary("x y"), "b": 1}"#, r#"{"password" : "****", "b": 1}"#),
    ];
    let masker = by_fields();
    for (text, expected) in cases {
        assert_eq!(masked(&masker, text), expected);
    }
}

/// What is cut off in a string ends with the string.
#[test]
fn no_value_goes_on_behind_the_string_that_it_is_in() {
    let masker = by_fields();
    for (text, expected) in [
        (r#"{"m":"password='abc","z":"'"}"#, r#"{"m":"password='****","z":"'"}"#),
        (r#"{"m":"password=\"abc","z":"'"}"#, r#"{"m":"password=\"****","z":"'"}"#),
        (r#"{"m":"password=","z":"x"}"#, r#"{"m":"password=","z":"x"}"#),
        (r#"{"m":"password=\\","z":"x"}"#, r#"{"m":"password=****","z":"x"}"#),
        (r#"{"m":"{\"password\":\"x","z":"y"}"#, r#"{"m":"{\"password\":\"****","z":"y"}"#),
        (r#"{"m":"{\"password\":{\"a\":[1,","z":"y"}"#, r#"{"m":"{\"password\":\"****\"","z":"y"}"#),
        (r#"{"m":"{\"password\":","z":"y"}"#, r#"{"m":"{\"password\":","z":"y"}"#),
        (r#"{"m":"cookie=a=1; b","z":"y"}"#, r#"{"m":"cookie=a=1; b","z":"y"}"#),
        // By the length alone one would think the string had ended.
        (r#"{"m":"5\" disk, password=\"a b\" c"}"#, r#"{"m":"5\" disk, password=\"****\" c"}"#),
    ] {
        assert_eq!(masked(&masker, text), expected);
    }
}

#[test]
fn json_in_a_string_of_json_stays_json_at_every_depth() {
    let masker = by_fields();
    let mut text = r#"{"a":{"password":"x\"y\\","n":1},"Authorization":[1,"]"],"password":7}"#.to_owned();
    let mut expected = r#"{"a":{"password":"****","n":1},"Authorization":"****","password":"****"}"#.to_owned();
    for depth in 0..4 {
        assert_eq!(masked(&masker, &text), expected, "depth {depth}");
        text = serde_json::json!({ "body": text, "z": 1 }).to_string();
        expected = serde_json::json!({ "body": expected, "z": 1 }).to_string();
    }
}

#[test]
fn pairs_are_masked_to_the_end_of_their_value() {
    let cases = [
        ("user=bob password=hunter2 ok", "user=bob password=**** ok"),
        ("GET /login?password=a%20b&x=1", "GET /login?password=****&x=1"),
        ("Server=db;Password=s3cret;Port=1", "Server=db;Password=****;Port=1"),
        (r#"password="with space", b=1"#, r#"password="****", b=1"#),
        (r#"password='it\'s' b"#, r#"password='****' b"#),
        (r#"{"q":"password=\"a b\" c=1"}"#, r#"{"q":"password=\"****\" c=1"}"#),
        (r#"{"q":"password=abc"}"#, r#"{"q":"password=****"}"#),
        ("authorization=Bearer abc.def next", "authorization=**** next"),
        ("password = x", "password = ****"),
        ("password=", "password="),
        ("password= ", "password= "),
        ("db_password=x nopassword=y", "db_password=x nopassword=y"),
        ("password=a password=b", "password=**** password=****"),
        ("password=(x y", "password=**** y"),
        ("password={x|y}<z>", "password=****"),
        ("{user=bob, password=it's}", "{user=bob, password=****}"),
        (
            "connect('password=abc') (password=a(b)) [password={a, b}]",
            "connect('password=****') (password=****) [password=****]",
        ),
        (r"C:\ password=ab\cd x", r"C:\ password=**** x"),
        (r"password=ab\ncd\ x", r"password=**** x"),
        (r#"password=Tr0ub"4dor&3"#, "password=****&3"),
        (
            r#""password"="x" 'password'='y' user[password]=z&password[]=a"#,
            r#""password"="****" 'password'='****' user[password]=****&password[]=****"#,
        ),
        (r#"{"m":"password=Tr0ub\"4dor, \"b\""}"#, r#"{"m":"password=****, \"b\""}"#),
        (r#"{"m":"{\"password=x\":1}"}"#, r#"{"m":"{\"password=****\":1}"}"#),
        ("authorization=Custom abc", "authorization=****"),
        ("authorization=abc path=/x", "authorization=**** path=/x"),
        (r#"password={"a": "x y"#, "password=****"),
        // Nothing is behind the name.
        (r#""http://x/?password=" "Mozilla/5.0 (X11)""#, r#""http://x/?password=" "Mozilla/5.0 (X11)""#),
        (r#""http://x/?password=b" "Mozilla/5.0 (X11)""#, r#""http://x/?password=****" "Mozilla/5.0 (X11)""#),
        (r#""GET /login?user=x&password= HTTP/1.1" 200"#, r#""GET /login?user=x&password= HTTP/1.1" 200"#),
        (r#"msg="GET /?password=" status=200 user="bob""#, r#"msg="GET /?password=" status=200 user="bob""#),
        (r#"{"m":"password=u"}"#, r#"{"m":"password=****"}"#),
        (r#"{"b":"{\"q\":\"x&password=\",\"status\":200}"}"#, r#"{"b":"{\"q\":\"x&password=\",\"status\":200}"}"#),
        (r#"{"m":"password=ab\\cd x"}"#, r#"{"m":"password=**** x"}"#),
        ("password=u'a b' c", "password=u'****' c"),
        ("authorization=Bearer\tabc next", "authorization=**** next"),
        ("Authorization=ApiKey abc next", "Authorization=**** next"),
        ("authorization=Negotiate YIIZ== next", "authorization=**** next"),
        ("authorization=Digest username=\"x\", response=\"y\"\nnext", "authorization=****\nnext"),
        (
            r#"{"m":"authorization=AWS4-HMAC-SHA256 Credential=a/b, Signature=\"c\"","n":1}"#,
            r#"{"m":"authorization=****","n":1}"#,
        ),
        ("set-cookie=a=1; b=2; Path=/\r\nnext", "set-cookie=****\r\nnext"),
        (r#"{"m":"Cookie=a=1; b='2'\nnext"}"#, r#"{"m":"Cookie=****\nnext"}"#),
    ];
    let masker = masker(&["password", "authorization", "cookie", "set-cookie"], &[], &[], Replacement::default());
    for (text, expected) in cases {
        assert_eq!(masked(&masker, text), expected);
    }
}

#[test]
fn escapes_in_a_value_end_it_only_where_they_stand_for_its_end() {
    let masker = masker(&["token"], &[], &[], Replacement::Text("#".to_owned()));
    for (text, expected) in [
        (r#"{"m":"token=abc\/def ghi"}"#, r#"{"m":"token=# ghi"}"#),
        (r#"{"m":"token=h\u00e9llo, x"}"#, r#"{"m":"token=#, x"}"#),
        (r#"{"m":"token=abc\u0026user=x"}"#, r#"{"m":"token=#\u0026user=x"}"#),
        (r#"{"m":"token=abc\nuser=x"}"#, r#"{"m":"token=#\nuser=x"}"#),
        (r#"{"m":"{\"n\":\"token=abc\\u00e9\\/x\"}"}"#, r#"{"m":"{\"n\":\"token=#\"}"}"#),
    ] {
        assert_eq!(masked(&masker, text), expected);
    }
}

/// A string of more than the quotes that are counted.
#[test]
fn long_strings_of_nested_json_stay_whole() {
    let long = format!("{} password=q\"w", "x".repeat(5000));
    let inner = serde_json::json!({ "a": long, "b": 1 }).to_string();
    let text = masked(&by_fields(), &serde_json::json!({ "m": inner }).to_string());
    let outer: serde_json::Value = serde_json::from_str(&text).unwrap();
    let inner: serde_json::Value = serde_json::from_str(outer["m"].as_str().unwrap()).unwrap();
    assert!(
        inner["a"].as_str().unwrap().ends_with("x password=****") || inner["a"].as_str().unwrap().ends_with("****\"w")
    );
}
