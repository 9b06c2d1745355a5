//! Masks secrets in the texts of events and in rejections, before anything of them is buffered.
//!
//! One search finds the places: a single automaton of all rules, over bytes, so that text that holds nothing costs one
//! pass. What is replaced there is then read with care: a JSON value stays one, and an escape is never cut.
//!
//! Invariant: valid UTF-8 stays so, and JSON stays JSON. Absent on purpose: which texts are masked.

mod patterns;
mod payload;
#[cfg(test)]
mod tests;
mod text;
mod value;

use std::fmt;
use std::ops::Range;

use hmac::{Hmac, KeyInit, Mac};
use regex_automata::meta::{Cache, Config, Regex};
use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, Match};
use sha2::Sha256;

pub use self::patterns::NAMES;
use self::patterns::{Check, Pattern};
pub use self::payload::{Masking, Unreadable};
use self::text::Text;
use self::value::Value;

/// The group of a regular expression that is to be masked alone, where it has one.
const SECRET: &str = "secret";
/// Bytes of a hash that are kept, shown as twice as many digits: two different values share one by chance in 2^64.
const HASH_BYTES: usize = 16;

/// Bytes behind a secret in which another that begins in it may be told to be one: a name, and what stands between it and its
/// value.
const REACH: usize = 256;
/// Bytes of a secret in which others are looked for.
const LONGEST_SHARED: usize = 4096;

/// What is masked, and by what: `[mask]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskConfig {
    /// Names of JSON members and of `key=value` pairs whose values are masked; upper and lower case are the same.
    pub fields: Vec<String>,
    /// Built-in patterns, by name.
    pub patterns: Vec<String>,
    /// Regular expressions; with a group named `secret` that group is masked alone.
    pub regexes: Vec<String>,
    pub replacement: Replacement,
}

/// What stands in the place of a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Replacement {
    Text(String),
    /// `hmac:` and the first 16 bytes, in hexadecimal digits, of the HMAC-SHA256 of the value under this key: equal
    /// values have equal hashes, and nobody without the key can try values.
    Hash {
        key: Vec<u8>,
    },
}

impl Default for Replacement {
    fn default() -> Self {
        Self::Text("****".to_owned())
    }
}

/// Never the key.
impl fmt::Debug for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.debug_tuple("Text").field(text).finish(),
            Self::Hash { .. } => f.write_str("Hash"),
        }
    }
}

/// Why a mask is refused.
#[derive(Debug, thiserror::Error)]
pub enum BadMask {
    #[error("{0:?} can't be a field's name: give printable ASCII without quotes and backslashes")]
    Field(String),
    #[error("there is no pattern {0:?}; there are {1}")]
    Pattern(String, String),
    #[error("{regex:?} is no regular expression: {why}")]
    Regex { regex: String, why: String },
    #[error("{0:?} matches the empty text, and so would mask between all characters")]
    Empty(String),
    #[error("all of them together are too large: {0}")]
    TooLarge(String),
}

/// Finds and replaces secrets. Shared by all threads, each with a [`Scratch`] of its own.
#[derive(Debug)]
pub struct Masker {
    regex: Regex,
    rules: Vec<Rule>,
    replacement: Replacement,
}

/// Working memory of one thread, of one [`Masker`].
#[derive(Debug, Default)]
pub struct Scratch(Option<(Cache, Captures)>);

/// What a match of the expression of the same index means.
#[derive(Debug)]
enum Rule {
    /// The name of a JSON member, with its colon: its value follows.
    Member,
    /// A name and `=`: its value follows.
    Pair,
    /// The secret itself, or it is in the group; `word`: it begins where a word does.
    Secret { group: Option<usize>, word: bool },
    /// What may hold a secret, and what says which part of it is one.
    Checked(Check),
}

