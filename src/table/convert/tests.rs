//! Every type, and every way to write a time.

use super::*;

fn conversion(kind: Type, format: &str, offset: &str) -> Conversion {
    Conversion {
        kind,
        absent: vec!["-".to_owned()],
        time: TimeFormat::parse(format, kind).unwrap(),
        zone: zone(offset).unwrap(),
        separator: ',',
    }
}

fn value(kind: Type, text: &str) -> Result<Slot, BadValue> {
    conversion(kind, "iso8601", "UTC").text(text, Lies::InMessage(Span { at: 1, len: 2 }), &mut Vec::new())
}

#[test]
fn numbers_have_to_be_numbers_and_to_fit() {
    let (is_no, does_not_fit) = (BadValue::IsNo, BadValue::DoesNotFit);
    assert_eq!(value(Type::Bigint, "9223372036854775807"), Ok(Slot::Bigint(i64::MAX)));
    assert_eq!(value(Type::Bigint, "-9223372036854775808"), Ok(Slot::Bigint(i64::MIN)));
    assert_eq!(value(Type::Bigint, "9223372036854775808"), Err(does_not_fit(Type::Bigint)));
    assert_eq!(value(Type::Bigint, "+007"), Ok(Slot::Bigint(7)));
    for text in ["", "-", "1.0", "1e3", "0x10", " 1", "1_000", "١"] {
        assert_eq!(value(Type::Bigint, text), Err(is_no(Type::Bigint)), "{text:?}");
    }
    assert_eq!(value(Type::Int, "2147483647"), Ok(Slot::Int(i32::MAX)));
    assert_eq!(value(Type::Int, "2147483648"), Err(does_not_fit(Type::Int)));
    assert_eq!(value(Type::Double, "-1.5e-3"), Ok(Slot::Double(-0.0015)));
    assert_eq!(value(Type::Double, "1e999"), Err(does_not_fit(Type::Double)));
    for text in ["", "inf", "-Infinity", "NaN", "1,5", "0x1p3"] {
        assert_eq!(value(Type::Double, text), Err(is_no(Type::Double)), "{text:?}");
    }
    assert_eq!(value(Type::Boolean, "TRUE"), Ok(Slot::Boolean(true)));
    assert_eq!(value(Type::Boolean, "1"), Err(is_no(Type::Boolean)));
    assert_eq!(value(Type::StringMap, "a=b"), Err(is_no(Type::StringMap)));
}

#[test]
fn numbers_of_json_may_be_integers_in_disguise() {
    let number = |kind, digits| {
        conversion(kind, "iso8601", "UTC").number(digits, Lies::InMessage(Span::default()), &mut Vec::new())
    };
    assert_eq!(number(Type::Bigint, "1e3"), Ok(Slot::Bigint(1000)));
    assert_eq!(number(Type::Int, "-7.0"), Ok(Slot::Int(-7)));
    assert_eq!(number(Type::Int, "1e10"), Err(BadValue::DoesNotFit(Type::Int)));
    assert_eq!(number(Type::Bigint, "1.5"), Err(BadValue::IsNo(Type::Bigint)));
    assert_eq!(number(Type::Bigint, "1e300"), Err(BadValue::DoesNotFit(Type::Bigint)));
    assert_eq!(number(Type::Bigint, "1e999"), Err(BadValue::DoesNotFit(Type::Bigint)));
    assert_eq!(number(Type::Bigint, "9007199254740993.0"), Ok(Slot::Bigint(9_007_199_254_740_993)));
    assert_eq!(
        number(Type::Bigint, "4503599627370497.4"),
        Err(BadValue::IsNo(Type::Bigint)),
        "a double has no .4 there"
    );
    assert_eq!(number(Type::Bigint, "1e-400"), Err(BadValue::IsNo(Type::Bigint)), "it is not zero");
    assert_eq!(number(Type::Bigint, "1e19"), Err(BadValue::DoesNotFit(Type::Bigint)));
    assert_eq!(number(Type::Bigint, "1e999999999"), Err(BadValue::DoesNotFit(Type::Bigint)));
    assert_eq!(number(Type::Int, "1.5e1"), Ok(Slot::Int(15)));
    assert_eq!(number(Type::Int, "-0.0"), Ok(Slot::Int(0)));
    assert_eq!(number(Type::Timestamp, "1711083600"), Err(BadValue::IsNo(Type::Timestamp)));
    assert_eq!(number(Type::Boolean, "1"), Err(BadValue::IsNo(Type::Boolean)));
}

