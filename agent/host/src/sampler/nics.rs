//! Network interfaces, from /proc/net/dev (proc_pid_net(5)) and /sys/class/net
//! (Documentation/ABI/testing/sysfs-class-net).

use std::collections::BTreeMap;
use std::path::Path;

use nodemedic_protocol::sample::Nic;

use super::rate;
use super::source::{Malformed, Source, numbers};

/// Speed is read so seldom because the kernel takes its one network lock for it; a change of the
/// carrier has it read at once.
const SPEED_EVERY_TICKS: u64 = 60;

/// Counters of one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    rx_bytes: u64,
    tx_bytes: u64,
    errors: u64,
    drops: u64,
}

/// Reads /proc/net/dev.
///
/// # Errors
/// When a line has a name but not the sixteen numbers.
pub fn parse(text: &str) -> Result<Vec<(&str, Counters)>, Malformed> {
    // Two lines of heading; the name may touch the first number: `eth0:87934345`.
    text.lines()
        .skip(2)
        .map(|line| line_of(line).ok_or(Malformed("bad line of net/dev")))
        .collect()
}

fn line_of(line: &str) -> Option<(&str, Counters)> {
    let (name, rest) = line.rsplit_once(':')?;
    let v: [u64; 16] = numbers(&mut rest.split_ascii_whitespace())?;
    let counters = Counters {
        rx_bytes: v[0],
        tx_bytes: v[8],
        errors: v[2].saturating_add(v[10]),
        drops: v[3].saturating_add(v[11]),
    };
    let name = name.trim();
    (!name.is_empty()).then_some((name, counters))
}

/// Keeps the files of each interface open.
#[derive(Debug, Default)]
pub struct Nics {
    known: BTreeMap<String, Known>,
    tick: u64,
}

#[derive(Debug)]
struct Known {
    carrier: Source,
    carrier_changes: Source,
    speed: Source,
    last: Seen,
    before: Option<Counters>,
    seen: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    carrier: Option<bool>,
    carrier_changes: Option<u64>,
    speed: Option<u64>,
}

impl Known {
    fn new(sys_root: &Path, name: &str) -> Known {
        let dir = sys_root.join("class/net").join(name);
        Known {
            carrier: Source::new(dir.join("carrier")),
            carrier_changes: Source::new(dir.join("carrier_changes")),
            speed: Source::new(dir.join("speed")),
            last: Seen::default(),
            before: None,
            seen: true,
        }
    }

    fn look(&mut self, speed_due: bool, buffer: &mut Vec<u8>) -> Seen {
        // EINVAL while administratively down: absent.
        let carrier = match number(&mut self.carrier, buffer) {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        };
        let carrier_changes = number(&mut self.carrier_changes, buffer);
        let changed = (carrier, carrier_changes) != (self.last.carrier, self.last.carrier_changes);
        let speed = if speed_due || changed {
            // -1 where nobody knows, EINVAL where there is none.
            number(&mut self.speed, buffer).filter(|speed| *speed > 0)
        } else {
            self.last.speed
        };
        self.last = Seen {
            carrier,
            carrier_changes,
            speed,
        };
        self.last
    }
}

fn number(source: &mut Source, buffer: &mut Vec<u8>) -> Option<u64> {
    let text = source.read(buffer).ok()?;
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

impl Nics {
    /// What happened since the tick before.
    pub fn view(
        &mut self,
        now: &[(&str, Counters)],
        sys_root: &Path,
        span_us: Option<u64>,
        buffer: &mut Vec<u8>,
    ) -> Vec<Nic> {
        let speed_due = self.tick.is_multiple_of(SPEED_EVERY_TICKS);
        self.tick += 1;
        let mut nics = Vec::new();
        for (name, counters) in now.iter().filter(|(name, _)| *name != "lo") {
            if !self.known.contains_key(*name) {
                self.known
                    .insert((*name).to_owned(), Known::new(sys_root, name));
            }
            let Some(known) = self.known.get_mut(*name) else {
                continue;
            };
            known.seen = true;
            let seen = known.look(speed_due, buffer);
            let before = known.before.replace(*counters);
            let per_s = |value: fn(&Counters) -> u64| {
                rate::per_second(value(before.as_ref()?), value(counters), span_us?)
            };
            nics.push(Nic {
                name: (*name).to_owned(),
                carrier: seen.carrier,
                carrier_changes: seen.carrier_changes,
                speed_mbit_per_s: seen.speed,
                rx_bytes: counters.rx_bytes,
                tx_bytes: counters.tx_bytes,
                rx_bytes_per_s: per_s(|c| c.rx_bytes),
                tx_bytes_per_s: per_s(|c| c.tx_bytes),
                errors: counters.errors,
                drops: counters.drops,
            });
        }
        self.known
            .retain(|_, known| std::mem::replace(&mut known.seen, false));
        nics.sort_by(|a, b| a.name.cmp(&b.name));
        nics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Inter-|   Receive\n face |bytes\n";

    fn text(rx: u64) -> String {
        format!(
            "{HEAD}    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  \
             eth0:{rx} 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n"
        )
    }

    fn sys(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("class/net/eth0");
        std::fs::create_dir_all(&dir).unwrap();
        for (name, value) in files {
            let mut file = std::fs::File::create(dir.join(name)).unwrap();
            std::io::Write::write_all(&mut file, value.as_bytes()).unwrap();
        }
        root
    }

    #[test]
    fn rates_errors_and_link_are_seen() {
        let root = sys(&[
            ("carrier", "1\n"),
            ("carrier_changes", "4\n"),
            ("speed", "1000\n"),
        ]);
        let (mut nics, mut buffer) = (Nics::default(), Vec::new());
        let first = text(1000);
        let seen = nics.view(&parse(&first).unwrap(), root.path(), None, &mut buffer);
        assert_eq!(seen.len(), 1, "loopback is left out");
        assert_eq!(
            (seen[0].carrier, seen[0].speed_mbit_per_s),
            (Some(true), Some(1000))
        );
        assert_eq!((seen[0].errors, seen[0].drops), (10, 12));
        assert_eq!(seen[0].rx_bytes_per_s, None);
        let second = text(3000);
        let seen = nics.view(
            &parse(&second).unwrap(),
            root.path(),
            Some(500_000),
            &mut buffer,
        );
        assert_eq!(seen[0].rx_bytes_per_s, Some(4000));
        let reset = text(0);
        let seen = nics.view(
            &parse(&reset).unwrap(),
            root.path(),
            Some(500_000),
            &mut buffer,
        );
        assert_eq!(
            (seen[0].rx_bytes_per_s, seen[0].tx_bytes_per_s),
            (None, Some(0))
        );
    }

    #[test]
    fn an_interface_that_is_down_has_no_carrier_to_speak_of() {
        // The kernel refuses the read; a missing file stands for it.
        let root = sys(&[("carrier_changes", "4\n"), ("speed", "-1\n")]);
        let text = text(1);
        let now = parse(&text).unwrap();
        let seen = Nics::default().view(&now, root.path(), None, &mut Vec::new());
        assert_eq!((seen[0].carrier, seen[0].carrier_changes), (None, Some(4)));
        assert_eq!(seen[0].speed_mbit_per_s, None);
    }

    #[test]
    fn broken_lines_are_refused() {
        for bad in [
            "eth0 1 2\n",
            "eth0: 1 2 3\n",
            ": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
        ] {
            assert!(parse(&format!("{HEAD}{bad}")).is_err(), "{bad:?}");
        }
        assert_eq!(parse(HEAD).unwrap(), []);
    }
}
