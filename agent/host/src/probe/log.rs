//! Probe `log`: the service wrote something within its bound, to a file, to the log of its command
//! or to the journal.
//!
//! Of a file only its number, length and times are looked at, and they are compared with each
//! other, never with the wall clock. The journal is asked through journalctl, whose stamps are of
//! CLOCK_MONOTONIC; it counts as silence of the service only while the journal itself takes lines.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nodemedic_agent_core::Verdict;
use nodemedic_edge::child::{self, Spec};
use nodemedic_edge::clock;
use nodemedic_protocol::{Boottime, Millis};

use super::Whose;
use super::age::Silence;
use super::look::Looks;

/// One entry with its stamps; its message is not asked for.
const OUTPUT_MAX_BYTES: usize = 16 << 10;

/// What one such probe remembers.
#[derive(Debug)]
pub struct Log {
    silence: Silence<Mark>,
    looks: Looks<io::Result<Option<Mark>>>,
}

/// What changes whenever something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    /// A file: its number, its length, and its time in nanoseconds.
    File(u64, u64, i128),
    /// There was a file, and there is none.
    Gone,
    /// The newest entry of a journal, in microseconds of CLOCK_MONOTONIC.
    Entry(u64),
}

impl Log {
    /// Knows nothing yet.
    pub fn new(interval: Millis, timeout: Millis) -> Log {
        Log {
            silence: Silence::new(interval, timeout),
            looks: Looks::default(),
        }
    }

    /// Looks once.
    pub async fn ask(
        &mut self,
        whose: &Whose,
        file: Option<&str>,
        max_age: Millis,
        within: Millis,
    ) -> Verdict {
        match (file, &whose.unit_name) {
            (Some(file), _) => self.ask_file(PathBuf::from(file), max_age, within).await,
            (None, Some(unit)) => self.ask_journal(unit, max_age, within).await,
            (None, None) => self.ask_file(whose.log.clone(), max_age, within).await,
        }
    }

    async fn ask_file(&mut self, path: PathBuf, max_age: Millis, within: Millis) -> Verdict {
        let name = path.display().to_string();
        let found = self.looks.look(within, move || mark_of(&path)).await;
        let now = clock::boottime();
        let found = found.and_then(|found| found.map_err(|error| error.to_string()));
        match found {
            Ok(mark) => self.judge_file(now, &name, mark, max_age),
            Err(why) => Verdict::Unknown(format!("log probe of {name}: {why}")),
        }
    }

    fn judge_file(
        &mut self,
        now: Boottime,
        name: &str,
        mark: Option<Mark>,
        max_age: Millis,
    ) -> Verdict {
        let mark = match mark {
            Some(mark) => mark,
            None if self.silence.was_seen() => Mark::Gone,
            None => {
                let why = "there is no such file yet; is the path right?";
                return Verdict::Unknown(format!("log probe of {name}: {why}"));
            }
        };
        let age = self.silence.look(now, mark, None);
        verdict(name, age, max_age)
    }

    async fn ask_journal(&mut self, unit: &str, max_age: Millis, within: Millis) -> Verdict {
        let unknown = |why: String| Verdict::Unknown(format!("log probe of {unit}: {why}"));
        let newest = match newest(Some(unit), within).await {
            Ok(Some(at)) => at,
            Ok(None) => {
                let why = "the journal shows nothing of it since the boot; is this agent in the \
                           group systemd-journal?";
                return unknown(why.to_owned());
            }
            Err(why) => return unknown(why),
        };
        let known = Millis(clock::monotonic_us().saturating_sub(newest) / 1000);
        let age = self
            .silence
            .look(clock::boottime(), Mark::Entry(newest), Some(known));
        if age <= max_age {
            return Verdict::Pass;
        }
        let heard = match self::newest(None, within).await {
            Ok(any) => any.map(age_of),
            Err(why) => return unknown(why),
        };
        silent_in_journal(unit, age, heard, max_age)
    }
}

/// Is it the service that is silent, or the journal? A journal that takes no lines would have every
/// service of the host restarted at once.
fn silent_in_journal(unit: &str, age: Millis, heard: Option<Millis>, max_age: Millis) -> Verdict {
    if heard.is_some_and(|ago| ago <= max_age) {
        return verdict(unit, age, max_age);
    }
    let why = format!("nobody wrote to the journal within {max_age}");
    Verdict::Unknown(format!("log probe of {unit}: {why}"))
}

fn verdict(name: &str, age: Millis, max_age: Millis) -> Verdict {
    if age <= max_age {
        return Verdict::Pass;
    }
    Verdict::Fail(format!(
        "log probe of {name}: nothing was written for {age}, at most {max_age} are well"
    ))
}

fn age_of(stamp_us: u64) -> Millis {
    Millis(clock::monotonic_us().saturating_sub(stamp_us) / 1000)
}