impl Masker {
    /// # Errors
    /// What is wrong with which name or expression.
    pub fn new(config: &MaskConfig) -> Result<Self, BadMask> {
        let (mut expressions, mut rules) = (Vec::new(), Vec::new());
        if !config.fields.is_empty() {
            let names = names(&config.fields)?;
            let quote = r#"(?:\\*["']|\\+u002[27])"#;
            // Escaped too, and not to be broken.
            let space = r"(?:[ \t\r\n]|\\+[trn]|\xc2\xa0)*";
            expressions.push(format!("(?i-u:{quote}(?:{names}){quote}{space}:{space})"));
            rules.push(Rule::Member);
            // `name=`, `name = `, and as `"name"=` and `user[name]=` end.
            expressions.push(format!("(?i-u:(?:{names})(?:{quote}|\\]|\\[\\])?[ \\t]*=[ \\t]*)"));
            rules.push(Rule::Pair);
        }
        // Of two that match at one place the first counts: those last that may turn out to be nothing.
        let mut checked = Vec::new();
        for name in &config.patterns {
            let Some(Pattern { regex, check, word, .. }) = patterns::find(name) else {
                return Err(BadMask::Pattern(name.clone(), NAMES.join(", ")));
            };
            if let Some(check) = check {
                checked.push((*regex, Rule::Checked(*check)));
            } else {
                rules.push(Rule::Secret { group: secret_group(regex, false)?, word: *word });
                expressions.push((*regex).to_owned());
            }
        }
        for regex in &config.regexes {
            rules.push(Rule::Secret { group: secret_group(regex, true)?, word: false });
            expressions.push(regex.clone());
        }
        for (regex, rule) in checked {
            rules.push(rule);
            expressions.push(regex.to_owned());
        }
        // A prefilter would stop at each digit, quote and `@`, of which logs are full.
        let regex = Regex::builder()
            .configure(Config::new().auto_prefilter(false))
            .syntax(syntax::Config::new().utf8(false))
            .build_many(&expressions)
            .map_err(|error| BadMask::TooLarge(reasons(&error)))?;
        Ok(Self { regex, rules, replacement: config.replacement.clone() })
    }

    /// Appends the text with its secrets replaced to `out`; or returns false, with nothing appended, when it holds none.
    pub fn mask(&self, scratch: &mut Scratch, text: &[u8], out: &mut Vec<u8>) -> bool {
        let scratch = scratch.0.get_or_insert_with(|| (self.regex.create_cache(), self.regex.create_captures()));
        let mut search = Search { masker: self, scratch, text: Text::new(text), out, copied: 0, masked: false };
        let mut from = 0;
        while let Some(found) = search.next(from..text.len()) {
            let Some(mut value) = search.value(&found) else {
                from = self.go_on_from(&found);
                continue;
            };
            from = value.range.end;
            // In what only tells that a secret follows, and in the secret, another may begin.
            let (mut at, mut is_covered, mut behind) = (found.start() + 1, false, None);
            while at < value.range.end
                && let Some(other) = search.next(at..text.len().min(value.range.end + REACH))
                && other.start() < value.range.end
            {
                at = self.go_on_from(&other);
                let Some(second) = search.value(&other) else { continue };
                if second.range.start < value.range.start {
                    search.replace(&second);
                    at = second.range.end;
                    from = from.max(at);
                    value.range.start = value.range.start.max(at);
                    is_covered = value.range.start >= value.range.end;
                } else if second.range.end > value.range.end && self.is_named(&other) {
                    // Its name is part of the first: what is before that is masked, and it is found again.
                    value.range.end = other.start().max(value.range.start);
                    from = other.start();
                    is_covered = value.range.is_empty();
                } else if second.range.start >= value.range.end {
                    behind = Some(second);
                    break;
                }
                if value.range.len() > LONGEST_SHARED {
                    break;
                }
            }
            if !is_covered {
                search.replace(&value);
            }
            if let Some(second) = behind {
                from = second.range.end;
                search.replace(&second);
            }
        }
        search.finish()
    }

    /// Whether it is a name with its value.
    fn is_named(&self, found: &Match) -> bool {
        matches!(self.rules[found.pattern().as_usize()], Rule::Member | Rule::Pair)
    }

    /// Where the search goes on behind what is no secret after all, and may still hold the beginning of one.
    fn go_on_from(&self, found: &Match) -> usize {
        match &self.rules[found.pattern().as_usize()] {
            // What they found holds no other, and a thousand backslashes before a name are looked at once.
            Rule::Member | Rule::Secret { .. } => found.end(),
            Rule::Pair | Rule::Checked(_) => found.start() + 1,
        }
    }
}

