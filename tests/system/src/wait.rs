//! Waiting for a level with a bound, never for a span.

use std::time::{Duration, Instant};

/// How often a level is looked at. Short against every bound in these tests, long against the cost
/// of looking.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks until `look` gives something, and returns it with how long that took.
///
/// # Panics
/// When `bound` passes first: says what was awaited and what the last look saw.
pub fn wait_for<T>(
    what: &str,
    bound: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> (T, Duration) {
    let began = Instant::now();
    loop {
        match look() {
            Ok(seen) => return (seen, began.elapsed()),
            Err(last) => {
                assert!(
                    began.elapsed() < bound,
                    "{what}: not within {bound:?}; last seen: {last}"
                );
            }
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}

/// Looks for all of `span` and panics as soon as `look` gives an error.
///
/// # Panics
/// When something was seen that must not be.
pub fn stays(what: &str, span: Duration, mut look: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    while began.elapsed() < span {
        if let Err(seen) = look() {
            panic!("{what}: broken after {:?}: {seen}", began.elapsed());
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
}
