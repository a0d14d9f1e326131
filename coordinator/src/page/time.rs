//! Times as people read them: the moment in this host's time zone, and how long ago.

use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, html};
use nodemedic_protocol::{Millis, WallTime};

/// How long before `now`; zero when a clock went backwards.
pub(super) fn ago(now: WallTime, then: WallTime) -> Millis {
    Millis(now.0.saturating_sub(then.0))
}

/// How long ago, with the exact moment on hover.
pub(super) fn age(now: WallTime, then: WallTime) -> Markup {
    html! { time title=(text(then, "%Y-%m-%d %H:%M:%S %Z")) { (ago(now, then)) } }
}

/// The moment: today without the date.
pub(super) fn moment(now: WallTime, then: WallTime) -> Markup {
    let today = text(now, "%F") == text(then, "%F");
    let short = text(then, if today { "%H:%M:%S" } else { "%b %d %H:%M" });
    html! { time title=(text(then, "%Y-%m-%d %H:%M:%S %Z")) { (short) } }
}

fn text(moment: WallTime, format: &str) -> String {
    let milliseconds = i64::try_from(moment.0).unwrap_or(i64::MAX);
    match Timestamp::from_millisecond(milliseconds) {
        Ok(timestamp) => timestamp
            .to_zoned_datetime(TimeZone::system())
            .strftime(format)
            .to_string(),
        // Beyond the year 9999: some clock is far off, and the number shows it.
        Err(_) => format!("{milliseconds} ms"),
    }
}
