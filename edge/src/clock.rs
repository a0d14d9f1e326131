//! The only file of the workspace that reads clocks (the watchdog has its own).
//!
//! Deadlines use CLOCK_BOOTTIME: it never jumps and it counts suspend. CLOCK_REALTIME is for what
//! people read.

use nodemedic_protocol::{Boottime, Now, WallTime};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Both clocks, read one after the other.
#[must_use]
pub fn now() -> Now {
    Now {
        boot: boottime(),
        wall: wall(),
    }
}

/// Milliseconds since this boot, suspend included.
#[must_use]
pub fn boottime() -> Boottime {
    Boottime(boottime_us() / 1000)
}

/// Microseconds since this boot, suspend included: for measuring how long something took.
#[must_use]
pub fn boottime_us() -> u64 {
    micros(clock_gettime(ClockId::Boottime))
}

/// Microseconds of CLOCK_MONOTONIC, which stands still in suspend: only for reading what others say
/// in it.
#[must_use]
pub fn monotonic_us() -> u64 {
    micros(clock_gettime(ClockId::Monotonic))
}

/// What this host believes the time of day is; a clock before 1970 counts as 1970.
#[must_use]
pub fn wall() -> WallTime {
    WallTime(micros(clock_gettime(ClockId::Realtime)) / 1000)
}

/// Whole microseconds; a negative reading (only a wall clock before 1970 has one) counts as zero.
fn micros(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000)
        .saturating_add(nanos / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_run_and_agree_with_the_kernel() {
        let before = boottime_us();
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let after = boottime_us();
        // /proc/uptime is CLOCK_BOOTTIME in hundredths of a second, cut off.
        let hundredths: u64 = uptime
            .split(' ')
            .next()
            .unwrap()
            .replace('.', "")
            .parse()
            .unwrap();
        assert!(
            (before / 10_000..=after / 10_000).contains(&hundredths),
            "{before} {uptime}"
        );
        assert!(boottime().0 >= after / 1000);
        // 2020-01-01: no machine that builds this lives before it.
        assert!(now().wall > WallTime(1_577_836_800_000));
    }

    #[test]
    fn a_wall_clock_before_1970_counts_as_1970() {
        assert_eq!(
            micros(Timespec {
                tv_sec: -5,
                tv_nsec: 0
            }),
            0
        );
        assert_eq!(
            micros(Timespec {
                tv_sec: 2,
                tv_nsec: 3_999
            }),
            2_000_003
        );
    }
}
