//! What the watchdog wrote down before it had the host reset, or killed: docs/reference/
//! watchdog-beat.md, "Last words". Whatever is in the file, the agent starts.

use std::collections::BTreeMap;
use std::path::Path;

use nodemedic_edge::files;
use nodemedic_protocol::event::{LastWords, WatchdogVerdict};
use nodemedic_protocol::{BootId, Boottime, WallTime};

/// The watchdog writes 2 KiB at most; what is longer is not its.
const WORDS_MAX_BYTES: usize = 4096;

/// A text of another is shown up to here.
const TEXT_MAX_CHARS: usize = 512;

/// Reads them; `None` when there are none.
///
/// # Errors
/// What is wrong with the file, and what to do about it.
pub fn read(path: &Path) -> Result<Option<LastWords>, String> {
    let bytes = files::read_capped(path, WORDS_MAX_BYTES).map_err(|error| error.to_string())?;
    let Some(bytes) = bytes else { return Ok(None) };
    parse(&bytes).map(Some).map_err(|error| {
        format!(
            "{} does not hold last words of nodemedic-watchdog: {error}; remove it, or set \
             [paths] last_words",
            path.display()
        )
    })
}

fn parse(bytes: &[u8]) -> Result<LastWords, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let mut fields = BTreeMap::new();
    for line in text.lines() {
        let (key, value) = line.split_once('=').ok_or("a line without =")?;
        if fields.insert(key, value).is_some() {
            return Err(format!("{} is there twice", printable(key)));
        }
    }
    let field = |key: &'static str| {
        fields
            .get(key)
            .copied()
            .ok_or_else(|| format!("{key} is missing"))
    };
    let number = |key: &'static str| {
        field(key)?
            .parse::<u64>()
            .map_err(|_| format!("{key} is no number"))
    };
    if number("version")? != 1 {
        return Err("it is of another version: upgrade the older of the two".to_owned());
    }
    let verdict = match field("verdict")? {
        "reset" => WatchdogVerdict::Reset,
        "reboot" => WatchdogVerdict::Reboot,
        "would-reset" => WatchdogVerdict::WouldReset,
        "killed" => WatchdogVerdict::Killed,
        other => return Err(format!("unknown verdict {:?}", printable(other))),
    };
    Ok(LastWords {
        boot_id: BootId::new(field("boot_id")?).map_err(|error| format!("boot_id: {error}"))?,
        at: Boottime(number("boottime_ms")?),
        wall: WallTime(number("wall_ms")?),
        verdict,
        target: printable(field("target")?),
        why: printable(field("why")?),
    })
}

/// Without what would move the cursor of whoever reads the log.
fn printable(text: &str) -> String {
    text.chars()
        .take(TEXT_MAX_CHARS)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "version=1\nboot_id=0e8f\nboottime_ms=71000\nwall_ms=1700000000000\n\
        verdict=reset\ntarget=cgroup /system.slice/web.service\nwhy=a=b, the agent is frozen\n";

    #[test]
    fn good_words_are_read_and_none_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last-words");
        assert_eq!(read(&path), Ok(None));
        files::write_atomic(&path, GOOD.as_bytes(), 0o644).unwrap();
        let words = read(&path).unwrap().unwrap();
        assert_eq!(words.verdict, WatchdogVerdict::Reset);
        assert_eq!(words.at, Boottime(71_000));
        assert_eq!(words.why, "a=b, the agent is frozen");
        assert_eq!(words.target, "cgroup /system.slice/web.service");
    }

    #[test]
    fn what_is_torn_foreign_or_hostile_is_named_and_never_believed() {
        let twice = format!("{GOOD}verdict=killed\n");
        let strange = GOOD.replace("=reset", "=\u{1b}[2Jparty");
        let newer = GOOD.replace("version=1", "version=2");
        for (text, wanted) in [
            ("", "version is missing"),
            ("\u{7f}ELF", "a line without ="),
            (&GOOD[..60], "is missing"),
            (twice.as_str(), "verdict is there twice"),
            (strange.as_str(), "unknown verdict \"?[2Jparty\""),
            (newer.as_str(), "another version"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
        assert_eq!(parse(&[0xff, 0xfe]).unwrap_err(), "it is not text");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("last-words");
        files::write_atomic(&path, &vec![b'x'; 1 << 20], 0o644).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.contains("last-words"), "{error}");
        let error = read(dir.path()).unwrap_err();
        assert!(!error.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_change_of_a_byte_panics(at in 0..GOOD.len(), byte in any::<u8>()) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = parse(&bytes);
        }
    }
}
