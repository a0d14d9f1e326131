//! Small texts: times as people say them, sizes, and the neutralising of what came over a network.

use nodemedic_protocol::sample::PerMille;
use nodemedic_protocol::{Boottime, Millis, WallTime};

/// Stands for what is not known.
pub const UNKNOWN: &str = "-";

/// True for characters that move the cursor, change the terminal, or reorder what is read: control
/// characters (ECMA-48), line and paragraph separators, and the bidirectional overrides of UAX #9.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with everything that could drive a terminal replaced, so that a text from the network
/// is only ever read. Tabs and line ends become spaces: one value stays on one line.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => ' ',
            c if is_dangerous(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// JSON with what could drive a terminal written as escapes; the value stays the same, because such
/// characters occur inside of texts only. Line ends between values are kept.
pub fn json_safe(json: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_dangerous(c) && c != '\n' {
            // All of them lie in the basic plane, so one escape is enough. Writing to a String
            // cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Columns that a text takes on a terminal.
pub fn width(text: &str) -> usize {
    ratatui::text::Span::raw(text).width()
}

/// The text cut to so many columns, with `…` where something is missing.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let mut one = [0; 4];
        let w = width(c.encode_utf8(&mut one));
        if used + w + 1 > columns {
            break;
        }
        used += w;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// `4.2s ago`; `-` for a time that was never set. A time ahead of ours (clocks differ) is now.
pub fn ago(now: WallTime, then: WallTime) -> String {
    if then.0 == 0 {
        return UNKNOWN.to_owned();
    }
    format!("{} ago", Millis(now.0.saturating_sub(then.0)))
}

/// `4.2s ago` on one host's boot clock.
pub fn since_boot(now: Boottime, then: Boottime) -> String {
    format!("{} ago", now.since(then))
}

/// The time of day here, to the millisecond: `14:03:07.250`.
pub fn clock_time(wall: WallTime) -> String {
    i64::try_from(wall.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(
            || UNKNOWN.to_owned(),
            |t| {
                t.to_zoned_datetime(jiff::tz::TimeZone::system())
                    .strftime("%H:%M:%S%.3f")
                    .to_string()
            },
        )
}

/// Day and time of day here: `2026-11-23 14:03:07 +0100`.
pub fn stamp(wall: WallTime) -> String {
    i64::try_from(wall.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(
            || UNKNOWN.to_owned(),
            |t| {
                t.to_zoned_datetime(jiff::tz::TimeZone::system())
                    .strftime("%Y-%m-%d %H:%M:%S %z")
                    .to_string()
            },
        )
}

/// `1.5 GiB`: three digits at most, in powers of 1024.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut whole = count;
    let mut tenths = 0;
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    if unit > 0 && whole < 100 {
        format!("{whole}.{tenths} {}", UNITS[unit])
    } else {
        format!("{whole} {}", UNITS[unit])
    }
}

/// `850us`, `12.3ms`, and from a second on as everywhere else.
pub fn micros(us: u64) -> String {
    match us {
        0..=999 => format!("{us}us"),
        1000..=999_999 => format!("{}.{}ms", us / 1000, us % 1000 / 100),
        _ => Millis(us / 1000).to_string(),
    }
}

/// `12.5%`; `-` where it is not known.
pub fn per_mille(share: Option<PerMille>) -> String {
    share.map_or_else(
        || UNKNOWN.to_owned(),
        |PerMille(p)| format!("{}.{}%", p / 10, p % 10),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_drive_a_terminal_is_neutralised() {
        assert_eq!(clean("\x1b[2Jgone\x07"), "\u{fffd}[2Jgone\u{fffd}");
        assert_eq!(clean("a\tb\nc"), "a b c");
        assert_eq!(clean("abc\u{202e}cba"), "abc\u{fffd}cba");
        assert_eq!(clean("\u{9b}31m"), "\u{fffd}31m");
        assert_eq!(clean("größe ✓"), "größe ✓");
    }

    #[test]
    fn json_keeps_its_value_and_loses_its_teeth() {
        let value = serde_json::json!({ "a": "x\u{9b}2J\u{7f}\u{202e}y" });
        let safe = json_safe(&value.to_string());
        assert!(safe.is_ascii(), "{safe}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&safe).unwrap(),
            value
        );
    }

    #[test]
    fn texts_are_cut_to_columns_not_to_bytes() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello", 4), "hel…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("hello", 0), "");
    }

    #[test]
    fn times_and_sizes_read_as_people_say_them() {
        assert_eq!(ago(WallTime(10_000), WallTime(5_800)), "4.2s ago");
        assert_eq!(ago(WallTime(10_000), WallTime(0)), "-");
        assert_eq!(ago(WallTime(10_000), WallTime(12_000)), "0ms ago");
        assert_eq!(micros(850), "850us");
        assert_eq!(micros(12_340), "12.3ms");
        assert_eq!(micros(4_250_000), "4.2s");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(200 << 20), "200 MiB");
        assert_eq!(bytes(u64::MAX), "16383 PiB");
        assert_eq!(per_mille(Some(PerMille(125))), "12.5%");
        assert_eq!(per_mille(None), "-");
    }
}
