//! Decimal numbers, read digit by digit: no digit is lost to a binary fraction in between.

/// A number as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Decimal<'a> {
    is_negative: bool,
    /// Digits before the point, at least one.
    whole: &'a [u8],
    /// Digits behind it.
    fraction: &'a [u8],
    /// The power of ten that it is multiplied with.
    exponent: i64,
}

/// A number without what was behind its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// None if it does not fit.
    pub number: Option<i64>,
    /// Whether nothing was behind the point.
    pub is_exact: bool,
}

impl<'a> Decimal<'a> {
    /// Digits, with or without a sign, a fraction and an exponent.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (is_negative, unsigned) = sign(text.as_bytes());
        let (digits, exponent) = match unsigned.iter().position(|byte| b"eE".contains(byte)) {
            Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
            Some(at) if at + 1 < digits.len() => (&digits[..at], &digits[at + 1..]),
            Some(_) => return None,
            None => (digits, &[][..]),
        };
        let is_number = are_digits(whole) && (fraction.is_empty() || are_digits(fraction));
        is_number.then_some(Self { is_negative, whole, fraction, exponent })
    }

    /// Times ten to the power of `shift`, cut off at the point. However large the exponent is, this takes no longer than the
    /// digits are many.
    pub fn whole(self, shift: u8) -> Whole {
        let digits = self.whole.iter().chain(self.fraction).map(|digit| i64::from(digit - b'0'));
        let count = self.whole.len() + self.fraction.len();
        let point = wide(self.whole.len()) + self.exponent + i64::from(shift);
        let before = point.clamp(0, wide(count)) as usize;
        // Counted down, since there is one number more below zero than above.
        let push = |number: Option<i64>, digit: i64| number?.checked_mul(10)?.checked_sub(digit);
        let number = digits.clone().take(before).fold(Some(0), push);
        // Nothing but zero times more than that fits.
        const ZEROS: i64 = 20;
        let number = (0..(point - wide(count)).min(ZEROS)).fold(number, |number, _| push(number, 0));
        Whole {
            number: if self.is_negative { number } else { number.and_then(i64::checked_neg) },
            is_exact: digits.skip(before).all(|digit| digit == 0),
        }
    }
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    }
}

fn exponent(text: &[u8]) -> Option<i64> {
    // No message has so many digits that more would make a difference.
    const MOST: i64 = 1 << 40;
    let (is_negative, digits) = sign(text);
    if !are_digits(digits) {
        return None;
    }
    let exponent = digits.iter().fold(0, |number: i64, digit| (number * 10 + i64::from(digit - b'0')).min(MOST));
    Some(if is_negative { -exponent } else { exponent })
}

fn are_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn wide(len: usize) -> i64 {
    i64::try_from(len).expect("a text has less than 8 EiB")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str, shift: u8) -> Option<(Option<i64>, bool)> {
        Decimal::parse(text).map(|decimal| decimal.whole(shift)).map(|whole| (whole.number, whole.is_exact))
    }

    #[test]
    fn no_digit_is_lost() {
        for (text, shift, expected) in [
            ("9007199254740993.0", 0, (Some(9_007_199_254_740_993), true)),
            ("4503599627370497.4", 0, (Some(4_503_599_627_370_497), false)),
            ("9223372036854775807", 0, (Some(i64::MAX), true)),
            ("9.223372036854775808e18", 0, (None, true)),
            ("-9.223372036854775808e18", 0, (Some(i64::MIN), true)),
            ("1e3", 0, (Some(1000), true)),
            ("1.5E+1", 0, (Some(15), true)),
            ("1500e-2", 0, (Some(15), true)),
            ("1550e-2", 0, (Some(15), false)),
            ("-0.0", 0, (Some(0), true)),
            ("-0.9", 0, (Some(0), false)),
            ("0.001", 3, (Some(1), true)),
            ("-1.0019", 3, (Some(-1001), false)),
            ("1e18", 0, (Some(1_000_000_000_000_000_000), true)),
            ("1e19", 0, (None, true)),
            ("1e-400", 0, (Some(0), false)),
            ("1e999999999999999999999999999", 0, (None, true)),
            ("1e-999999999999999999999999999", 3, (Some(0), false)),
            ("0e999999999999999999999999999", 0, (Some(0), true)),
            ("0.0e-99", 0, (Some(0), true)),
            ("000000000000000000000000001", 0, (Some(1), true)),
        ] {
            assert_eq!(whole(text, shift), Some(expected), "{text}");
        }
        for text in ["", "-", ".5", "5.", "1e", "1e+", "1.e1", "0x1", "1_0", "1e1.0", "1e1e1", "--1", "١", " 1", "inf"]
        {
            assert_eq!(whole(text, 0), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_point_may_be_anywhere(number in any::<i64>(), digits in 0usize..18) {
            let plain = number.to_string();
            let (sign, plain) = plain.strip_prefix('-').map_or(("", plain.as_str()), |plain| ("-", plain));
            let plain = format!("{plain:0>19}");
            let (whole_digits, fraction) = plain.split_at(plain.len() - 1 - digits);
            let text = format!("{sign}{whole_digits}.{fraction}e{}", digits + 1);
            prop_assert_eq!(whole(&text, 0), Some((Some(number), true)));
        }
    }
}
