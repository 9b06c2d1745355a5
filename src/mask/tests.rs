mod values;

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

fn masker(fields: &[&str], patterns: &[&str], regexes: &[&str], replacement: Replacement) -> Masker {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let config = MaskConfig { fields: owned(fields), patterns: owned(patterns), regexes: owned(regexes), replacement };
    Masker::new(&config).unwrap()
}

fn masked(masker: &Masker, text: &str) -> String {
    let mut out = Vec::new();
    if masker.mask(&mut Scratch::default(), text.as_bytes(), &mut out) {
        String::from_utf8(out).unwrap()
    } else {
        assert_eq!(out, b"");
        text.to_owned()
    }
}

/// For each pattern: texts with what is masked in square brackets, and texts in which nothing is.
const SAMPLES: [(&str, &[&str], &[&str]); 12] = [
    (
        "aws_access_key",
        &["key [AKIAIOSFODNN7EXAMPLE].", "[ASIAIOSFODNN7EXAMPLE]/20240322", "\"[AKIAIOSFODNN7EXAMPLE]\""],
        &["XAKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLEX", "akiaiosfodnn7example", "AKIAIOSFODNN"],
    ),
    (
        "aws_secret_key",
        &[
            "aws_secret_access_key = [wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY]",
            r#"{"SecretAccessKey":"[wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY]"}"#,
            "aws-secret-access-key: [wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY]",
            r#"{"AwsSecretKey":"[wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY]"}"#,
            r#"{"AwsSecretKey":"[wJalrXUtnFEMI\/K7MDENG\/bPxRfiCYEXAMPLEKEY]"}"#,
            r#"{"m":"{\u0022AwsSecretKey\u0022:\u0022[wJalrXUtnFEMI\u002BK7MDENG/bPxRfiCYEXAMPLEKEY]\u0022}"}"#,
        ],
        &["wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = wJalrXUtnFEMI"],
    ),
    (
        "basic_auth",
        &[
            "Authorization: Basic [YWxhZGRpbjpvcGVuc2VzYW1l]",
            r#""authorization":"Basic [QWxhZGRpbjpvcGVuIHNlc2FtZQ==]""#,
            r#"\"authorization\":\"Basic [QWxhZGRp\/bjpvcGVu\u002B]\""#,
        ],
        &["Basic understanding", "authorization: none"],
    ),
    (
        "bearer_token",
        &["Authorization: Bearer [abc.def-123]", "bearer [mF_9.B5f-4.1JqM]", r#"{"a":"Bearer [ab\/cd+\/ef==]"}"#],
        &["bearer of news", "Bearer x"],
    ),
    (
        "credit_card",
        &[
            "card [4111111111111111]",
            "[4111 1111 1111 1111],",
            "[5500-0000-0000-0004].",
            "[378282246310005]",
            "[6011111111111117]\n",
        ],
        &[
            "4111111111111112",
            "1711083600123",
            "41111111111111111111",
            "a4111111111111111",
            "0.4111111111111111",
            "4111111111111111.5",
            "order 5000000000000000",
            "9999999999999995",
        ],
    ),
    (
        "email",
        &["to [jane.doe+x@example.co.uk], cc", "<[a@b.io]>", r#"{"m":"[a_b%c@d-e.museum]"}"#, "[a@b.io]."],
        &["a@b", "@example.com", "user@localhost", "git@", "1 @ 2.com"],
    ),
    (
        "github_token",
        &["[ghp_16C7e42F292c6912E7710c838347Ae178B4a] x"],
        &["ghp_16C7e42F292c", "xghp_16C7e42F292c6912E7710c838347Ae178B4a"],
    ),
    ("ipv4", &["from [10.0.0.1]:80", "[255.255.255.255]."], &["256.1.1.1", "1.2.3", "1.2.3.4.5", "v1.2.3.4"]),
    (
        "jwt",
        &["t=[eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk];"],
        &["eyJhbGciOiJIUzI1NiJ9", "eyJ.eyJ.x"],
    ),
    (
        "private_key",
        &[
            "-----BEGIN RSA PRIVATE KEY-----[\nMIIEpAIBAAKC\nAQEA\n]-----END RSA PRIVATE KEY-----",
            r#"{"k":"-----BEGIN PRIVATE KEY-----[\nMIIE\n]-----END PRIVATE KEY-----\n"}"#,
            r#"{"k":"-----BEGIN PRIVATE KEY-----[\nMIIE]"}"#,
            "-----BEGIN RSA PRIVATE KEY-----[\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0A\n\nMII]",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----[\nVersion: GnuPG v2.0.22 (GNU/Linux)\n\nlQ=\n]-----END PGP PRIVATE",
        ],
        &["-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----"],
    ),
    ("slack_token", &["[xoxb-123456789012-abcDEF]"], &["xoxb-1", "xoxz-123456789012"]),
    (
        "url_password",
        &[
            "postgres://app:[s3cr:et]@db:5432/x",
            "https://:[pw]@host/",
            "redis://u:[it's-p@ss]@host/",
            r#"{"u":"ftp:\/\/u:[a\u0026b]@host\/"}"#,
        ],
        &["https://host:8080/a@b", "http://user@host/", "https://example.com/a:b@c"],
    ),
];

#[test]
fn each_pattern_masks_what_it_is_named_for_and_little_else() {
    for (name, secret, innocent) in SAMPLES {
        let masker = masker(&[], &[name], &[], Replacement::Text("#".to_owned()));
        for sample in secret {
            let (before, rest) = sample.split_once('[').unwrap();
            let (inside, behind) = rest.rsplit_once(']').unwrap();
            assert_eq!(masked(&masker, &format!("{before}{inside}{behind}")), format!("{before}#{behind}"), "{name}");
        }
        for text in innocent {
            assert_eq!(masked(&masker, text), *text, "{name}");
        }
    }
    let masker = masker(&[], &["us_ssn"], &[], Replacement::default());
    assert_eq!(
        masked(&masker, "ssn 536-22-1234, 000-12-3456, 666-12-3456, 123-00-4567"),
        "ssn ****, 000-12-3456, 666-12-3456, 123-00-4567"
    );
    let sampled: Vec<_> = SAMPLES.iter().map(|(name, ..)| *name).chain(["us_ssn"]).collect();
    assert_eq!(sampled, NAMES, "each pattern has samples");
}

#[test]
fn what_follows_a_card_does_not_hide_it() {
    let masker = masker(&[], &["credit_card"], &[], Replacement::Text("#".to_owned()));
    for (text, expected) in [
        ("paid with 4111111111111111 2 times", "paid with # 2 times"),
        ("card 4111 1111 1111 1111 12/27", "card # 12/27"),
        ("5500005555555559 4111111111111111", "# #"),
        ("41 4111111111111111", "41 #"),
        ("4111-1111-1111-1111-22", "#-22"),
        ("order 4111111111111111222 of 411111111111111122", "order 4111111111111111222 of 411111111111111122"),
    ] {
        assert_eq!(masked(&masker, text), expected);
    }
}

#[test]
fn a_number_that_is_a_member_becomes_a_string() {
    let masker = masker(&[], &["credit_card"], &[], Replacement::Text("#".to_owned()));
    for (text, expected) in [
        (r#"{"c":4111111111111111}"#, r##"{"c":"#"}"##),
        (r#"{"c": 4111111111111111 ,"d":1}"#, r##"{"c": "#" ,"d":1}"##),
        (r#"{"m":"{\"c\":4111111111111111}"}"#, r##"{"m":"{\"c\":\"#\"}"}"##),
        (r#"{"m":"card: 4111111111111111"}"#, r##"{"m":"card: #"}"##),
        (r#"{"c":"4111111111111111"}"#, r##"{"c":"#"}"##),
        (r#"{"c":[1,4111111111111111, 4111111111111111 ]}"#, r##"{"c":[1,"#", "#" ]}"##),
        ("[4111111111111111]", r##"["#"]"##),
        (r#"{"c":-4111111111111111}"#, r##"{"c":"#"}"##),
        ("ids [4111111111111111]", "ids [#]"),
        (r#"{"m":"ids [4111111111111111]"}"#, r##"{"m":"ids [#]"}"##),
    ] {
        assert_eq!(masked(&masker, text), expected);
    }
}

/// One message may not hold up a worker: of these each beginning of a match once had all of the rest read again.
#[test]
fn no_text_takes_time_by_its_square() {
    let all = masker(&["password"], &NAMES, &[], Replacement::default());
    for part in [
        "1.1.1.1.",
        "10.0.0.1%2C",
        "1.3.6.1.4.1.9999.",
        "123-45-",
        "1 ",
        "a@",
        "x://",
        "github_pat_",
        "eyJa.",
        "a.b-",
        "4111 1111 1111 1112 ",
        "1.2.3.4-",
        "4111111111111111-",
        "AKIAIOSFODNN7EXAMPLE+",
        "eyJ-AKIAIOSFODNN7EXAMPLE-",
        ".eyJabcdef-AKIAIOSFODNN7EXAMPLE-",
        "bearer password=",
        "password=\" ",
        "password={",
        "password='",
        "password=\\\\x",
        "'password':[",
        "\"password\":'\\",
        "10.0.0.1 ",
        "password=)",
        "'",
    ] {
        let text = part.repeat((1 << 18) / part.len());
        let began = std::time::Instant::now();
        masked(&all, &text);
        // Without optimization, beside other tests; by its square it would be minutes.
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "{part}: {:?}", began.elapsed());
    }
}

/// In JSON the last byte of an escape is a letter or a digit, which is no part of the word behind it.
#[test]
fn an_escape_before_a_secret_hides_nothing() {
    let fields = masker(&["password"], &[], &[], Replacement::Text("#".to_owned()));
    for escape in [r"\n", r"\t", r"\r", r"\u0026", r"\\n", r"\\\\n", r"\\u0026", "\n", " ", "&"] {
        let text = format!(r#"{{"m":"a{escape}password=hunter2 b"}}"#);
        assert_eq!(masked(&fields, &text), text.replace("hunter2", "#"));
        for (name, secrets, _) in SAMPLES {
            let masker = masker(&[], &[name], &[], Replacement::Text("#".to_owned()));
            for sample in secrets.iter() {
                let (before, rest) = sample.split_once('[').unwrap();
                let (inside, behind) = rest.rsplit_once(']').unwrap();
                let text = format!("x{escape}{before}{inside}{behind}");
                assert!(!masked(&masker, &text).contains(inside), "{name}: {text}");
            }
        }
    }
}

#[test]
fn one_secret_does_not_hide_another() {
    let names = ["credit_card", "email", "aws_access_key", "url_password"];
    let masker = masker(&[], &names, &[], Replacement::Text("#".to_owned()));
    assert_eq!(masked(&masker, "s3n://AKIAIOSFODNN7EXAMPLE:wJalr@bucket/x"), "s3n://#:#@bucket/x");
    assert_eq!(masked(&masker, "to 5551234567890@sms.example.com"), "to #");
    assert_eq!(masked(&masker, "https://user:hunter2@example.com/"), "https://user:#@example.com/");
    assert_eq!(masked(&masker, "AKIAIOSFODNN7EXAMPLE.x@example.com"), "##");
}

#[test]
fn a_secret_that_begins_in_another_is_found_too() {
    let masker = self::masker(
        &["password", "access_token"],
        &["bearer_token", "email"],
        &["id=.*?(?P<secret>[0-9]{6})"],
        Replacement::Text("#".to_owned()),
    );
    for (text, expected) in [
        ("using bearer password=hunter2", "using bearer password=#"),
        ("bearer access_token=abc", "bearer access_token=#"),
        ("x@host.password=hunter2 y", "#password=# y"),
        (r#"id=7 password="abc 123456 def" 2"#, r##"id=7 password="#" 2"##),
        ("bearer abcdefgh1 password=x", "bearer # password=#"),
    ] {
        assert_eq!(masked(&masker, text), expected);
    }
}

#[test]
fn a_part_of_a_number_takes_the_whole() {
    let masker = masker(&[], &[], &["[0-9]{6}"], Replacement::Text("#".to_owned()));
    assert_eq!(masked(&masker, r#"{"n":-12345678.5e3,"t":"x 12345678"}"#), r##"{"n":"#","t":"x #78"}"##);
}

#[test]
fn many_backslashes_take_no_longer_than_other_text() {
    let masker = masker(&["password"], &["credit_card"], &[], Replacement::default());
    // A minute and more if each were a beginning.
    let text = format!(r#"{}"password":null {}"#, "\\".repeat(300_000), "1".repeat(300_000));
    assert_eq!(masked(&masker, &text), text);
}

#[test]
fn expressions_of_ones_own_match_whole_characters() {
    let masker = masker(&[], &[], &[r"\w+@corp\.example"], Replacement::Text("#".to_owned()));
    assert_eq!(masked(&masker, r"ACME\élodie@corp.example"), r"ACME\#");
    let config = MaskConfig { regexes: vec!["TAN (?P<secret>(?-u:.))".to_owned()], ..MaskConfig::default() };
    let error = Masker::new(&config).unwrap_err().to_string();
    assert!(error.contains("pattern can match invalid UTF-8"), "{error}");
}

#[test]
fn escapes_are_not_cut() {
    let masker = masker(&[], &["email"], &["[0-9]{4,}x", r"id-\w+\\"], Replacement::default());
    assert_eq!(masked(&masker, r#"{"m":"a\nfoo@bar.com"}"#), r#"{"m":"a\n****"}"#);
    assert_eq!(masked(&masker, r#"{"m":"\u0041bc@bar.com"}"#), r#"{"m":"\u0041****"}"#);
    assert_eq!(masked(&masker, r#"{"m":"\\foo@bar.com"}"#), r#"{"m":"\\****"}"#);
    assert_eq!(masked(&masker, r#"{"m":"\u00410000x"}"#), r#"{"m":"\u0041****"}"#);
    // At any depth.
    assert_eq!(masked(&masker, r#"{"m":"{\"k\":\"a\\nfoo@bar.com\\n\"}"}"#), r#"{"m":"{\"k\":\"a\\n****\\n\"}"}"#);
    assert_eq!(masked(&masker, r#"{"m":"{\"k\":\"\\u0041bc@bar.com\"}"}"#), r#"{"m":"{\"k\":\"\\u0041****\"}"}"#);
    assert_eq!(masked(&masker, r#"{"m":"{\"k\":\"id-a\\\\\\n\"}"}"#), r#"{"m":"{\"k\":\"****\\\\\\n\"}"}"#);
    assert_eq!(masked(&masker, r#"{"m":"id-a\n"}"#), r#"{"m":"****\n"}"#);
}

#[test]
fn own_expressions_mask_all_or_their_group() {
    let masker = masker(&[], &[], &[r"card no (?P<secret>\d+)", r"(?i)tan:\s*\d{6}"], Replacement::default());
    assert_eq!(masked(&masker, "Card no 12, card no 12. TAN: 123456!"), "Card no 12, card no ****. ****!");
}

#[test]
fn equal_values_have_equal_hashes_under_one_key() {
    let hash = |key: &str| masker(&["password"], &["email"], &[], Replacement::Hash { key: key.into() });
    // HMAC-SHA256 of "hunter2" under "key", as openssl says.
    let expected = "hmac:05d210d8af05129cb4bc04565faa72f9";
    let text = masked(&hash("key"), r#"password=hunter2 {"password":"hunter2"}"#);
    let hashes: Vec<_> = text.match_indices("hmac:").map(|(at, _)| &text[at..at + 37]).collect();
    assert_eq!(hashes, [expected, expected], "{text}");
    assert_ne!(masked(&hash("other"), "password=hunter2"), masked(&hash("key"), "password=hunter2"));
    // However it is escaped.
    let nested = serde_json::json!({ "b": r#"{"password":"a\"b"}"# }).to_string();
    let plain = masked(&hash("key"), r#"{"password":"a\"b"}"#);
    let nested = masked(&hash("key"), &nested);
    let hash_in = |text: &str| text.find("hmac:").map(|at| text[at..at + 37].to_owned());
    assert_eq!((hash_in(&plain), plain.contains(r#"\""#)), (hash_in(&nested), false), "{plain} {nested}");
    assert!(!format!("{:?}", hash("key")).contains("key:"), "never shown");
}

#[test]
fn what_is_wrong_is_said() {
    let wrong = |fields: &[&str], patterns: &[&str], regexes: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let (fields, patterns, regexes) = (owned(fields), owned(patterns), owned(regexes));
        let config = MaskConfig { fields, patterns, regexes, ..MaskConfig::default() };
        Masker::new(&config).unwrap_err().to_string()
    };
    assert_eq!(
        wrong(&["a\"b"], &[], &[]),
        r#""a\"b" can't be a field's name: give printable ASCII without quotes and backslashes"#
    );
    assert!(wrong(&[], &["mail"], &[]).starts_with(r#"there is no pattern "mail"; there are aws_access_key, "#));
    assert_eq!(wrong(&[], &[], &["a("]), r#""a(" is no regular expression: error: unclosed group"#);
    assert_eq!(wrong(&[], &[], &["a*"]), r#""a*" matches the empty text, and so would mask between all characters"#);
}

proptest! {
    /// Whatever is in them, and however deep.
    #[test]
    fn json_stays_json_and_text_stays_text(
        secret in "[a-z@.\\\\\"\n é4]{0,20}",
        key in prop_oneof!["password", "[a-z]{1,3}"],
        around in "([a-z\"'{}\\[(:,\\\\= é\n]|password=|\"password\":|'password': |4111111111111111){0,12}",
        depth in 0..3,
    ) {
        static MASKER: LazyLock<Masker> = LazyLock::new(|| {
            masker(&["password"], &["email", "credit_card", "url_password"], &[], Replacement::default())
        });
        let mut json = serde_json::json!({ "a": around, key: secret, "z": [around, { "password": 1 }] }).to_string();
        for _ in 0..depth {
            json = serde_json::json!({ "m": json }).to_string();
        }
        let once = masked(&MASKER, &json);
        prop_assert!(serde_json::from_str::<serde_json::Value>(&once).is_ok(), "{json} became {once}");
    }

    /// Where it is named, in whatever it stands.
    #[test]
    fn secrets_are_gone(
        secret in "[A-Z0-9]{12}",
        around in "([a-z\"'{}\\[(:,\\\\= é\n]|password=|\"password\":|'password': |4111111111111111){0,12}",
        depth in 0..3,
    ) {
        static MASKER: LazyLock<Masker> = LazyLock::new(|| {
            masker(&["password"], &["email", "credit_card", "bearer_token"], &[], Replacement::default())
        });
        for text in [
            format!("{around} password={secret} {around}"),
            format!(r#"{around} "password": "{secret}" {around}"#),
            format!("{around} bearer {secret} {around}"),
        ] {
            let mut text = text;
            for _ in 0..depth {
                text = serde_json::json!({ "m": text, "z": around }).to_string();
            }
            let masked = masked(&MASKER, &text);
            prop_assert!(!masked.contains(&secret), "{text} became {masked}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop_oneof![Just(b'\\'), Just(b'"'), Just(b'{'), any::<u8>()], 0..60)) {
        static MASKER: LazyLock<Masker> = LazyLock::new(|| masker(&["p"], &NAMES, &[], Replacement::Hash { key: vec![1] }));
        let text = [b"\"p\":", &bytes[..], b"\\\"p\\\":", &bytes[..], b"p=", &bytes[..]].concat();
        MASKER.mask(&mut Scratch::default(), &text, &mut Vec::new());
    }
}
