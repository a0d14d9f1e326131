//! Pressure stall information, from /proc/pressure/* (Documentation/accounting/psi.rst).

use nodemedic_protocol::sample::{PerMille, Stall};

use super::source::{Malformed, hundredths};

/// Reads one file of /proc/pressure.
///
/// # Errors
/// When the line `some` is missing or broken, or the line `full` is there and broken.
pub fn parse(text: &str) -> Result<Stall, Malformed> {
    let mut stall = Stall::default();
    let mut seen = false;
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        match fields.next() {
            Some("some") => {
                let (avg10, total) = values(fields).ok_or(Malformed("bad line `some`"))?;
                stall.some_avg10 = avg10;
                stall.some_total_us = total;
                seen = true;
            }
            Some("full") => {
                let (avg10, _) = values(fields).ok_or(Malformed("bad line `full`"))?;
                stall.full_avg10 = Some(avg10);
            }
            _ => {}
        }
    }
    if seen {
        Ok(stall)
    } else {
        Err(Malformed("no line `some`"))
    }
}

fn values(fields: std::str::SplitAsciiWhitespace<'_>) -> Option<(PerMille, u64)> {
    let (mut avg10, mut total) = (None, None);
    for field in fields {
        match field.split_once('=')? {
            ("avg10", percent) => {
                let value = (hundredths(percent)? + 5) / 10;
                // More than all of the time is no share of time.
                avg10 = (value <= 1000).then(|| u32::try_from(value).ok()).flatten();
            }
            ("total", us) => total = us.parse().ok(),
            _ => {}
        }
    }
    Some((PerMille(avg10?), total?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_read_and_full_may_be_missing() {
        let stall = parse("some avg10=11.59 avg60=5.61 avg300=1.77 total=9907233\n").unwrap();
        assert_eq!(stall.some_avg10, PerMille(116));
        assert_eq!(stall.full_avg10, None);
        assert_eq!(stall.some_total_us, 9_907_233);
        let stall = parse("some avg10=0.00 total=1\nfull avg10=100.00 total=1\n").unwrap();
        assert_eq!(stall.full_avg10, Some(PerMille(1000)));
    }

    #[test]
    fn broken_lines_are_refused() {
        for bad in [
            "",
            "full avg10=0.00 total=0\n",
            "some avg10=250.00 total=0\n",
            "some avg10=1.00\n",
            "some avg10 total=1\n",
            "some avg10=18446744073709551615.00 total=1\n",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
