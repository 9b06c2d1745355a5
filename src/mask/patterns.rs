//! The patterns that need only be named. Forms are those that the issuers document; where none is, as loose as it takes to
//! find them and as strict as it takes to find little else.
//!
//! What is counted begins behind something that is rare. A count that could begin at many places of one word, such as
//! `[2-6][0-9]{12}` or `\b[a-z.]{1,64}@`, makes the automaton remember which of them it did begin at, and has it grow until
//! it gives up: 20 MB/s were seen instead of 300. A check sorts out what such an expression would have.

use std::ops::Range;

use super::text::Text;

/// The part of what an expression found at this place that is a secret after all.
pub type Check = fn(&Text<'_>, Range<usize>) -> Option<Range<usize>>;

/// A built-in pattern.
#[derive(Debug)]
pub struct Pattern {
    pub name: &'static str,
    /// With a group `secret` where something before or behind it only tells what it is.
    pub regex: &'static str,
    pub check: Option<Check>,
    /// It begins where a word does. (Not by `\b`: the `n` of an escaped line end is a letter for that.)
    pub word: bool,
}

const fn pattern(name: &'static str, regex: &'static str) -> Pattern {
    Pattern { name, regex, check: None, word: false }
}

const fn word(name: &'static str, regex: &'static str) -> Pattern {
    Pattern { word: true, ..pattern(name, regex) }
}

const fn checked(name: &'static str, regex: &'static str, check: Check) -> Pattern {
    Pattern { check: Some(check), ..pattern(name, regex) }
}

/// A quote, which may be escaped or by its number; or none.
macro_rules! quote {
    () => {
        r#"(?:\\*["']|\\+u002[27])?"#
    };
}

/// The name of a header or of a field, and what is between it and its value.
macro_rules! named {
    ($name:literal) => {
        concat!($name, quote!(), r"[ \t]*[:=][ \t]*", quote!())
    };
}

/// Letters of a class, of which PHP escapes `/`, and .NET writes `+` by its number.
macro_rules! letters {
    ($class:literal) => {
        concat!("(?:[", $class, r"]|\\+/|\\+u002b)")
    };
}

/// In alphabetical order.
pub const PATTERNS: &[Pattern] = &[
    // Four letters for the kind of id, sixteen of base 32:
    // <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
    word("aws_access_key", r"(?-u:(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b)"),
    // Forty characters look like many things: only behind its name.
    pattern(
        "aws_secret_key",
        concat!(
            "(?i-u:",
            named!("secret[_-]?(?:access[_-]?)?key"),
            "(?P<secret>",
            letters!("a-z0-9/+"),
            "{40})(?:[^a-z0-9/+=]|$))"
        ),
    ),
    // RFC 7617, in a header or a field of that name.
    pattern(
        "basic_auth",
        concat!("(?i-u:", named!("authorization"), r"basic[ \t]+(?P<secret>", letters!("a-z0-9+/_-"), "{4,}={0,2}))"),
    ),
    // RFC 6750, section 2.1.
    word("bearer_token", concat!(r"(?i-u:bearer[ \t]+(?P<secret>", letters!("a-z0-9._~+/-"), "{8,}=*))")),
    checked("credit_card", r"(?-u:[0-9](?:[ -]?[0-9]){12,18})", card),
    // From its middle on: what is before it is looked for by hand.
    checked("email", r"(?i-u:@[a-z0-9](?:[a-z0-9-]*\.)+[a-z]{2,24}\b)", email),
    // <https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/>
    word("github_token", r"(?-u:(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})\b)"),
    checked("ipv4", r"(?-u:[0-9]{1,3}(?:\.[0-9]{1,3}){3})", ipv4),
    // RFC 7519: three parts of base 64, of which the first two begin as `{"` does. From the middle on, too: a first part that
    // may go on for ever would have all of the rest read again for each other secret in it.
    checked("jwt", r"(?-u:\.eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*)", jwt),
    // RFC 7468, with the headers of RFC 1421 and RFC 4880; the line ends may be escaped. To its last line, or as far as it
    // goes.
    pattern(
        "private_key",
        r"(?-u:-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----(?P<secret>[A-Za-z0-9+/=:;,.()@_<>\- \t\r\n\\]*?)(?:-----END|[^A-Za-z0-9+/=:;,.()@_<>\- \t\r\n\\]|$))",
    ),
    // <https://api.slack.com/authentication/token-types>
    word("slack_token", r"(?-u:xox[abeoprs]-[A-Za-z0-9-]{10,})"),
    // RFC 3986, section 3.2.1: user:password@host. A password with an `@` should have `%40` instead, and some have not.
    pattern(
        "url_password",
        r#"(?-u::\\{0,8}/\\{0,8}/[^\s/?#:@"'\\<>]*:(?P<secret>(?:[^\s/?#"\\<>]|\\+u[0-9A-Fa-f]{4})+)@)"#,
    ),
    checked("us_ssn", r"(?-u:[0-9]{3}-[0-9]{2}-[0-9]{4})", us_ssn),
];

/// Their names, in alphabetical order.
pub const NAMES: [&str; PATTERNS.len()] = {
    let mut names = [""; PATTERNS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = PATTERNS[at].name;
        at += 1;
    }
    names
};

pub fn find(name: &str) -> Option<&'static Pattern> {
    PATTERNS.iter().find(|pattern| pattern.name == name)
}