/// A text that is being masked.
struct Search<'t> {
    masker: &'t Masker,
    scratch: &'t mut (Cache, Captures),
    text: Text<'t>,
    out: &'t mut Vec<u8>,
    /// Up to here the text is in `out`, if anything is.
    copied: usize,
    masked: bool,
}

impl Search<'_> {
    fn next(&mut self, range: Range<usize>) -> Option<Match> {
        self.masker.regex.search_with(&mut self.scratch.0, &Input::new(self.text.bytes).range(range))
    }

    /// What is to be replaced because of a match; `None` if it is no secret after all.
    fn value(&mut self, found: &Match) -> Option<Value> {
        let Self { masker, scratch: (cache, captures), text, copied: floor, .. } = self;
        match &masker.rules[found.pattern().as_usize()] {
            Rule::Member => value::of_member(text, found.range()),
            Rule::Pair if !text.begins_word(found.start()) => None,
            Rule::Pair => value::of_pair(text, found.range()),
            Rule::Checked(check) => {
                let secret = check(text, found.range())?;
                let start = secret.start.max(*floor);
                // `@host` behind a password is no address: what made it look like one is masked.
                let is_left = start == secret.start || start < found.start();
                is_left.then(|| value::bare(text, start..secret.end, *floor)).flatten()
            }
            Rule::Secret { word: true, .. } if !text.begins_word(found.start()) => None,
            Rule::Secret { group: None, .. } => value::bare(text, found.range(), *floor),
            Rule::Secret { group: Some(group), .. } => {
                let again = Input::new(text.bytes).range(found.range()).anchored(Anchored::Pattern(found.pattern()));
                masker.regex.search_captures_with(cache, &again, captures);
                value::bare(text, captures.get_group(*group)?.range(), *floor)
            }
        }
    }

    fn replace(&mut self, value: &Value) {
        let text = self.text.bytes;
        let Value { range, quote } = value;
        self.out.extend_from_slice(&text[self.copied..range.start]);
        self.out.extend_from_slice(quote.mark(text));
        match &self.masker.replacement {
            Replacement::Text(text) => self.out.extend_from_slice(text.as_bytes()),
            Replacement::Hash { key } => hash(key, &quote.plain(&text[range.clone()]), self.out),
        }
        self.out.extend_from_slice(quote.mark(text));
        (self.copied, self.masked) = (range.end, true);
    }

    /// Whether anything was replaced; if so, `out` is whole.
    fn finish(self) -> bool {
        if self.masked {
            self.out.extend_from_slice(&self.text.bytes[self.copied..]);
        }
        self.masked
    }
}

fn hash(key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(value);
    out.extend_from_slice(b"hmac:");
    for byte in mac.finalize().into_bytes().iter().take(HASH_BYTES) {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// An expression for any of these names.
fn names(fields: &[String]) -> Result<String, BadMask> {
    let is_name = |name: &&String| {
        !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !b"\"'\\".contains(&byte))
    };
    if let Some(bad) = fields.iter().find(|name| !is_name(name)) {
        return Err(BadMask::Field(bad.clone()));
    }
    // The longest first: the first that matches counts.
    let mut names: Vec<_> = fields.iter().map(|name| regex::escape(name)).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    Ok(names.join("|"))
}

/// The index of the group that is the secret alone. The expression is compiled by itself for that, so that what is wrong
/// with it is said of it. `utf8`: it matches whole characters, as what the user writes has to.
fn secret_group(regex: &str, utf8: bool) -> Result<Option<usize>, BadMask> {
    let bad =
        |error: &regex_automata::meta::BuildError| BadMask::Regex { regex: regex.to_owned(), why: reasons(error) };
    let compiled =
        Regex::builder().syntax(syntax::Config::new().utf8(utf8)).build(regex).map_err(|error| bad(&error))?;
    if compiled.is_match("") {
        return Err(BadMask::Empty(regex.to_owned()));
    }
    Ok(compiled.group_info().to_index(regex_automata::PatternID::ZERO, SECRET))
}

/// An error and what it comes from, in one line.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut reasons = vec![error.to_string()];
    let mut error = error;
    while let Some(source) = error.source() {
        reasons.push(source.to_string());
        error = source;
    }
    // What a parser draws below an expression is its last line's to say.
    reasons.last().and_then(|text| text.lines().last()).unwrap_or_default().trim().to_owned()
}
