//! The one reader of a clock in this program.

use nix::time::{ClockId, clock_gettime};

/// Milliseconds of CLOCK_BOOTTIME, which never jumps and counts suspend. The kernel cannot refuse
/// this clock; zero, were it to, breaks no promise.
#[must_use]
pub fn boottime_ms() -> u64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
        return 0;
    };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    seconds
        .saturating_mul(1000)
        .saturating_add(nanos / 1_000_000)
}
