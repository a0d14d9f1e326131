//! The one reader of clocks in this program.

use nix::time::{ClockId, clock_gettime};

/// Milliseconds of CLOCK_BOOTTIME, which never jumps and counts suspend, or of CLOCK_REALTIME. The
/// kernel cannot refuse these clocks; zero, were it to, breaks no promise.
pub fn ms(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map_or((0, 0), |time| (time.tv_sec(), time.tv_nsec()));
    u64::try_from(time.0 * 1000 + time.1 / 1_000_000).unwrap_or(0)
}

/// Milliseconds of CLOCK_BOOTTIME.
pub fn boottime_ms() -> u64 {
    ms(ClockId::CLOCK_BOOTTIME)
}