#[test]
fn times_come_in_many_forms_and_zones() {
    let time = |format: &str, zone: &str, text: &str| {
        let conversion = conversion(Type::Timestamp, format, zone);
        match conversion.text(text, Lies::InMessage(Span::default()), &mut Vec::new()) {
            Ok(Slot::Timestamp(millis)) => Some(millis),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        }
    };
    let five = 1_711_083_600_000;
    let cases = [
        ("iso8601", "UTC", "2024-03-22T05:00:00Z", five),
        ("iso8601", "UTC", "2024-03-22T06:00:00+01:00", five),
        ("iso8601", "UTC", "2024-03-22 05:00:00.1239", five + 123),
        ("iso8601", "+02:00", "2024-03-22T07:00:00", five),
        ("iso8601", "+02:00", "2024-03-22T05:00:00Z", five),
        ("iso8601", "-03:30", "2024-03-22 01:30:00", five),
        ("iso8601", "UTC", "1969-12-31T23:59:59.999Z", -1),
        ("epoch_seconds", "UTC", "1711083600", five),
        ("epoch_seconds", "UTC", "1711083600.1239", five + 123),
        ("epoch_seconds", "UTC", "-0.5", -500),
        ("epoch_millis", "UTC", "1711083600123", five + 123),
        ("epoch_millis", "UTC", "1711083600123.9", five + 123),
        ("%d/%b/%Y:%H:%M:%S %z", "UTC", "22/Mar/2024:05:00:00 +0000", five),
        ("%d/%b/%Y:%H:%M:%S %z", "UTC", "22/Mar/2024:00:00:00 -0500", five),
        ("%Y%m%d %H%M%S", "+01:00", "20240322 060000", five),
    ];
    for (format, zone, text, expected) in cases {
        assert_eq!(time(format, zone, text), Some(expected), "{format} {zone} {text}");
    }
    let bad = [
        ("iso8601", "2024-03-22"),
        ("iso8601", "2024-02-30T00:00:00Z"),
        ("iso8601", "22/Mar/2024:05:00:00 +0000"),
        ("iso8601", ""),
        ("epoch_seconds", "now"),
        ("epoch_seconds", "1."),
        ("epoch_seconds", "99999999999999999999"),
        ("epoch_seconds", "9223372036854775807"),
        ("%d/%b/%Y:%H:%M:%S %z", "22/Mar/2024:05:00:00"),
    ];
    for (format, text) in bad {
        assert_eq!(time(format, "UTC", text), None, "{format} {text}");
    }
    let date = |format, text| {
        conversion(Type::Date, format, "+02:00").text(text, Lies::InMessage(Span::default()), &mut Vec::new())
    };
    assert_eq!(date("iso8601", "1970-01-02"), Ok(Slot::Date(1)));
    assert_eq!(date("%d.%m.%Y", "31.12.1969"), Ok(Slot::Date(-1)));
    assert_eq!(date("epoch_seconds", "82800"), Ok(Slot::Date(1)), "the day of its zone");
    assert_eq!(date("iso8601", "1970-02-30"), Err(BadValue::IsNo(Type::Date)));
    for (kind, format, text) in [
        (Type::Timestamp, "epoch_millis", "9007199254740991"),
        (Type::Timestamp, "epoch_millis", "-62135596800001"),
        (Type::Date, "epoch_seconds", "253402300800"),
        (Type::Date, "epoch_millis", "8210266876799999"),
        (Type::Date, "iso8601", "0000-12-31"),
    ] {
        let value = conversion(kind, format, "UTC").text(text, Lies::InMessage(Span::default()), &mut Vec::new());
        assert_eq!(value, Err(BadValue::DoesNotFit(kind)), "{text}");
    }
    assert_eq!(time("iso8601", "UTC", "9999-12-31T23:59:59.999"), Some(*time::MILLIS.end()));
    assert_eq!(time("iso8601", "UTC", "0001-01-01T00:00:00"), Some(*time::MILLIS.start()));
    assert!(zone("+25:00").is_none() && zone("Europe/Berlin").is_none());
}

#[test]
fn lists_are_split() {
    let mut arena = b"before".to_vec();
    let list = conversion(Type::Strings, "iso8601", "UTC");
    let Ok(Slot::Items(span)) = list.text("a,,b", Lies::InMessage(Span::default()), &mut arena) else { panic!() };
    assert_eq!((span.at, span.len), (6, 4 + 1 + 4 + 4 + 1));
    let Ok(Slot::Items(span)) = list.text("", Lies::InMessage(Span::default()), &mut arena) else { panic!() };
    assert_eq!(span.len, 0);
    assert!(list.is_absent("-") && !list.is_absent(""));
}

#[test]
fn numbers_of_json_are_times_by_all_their_digits() {
    let number = |kind, format, digits| {
        conversion(kind, format, "UTC").number(digits, Lies::InMessage(Span::default()), &mut Vec::new())
    };
    for (format, digits, millis) in [
        ("epoch_seconds", "1.711083600123e9", 1_711_083_600_123),
        ("epoch_seconds", "1711083600123e-3", 1_711_083_600_123),
        ("epoch_seconds", "1711083600.0019", 1_711_083_600_001),
        ("epoch_millis", "1.7E12", 1_700_000_000_000),
        ("epoch_millis", "1711083600123.0", 1_711_083_600_123),
        ("epoch_millis", "-1.5e3", -1500),
    ] {
        assert_eq!(number(Type::Timestamp, format, digits), Ok(Slot::Timestamp(millis)), "{digits}");
    }
    assert_eq!(number(Type::Date, "epoch_seconds", "8.64e4"), Ok(Slot::Date(1)));
    for kind in [Type::Timestamp, Type::Date] {
        for digits in ["1e999999999", "99999999999999999999", "-1e18"] {
            assert_eq!(number(kind, "epoch_seconds", digits), Err(BadValue::DoesNotFit(kind)), "{digits}");
        }
    }
}