fn mark_of(path: &Path) -> io::Result<Option<Mark>> {
    match std::fs::metadata(path) {
        Ok(found) => {
            let time = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
            Ok(Some(Mark::File(found.ino(), found.len(), time)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The stamp of the newest entry of this boot, of one unit or of all.
async fn newest(unit: Option<&str>, within: Millis) -> Result<Option<u64>, String> {
    let args = [
        "--no-pager",
        "--quiet",
        "--boot",
        "--lines=1",
        "--output=json",
        "--output-fields=_BOOT_ID",
    ];
    let mut args: Vec<String> = args.map(str::to_owned).into();
    args.extend(unit.map(|unit| format!("--unit={unit}")));
    let finished = child::run(Spec {
        program: "journalctl".into(),
        args,
        env: BTreeMap::new(),
        cwd: None,
        stdin: Vec::new(),
        timeout: within,
        output_max_bytes: OUTPUT_MAX_BYTES,
    });
    let finished = finished.await.map_err(|error| error.to_string())?;
    if finished.code != Some(0) {
        let said = String::from_utf8_lossy(&finished.stderr);
        return Err(format!("journalctl: {}", said.trim()));
    }
    stamp(&finished.stdout)
}

/// The monotonic stamp of an entry as `--output=json` writes it; nothing when there is no entry.
fn stamp(output: &[u8]) -> Result<Option<u64>, String> {
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(rename = "__MONOTONIC_TIMESTAMP")]
        monotonic: String,
    }
    let output = output.trim_ascii();
    if output.is_empty() {
        return Ok(None);
    }
    let entry: Entry = serde_json::from_slice(output)
        .map_err(|error| format!("journalctl printed no entry: {error}"))?;
    let stamp = entry.monotonic.parse();
    stamp
        .map(Some)
        .map_err(|_| format!("journalctl printed the stamp {:?}", entry.monotonic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fresh() -> Log {
        Log::new(Millis(1_000), Millis(1_000))
    }

    const BOUND: Millis = Millis(5_000);

    #[test]
    fn a_file_that_grows_passes_and_one_that_does_not_fails_whatever_the_wall_clock_says() {
        let mut log = fresh();
        // Written in the year 2100, by a clock that was wrong.
        let mark = |length| Some(Mark::File(7, length, 4_102_444_800_000_000_000));
        let mut ask = |second: u64, mark| log.judge_file(Boottime(second * 1000), "x", mark, BOUND);
        for second in 0..100 {
            assert_eq!(ask(second, mark(second)), Verdict::Pass);
        }
        for second in 100..105 {
            assert_eq!(ask(second, mark(99)), Verdict::Pass, "{second}");
        }
        let Verdict::Fail(text) = ask(105, mark(99)) else {
            panic!("silence passed");
        };
        assert_eq!(
            text,
            "log probe of x: nothing was written for 6.0s, at most 5.0s are well"
        );
        // Truncated in place: a rotation is a sign of life.
        assert_eq!(ask(106, mark(0)), Verdict::Pass);
    }

    #[test]
    fn a_file_that_never_was_is_unknown_and_one_that_stays_away_is_silent() {
        let mut log = fresh();
        let never = log.judge_file(Boottime(0), "x", None, BOUND);
        assert!(matches!(never, Verdict::Unknown(_)), "{never:?}");
        let there = Some(Mark::File(1, 1, 1));
        assert_eq!(
            log.judge_file(Boottime(1_000), "x", there, BOUND),
            Verdict::Pass
        );
        for second in 2..8 {
            let gone = log.judge_file(Boottime(second * 1000), "x", None, BOUND);
            assert_eq!(gone, Verdict::Pass, "{second}: a rotation takes a moment");
        }
        let gone = log.judge_file(Boottime(8_000), "x", None, BOUND);
        assert!(matches!(gone, Verdict::Fail(_)), "{gone:?}");
    }

    #[tokio::test]
    async fn a_real_file_is_seen_to_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("heartbeat");
        let first = || mark_of(&path).unwrap();
        assert_eq!(first(), None);
        nodemedic_edge::files::write_atomic(&path, b"1", 0o600).unwrap();
        let before = first();
        nodemedic_edge::files::write_atomic(&path, b"22", 0o600).unwrap();
        assert_ne!(before, first());
        let name = path.display().to_string();
        let verdict = fresh().ask_file(path.clone(), BOUND, Millis(20_000)).await;
        assert_eq!(verdict, Verdict::Pass, "{name}");
        let below = path.join("no-directory");
        let verdict = fresh().ask_file(below, BOUND, Millis(20_000)).await;
        assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict:?}");
    }

    /// LESSONS, failure mode 18: a common cause is not the service's failure.
    #[test]
    fn a_journal_that_takes_no_lines_is_nobodys_silence() {
        let judge = |heard| silent_in_journal("a.service", Millis(9_000), heard, BOUND);
        assert!(matches!(judge(Some(Millis(100))), Verdict::Fail(_)));
        assert!(matches!(judge(Some(Millis(8_000))), Verdict::Unknown(_)));
        assert!(matches!(judge(None), Verdict::Unknown(_)));
    }

    #[test]
    fn journalctls_words_are_read() {
        let entry = br#"{"__CURSOR":"s=1","__REALTIME_TIMESTAMP":"1795000000000000",
            "__MONOTONIC_TIMESTAMP":"123456789","_BOOT_ID":"5f0c"}
"#;
        assert_eq!(stamp(entry), Ok(Some(123_456_789)));
        assert_eq!(stamp(b"\n"), Ok(None));
        for bad in [
            "-- No entries --",
            "{}",
            r#"{"__MONOTONIC_TIMESTAMP":"-1"}"#,
        ] {
            assert!(stamp(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_output_is_read_or_refused(output in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = stamp(&output);
        }
    }
}