/// A number that stands for itself, and not a part of a longer one, of a decimal fraction or of a word.
fn stands_alone(text: &Text<'_>, at: &Range<usize>, joints: &[u8]) -> bool {
    let joins = |byte: &u8| byte.is_ascii_alphanumeric() || joints.contains(byte);
    let before = at.start.checked_sub(1).and_then(|before| text.bytes.get(before));
    // A dot at the end of a sentence joins nothing.
    let behind = text
        .bytes
        .get(at.end)
        .filter(|byte| !joints.contains(byte) || text.bytes.get(at.end + 1).is_some_and(joins_digit));
    text.begins_word(at.start) && !before.is_some_and(|byte| joints.contains(byte)) && !behind.is_some_and(joins)
}

fn joins_digit(byte: &u8) -> bool {
    byte.is_ascii_digit()
}

/// As many of the digits as are the number of a card: what follows one may look like more of it.
fn card(text: &Text<'_>, at: Range<usize>) -> Option<Range<usize>> {
    if !text.begins_word(at.start) {
        return None;
    }
    let found = text.bytes[at.clone()].iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit());
    let (ends, digits): (Vec<usize>, Vec<u32>) =
        found.map(|(place, byte)| (at.start + place + 1, u32::from(byte - b'0'))).unzip();
    (13..=digits.len()).rev().find_map(|count| {
        let card = at.start..ends[count - 1];
        (is_card(&digits[..count]) && stands_alone(text, &card, b"._")).then_some(card)
    })
}

/// Lengths and first digits by issuer, as in ISO/IEC 7812, and its checksum.
fn is_card(digits: &[u32]) -> bool {
    let first = |count: usize| digits[..count].iter().fold(0, |number, digit| number * 10 + digit);
    let issued = matches!(
        (digits.len(), first(1), first(2), first(3), first(4)),
        (13 | 16 | 19, 4, ..)
            | (16, _, 51..=55, ..)
            | (16, .., 2221..=2720)
            | (15, _, 34 | 37, ..)
            | (16..=19, _, 62 | 65, ..)
            | (16..=19, .., 644..=649, _)
            | (16..=19, .., 6011 | 3528..=3589)
            | (14..=19, _, 36 | 38, ..)
            | (14..=19, .., 300..=305, _)
    );
    // Luhn: every second digit from the right counts twice, and of two digits the sum.
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let counted = digits.iter().rev().enumerate().map(|(n, digit)| if n % 2 == 1 { doubled(*digit) } else { *digit });
    issued && counted.sum::<u32>() % 10 == 0
}

/// With what is before the `@`: RFC 5322, section 3.2.3, without what hardly anybody uses.
fn email(text: &Text<'_>, at: Range<usize>) -> Option<Range<usize>> {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let len = text.bytes[..at.start].iter().rev().take_while(is_part).count();
    (len > 0).then(|| at.start - len..at.end)
}

/// With the part before the dot, which begins as the second does.
fn jwt(text: &Text<'_>, at: Range<usize>) -> Option<Range<usize>> {
    let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let len = text.bytes[..at.start].iter().rev().take_while(is_part).count();
    let first = memchr::memmem::find(&text.bytes[at.start - len..at.start], b"eyJ").filter(|first| len - first >= 8)?;
    Some(at.start - len + first..at.end)
}

fn ipv4(text: &Text<'_>, at: Range<usize>) -> Option<Range<usize>> {
    let address = std::str::from_utf8(&text.bytes[at.clone()]).ok()?;
    let is_address = address.split('.').all(|part| part.parse::<u8>().is_ok());
    (stands_alone(text, &at, b".") && is_address).then_some(at)
}

/// Never issued: area 000, 666 or 9xx, group 00, serial 0000.
/// <https://www.ssa.gov/employer/randomization.html>
fn us_ssn(text: &Text<'_>, at: Range<usize>) -> Option<Range<usize>> {
    let number = &text.bytes[at.clone()];
    let (area, group, serial) = (&number[..3], &number[4..6], &number[7..]);
    let is_issued = !matches!(area, b"000" | b"666" | [b'9', ..]) && group != b"00" && serial != b"0000";
    (stands_alone(text, &at, b"-.") && is_issued).then_some(at)
}