#[test]
fn offsets_are_read_in_all_their_forms() {
    let five = Ok(Slot::Timestamp(1_711_083_600_000));
    let time = |format: &str, zone: &str, text: &str| {
        conversion(Type::Timestamp, format, zone).text(text, Lies::InMessage(Span::default()), &mut Vec::new())
    };
    for (format, text) in [
        ("%Y-%m-%d %H:%M:%S%z", "2024-03-22 10:30:00+0530"),
        ("%Y-%m-%d %H:%M:%S %:z", "2024-03-22 10:30:00 +05:30"),
        ("%Y-%m-%d %H:%M:%S %::z", "2024-03-22 10:30:00 +05:30:00"),
        ("%Y-%m-%d %H:%M:%S%:::z", "2024-03-22 10:00:00+05"),
        ("%Y-%m-%d %H:%M:%S%:::z", "2024-03-22 10:30:00+05:30"),
        ("%Y-%m-%d %H:%M:%S%#z", "2024-03-22 10:00:00+05"),
        ("%Y-%m-%d %H:%M:%S%#z", "2024-03-22 05:00:00Z"),
        ("%+", "2024-03-22T10:30:00+05:30"),
        // Seconds since 1970 are the same in every zone.
        ("%s", "1711083600"),
        ("at %s s", "at 1711083600 s"),
    ] {
        assert_eq!(time(format, "+02:00", text), five, "{format} {text}");
    }
    assert_eq!(time("%Y-%m-%d %H:%M:%S %%#z", "+02:00", "2024-03-22 07:00:00 %#z"), five, "it is no offset");
    assert_eq!(time("%Y-%m-%d %H:%M:%S%.f", "+02:00", "2024-03-22 07:00:00"), five);
    let day = conversion(Type::Date, "%s", "+02:00");
    assert_eq!(day.text("82800", Lies::InMessage(Span::default()), &mut Vec::new()), Ok(Slot::Date(1)));
}

#[test]
fn patterns_that_read_no_time_or_another_are_refused() {
    for (pattern, why) in [
        ("rfc", "is no format of times"),
        ("%Q", "has a part that strftime does not know"),
        ("%Y-%m-%d %H:%M:%S %Z", "%Z, but the name of a zone can't be read: put there"),
        ("%Y-%m-%d %H:%M:%S.%f", "%f, which takes 123 for nanoseconds: write %.f"),
        ("%H:%M:%S", "has no whole date, and a timestamp(3) needs one"),
        ("%b %e %H:%M:%S", "has no whole date"),
        ("%Y-%m-%d", "has no whole time of day, and a timestamp(3) needs one"),
        ("%Y-%m-%d %I:%M", "has no whole time of day"),
        ("%-d%-m%Y %H:%M", "does not read what it writes: of 2024-01-02 03:04:05 that is \"212024 03:04\""),
        ("%s%3f", "does not read what it writes"),
    ] {
        let said = TimeFormat::parse(pattern, Type::Timestamp).unwrap_err();
        assert!(said.contains(why), "{said}, and not {why}");
    }
    for (pattern, why) in [
        ("%Y-%m", "has no whole date, and a date needs one"),
        ("%H:%M", "has no whole date"),
        ("%-d%-m%Y", "does not read what it writes"),
    ] {
        let said = TimeFormat::parse(pattern, Type::Date).unwrap_err();
        assert!(said.contains(why), "{said}, and not {why}");
    }
    for pattern in [
        "%d/%b/%Y:%H:%M:%S %z",
        "%c",
        "%+",
        "%s",
        "%D %R",
        "%D %r",
        "%Y-%jT%H:%M:%S%.3f",
        "%Y%m%d%H%M%S%3f",
        "%G-W%V-%u %T,%6f",
        "%A, %e %B %y %l:%M:%S %P",
        "%v %k:%M",
    ] {
        TimeFormat::parse(pattern, Type::Timestamp).unwrap_or_else(|why| panic!("{why}"));
        TimeFormat::parse(pattern, Type::Date).unwrap_or_else(|why| panic!("{why}"));
    }
    for pattern in ["%F", "%d.%m.%Y", "%x", "%Y%j", "%U/%w %Y"] {
        TimeFormat::parse(pattern, Type::Date).unwrap_or_else(|why| panic!("{why}"));
    }
}
