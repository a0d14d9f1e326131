//! The two kinds of time, apart from each other by type, and one kind of duration.
//!
//! [`Boottime`] is CLOCK_BOOTTIME of one boot of one host: every deadline uses it, because it never
//! jumps and it counts suspend. [`WallTime`] is for people only. Comparing the boottimes of two
//! hosts, or of two boots, is meaningless; messages therefore carry the boot id beside it.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A span of time in whole milliseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// No time at all.
    pub const ZERO: Millis = Millis(0);

    /// Whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Millis {
        Millis(seconds.saturating_mul(1000))
    }

    /// As the standard library's duration.
    #[must_use]
    pub const fn to_duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// `self * numerator / denominator`, saturating; a zero denominator counts as one.
    #[must_use]
    pub const fn scaled(self, numerator: u64, denominator: u64) -> Millis {
        let denominator = if denominator == 0 { 1 } else { denominator };
        match self.0.checked_mul(numerator) {
            Some(product) => Millis(product / denominator),
            // Beyond 2^64 ms the exact value is of no use: divide first.
            None => Millis((self.0 / denominator).saturating_mul(numerator)),
        }
    }
}

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Millis {
        Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Add for Millis {
    type Output = Millis;
    fn add(self, other: Millis) -> Millis {
        Millis(self.0.saturating_add(other.0))
    }
}

impl Sub for Millis {
    type Output = Millis;
    /// Saturates at zero.
    fn sub(self, other: Millis) -> Millis {
        Millis(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Millis {
    /// `850ms`, `4.2s`, `3m05s`, `2h10m`, `3d04h`: two significant parts, as people say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        match self.0 {
            0..=999 => write!(f, "{}ms", self.0),
            1000..=59_999 => write!(f, "{}.{}s", seconds, self.0 % 1000 / 100),
            60_000..=3_599_999 => write!(f, "{}m{:02}s", seconds / 60, seconds % 60),
            3_600_000..=86_399_999 => write!(f, "{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
            _ => write!(f, "{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
        }
    }
}

/// Milliseconds of CLOCK_BOOTTIME on one boot of one host.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Boottime(pub u64);

impl Boottime {
    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Boottime) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Millis> for Boottime {
    type Output = Boottime;
    fn add(self, span: Millis) -> Boottime {
        Boottime(self.0.saturating_add(span.0))
    }
}

impl Sub<Millis> for Boottime {
    type Output = Boottime;
    /// Saturates at zero.
    fn sub(self, span: Millis) -> Boottime {
        Boottime(self.0.saturating_sub(span.0))
    }
}

/// Milliseconds since 1970-01-01 UTC, as this host believed it. For people and for records; never
/// for a deadline.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct WallTime(pub u64);

/// One reading of both clocks, handed to a core with each input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// For every deadline.
    pub boot: Boottime,
    /// For what people read.
    pub wall: WallTime,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn spans_read_as_people_say_them() {
        let said = |ms| Millis(ms).to_string();
        assert_eq!(said(850), "850ms");
        assert_eq!(said(4_250), "4.2s");
        assert_eq!(said(185_000), "3m05s");
        assert_eq!(said(7_800_000), "2h10m");
        assert_eq!(said(273_600_000), "3d04h");
    }

    #[test]
    fn time_saturates_and_never_wraps() {
        assert_eq!(Boottime(5).since(Boottime(9)), Millis::ZERO);
        assert_eq!(Boottime(u64::MAX) + Millis(1), Boottime(u64::MAX));
        assert_eq!(Millis(u64::MAX).scaled(3, 2), Millis(u64::MAX));
        assert_eq!(Millis(1000).scaled(1, 0), Millis(1000));
    }
}
