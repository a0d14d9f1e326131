//! From two readings of a counter to a rate. A counter that went backwards was reset: no rate.

use nodemedic_protocol::sample::PerMille;

/// `(now - before)` per second over `span_us`; absent after a reset or over no time.
#[must_use]
pub fn per_second(before: u64, now: u64, span_us: u64) -> Option<u64> {
    let delta = u128::from(now.checked_sub(before)?);
    if span_us == 0 {
        return None;
    }
    u64::try_from(delta * 1_000_000 / u128::from(span_us)).ok()
}

/// `part` of `whole` in thousandths, rounded; absent when the whole is nothing.
#[must_use]
pub fn share(part: u64, whole: u64) -> Option<PerMille> {
    if whole == 0 {
        return None;
    }
    let value = (u128::from(part) * 1000 + u128::from(whole) / 2) / u128::from(whole);
    u32::try_from(value).ok().map(PerMille)
}

/// The growth of a counter; absent after a reset.
#[must_use]
pub fn growth(before: u64, now: u64) -> Option<u64> {
    now.checked_sub(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_counter_has_no_rate() {
        assert_eq!(per_second(10, 110, 2_000_000), Some(50));
        assert_eq!(per_second(110, 10, 2_000_000), None);
        assert_eq!(per_second(0, 10, 0), None);
        assert_eq!(per_second(0, u64::MAX, 1), None);
    }

    #[test]
    fn shares_are_rounded_and_never_divide_by_nothing() {
        assert_eq!(share(1, 3), Some(PerMille(333)));
        assert_eq!(share(2, 3), Some(PerMille(667)));
        assert_eq!(share(1, 0), None);
        assert_eq!(share(u64::MAX, 1), None);
    }
}
