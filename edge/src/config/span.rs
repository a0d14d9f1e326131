//! Spans of time as people write them (`10s`, `250ms`, `1m30s`): for `#[serde(with = ...)]` on a
//! [`Millis`].

use std::fmt;

use nodemedic_protocol::Millis;
use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// Each unit with its milliseconds, in the order in which a span names them.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads `10s`, `250ms`, `1m30s`, `2h`, `1d`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
    deserializer.deserialize_any(SpanVisitor)
}

/// Writes what [`deserialize`] reads.
pub fn serialize<S: Serializer>(span: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&write(*span))
}

/// Milliseconds of a span like `1m30s`; the error is a sentence with examples.
pub fn parse(text: &str) -> Result<Millis, String> {
    read(text).ok_or_else(|| not_a_span(text))
}

/// The exact text of a span, which [`parse`] reads back.
#[must_use]
pub fn write(span: Millis) -> String {
    if span == Millis::ZERO {
        return "0s".to_owned();
    }
    let mut left = span.0;
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if left >= millis {
            text.push_str(&format!("{}{unit}", left / millis));
            left %= millis;
        }
    }
    text
}

/// Whole numbers with units, each unit at most once, from the largest to the smallest.
fn read(text: &str) -> Option<Millis> {
    let mut left = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !left.is_empty() {
        let digits = left.find(|c: char| !c.is_ascii_digit())?;
        let (number, rest) = left.split_at_checked(digits)?;
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (name, rest) = rest.split_at_checked(letters)?;
        let (_, millis) = units.find(|(unit, _)| *unit == name)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        left = rest;
    }
    (!text.is_empty()).then_some(Millis(total))
}

fn not_a_span(text: &str) -> String {
    format!("{text} is not a span: write 10s, 250ms, 1m30s")
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Millis;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span like \"10s\", \"250ms\", \"1m30s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Millis, E> {
        parse(text).map_err(E::custom)
    }

    // Seconds or milliseconds? A bare number must not be guessed at.
    fn visit_i64<E: Error>(self, number: i64) -> Result<Millis, E> {
        Err(E::custom(not_a_span(&number.to_string())))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Millis, E> {
        Err(E::custom(not_a_span(&number.to_string())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Millis, E> {
        Err(E::custom(not_a_span(&number.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(parse("250ms"), Ok(Millis(250)));
        assert_eq!(parse("10s"), Ok(Millis(10_000)));
        assert_eq!(parse("1m30s"), Ok(Millis(90_000)));
        assert_eq!(parse("2h"), Ok(Millis(7_200_000)));
        assert_eq!(parse("1d12h"), Ok(Millis(129_600_000)));
        assert_eq!(parse("0s"), Ok(Millis::ZERO));
        assert_eq!(
            parse("90s"),
            Ok(Millis(90_000)),
            "more than the next unit is fine"
        );
    }

    #[test]
    fn what_could_mean_two_things_is_refused_with_an_example() {
        for text in [
            "", "10", "s", "10 s", "-1s", "1.5s", "30s1m", "1s1s", "1x", "1S", "s10",
        ] {
            let said = parse(text).unwrap_err();
            assert_eq!(
                said,
                format!("{text} is not a span: write 10s, 250ms, 1m30s")
            );
        }
        assert!(parse("99999999999999999999s").is_err());
        assert!(parse("999999999999999999d").is_err(), "it does not wrap");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis: u64) {
            prop_assert_eq!(parse(&write(Millis(millis))), Ok(Millis(millis)));
        }

        #[test]
        fn no_text_breaks_the_reader(text in "\\PC{0,20}") {
            let _ = parse(&text);
        }
    }
}
