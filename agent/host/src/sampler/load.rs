//! Load averages, from /proc/loadavg (proc_loadavg(5)).

use nodemedic_protocol::sample::Load;

use super::source::{Malformed, hundredths};

/// Reads /proc/loadavg.
///
/// # Errors
/// When one of the first four fields is missing or no number.
pub fn parse(text: &str) -> Result<Load, Malformed> {
    let mut fields = text.split_ascii_whitespace();
    let mut milli = || {
        let value = fields.next().and_then(hundredths);
        let value = value.and_then(|v| v.checked_mul(10));
        value.ok_or(Malformed("bad load average"))
    };
    let (one_milli, five_milli, fifteen_milli) = (milli()?, milli()?, milli()?);
    let runnable = fields
        .next()
        .and_then(|tasks| tasks.split_once('/')?.0.parse().ok())
        .ok_or(Malformed("bad count of tasks"))?;
    Ok(Load {
        one_milli,
        five_milli,
        fifteen_milli,
        runnable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_thousandths_of_a_task() {
        let load = parse("0.98 12.50 0.37 5/109 14724\n").unwrap();
        assert_eq!((load.one_milli, load.five_milli), (980, 12_500));
        assert_eq!(load.runnable, 5);
        for bad in ["", "1 2 3", "1 2 3 x/y", "a 2 3 1/2"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
