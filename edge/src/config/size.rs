//! Amounts of bytes as people write them (`512MiB`, `2GiB`): for `#[serde(with = ...)]` on an
//! `Option<u64>`. Powers of 1024 only: a limit that is 7 % beside what was meant is a trap.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, Visitor};

/// Each unit with its bytes. `B` is last: all others end with it.
const UNITS: [(&str, u64); 5] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("B", 1),
];

/// Reads `512MiB`, `2GiB`, `1000B`.
///
/// # Errors
/// When it is none of these, with examples.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(SizeVisitor).map(Some)
}

/// Bytes of a size like `2GiB`; the error is a sentence with examples.
///
/// # Errors
/// When it is no size.
pub fn parse(text: &str) -> Result<u64, String> {
    read(text).ok_or_else(|| not_a_size(text))
}

fn read(text: &str) -> Option<u64> {
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, bytes)| Some((text.strip_suffix(name)?, bytes)))?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(*unit)
}

fn not_a_size(text: impl fmt::Display) -> String {
    format!("{text} is not a size: write 512MiB, 2GiB")
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size like \"512MiB\", \"2GiB\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        parse(text).map_err(E::custom)
    }

    /// A number alone could be bytes or megabytes; who reads the file later cannot tell either.
    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        Err(E::custom(not_a_size(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse("1000B"), Ok(1000));
        assert_eq!(parse("64KiB"), Ok(65_536));
        assert_eq!(parse("512MiB"), Ok(512 << 20));
        assert_eq!(parse("2GiB"), Ok(2 << 30));
        assert_eq!(parse("1TiB"), Ok(1 << 40));
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for bad in [
            "", "2", "2G", "2GB", "GiB", "2 GiB", "-1GiB", "1.5GiB", "+1B",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.ends_with("write 512MiB, 2GiB"), "{error}");
        }
        assert!(parse("18446744073709551616B").is_err());
        assert!(parse("99999999TiB").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,12}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_written_is_read_back(number in 0_u64..1 << 20, unit in 0_usize..5) {
            let (name, bytes) = UNITS[unit];
            prop_assert_eq!(parse(&format!("{number}{name}")), Ok(number * bytes));
        }
    }
}
