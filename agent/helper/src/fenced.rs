//! The durable list of what is kept out: a line for each unit, with its blocked ports. Root's own;
//! read at each boot before any service starts, so a broken line costs itself and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nodemedic_edge::files;

use crate::names;
use crate::ports::Port;

/// Many times what a host has services.
const LIST_MAX_BYTES: usize = 256 << 10;

const HEAD: &str = "\
# What nodemedic keeps out on this host: a unit, then its blocked ports. Take a unit off with
# nodemedic-helper unfence UNIT
";

/// The units and their ports.
pub type Fenced = BTreeMap<String, BTreeSet<Port>>;

/// The file below the state directory.
#[must_use]
pub fn path(state: &Path) -> PathBuf {
    state.join("fenced")
}

/// Reads the list; what cannot be understood is told and left out.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn read(state: &Path) -> Result<(Fenced, Vec<String>), String> {
    let bytes = files::read_capped(&path(state), LIST_MAX_BYTES).map_err(|e| e.to_string())?;
    Ok(parse(&String::from_utf8_lossy(&bytes.unwrap_or_default())))
}

fn parse(text: &str) -> (Fenced, Vec<String>) {
    let (mut fenced, mut wrong) = (Fenced::new(), Vec::new());
    let lines = text.lines().map(str::trim).enumerate();
    for (at, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let unit = words.next().unwrap_or_default();
        if !names::is_unit(unit) {
            wrong.push(format!("line {}: {unit:?} is no name of a unit", at + 1));
            continue;
        }
        let ports: &mut BTreeSet<Port> = fenced.entry(unit.to_owned()).or_default();
        for word in words {
            match word.parse() {
                Ok(port) => {
                    ports.insert(port);
                }
                Err(error) => wrong.push(format!("line {}: {error}", at + 1)),
            }
        }
    }
    (fenced, wrong)
}

/// Replaces the list, durably.
///
/// # Errors
/// When it cannot be written.
pub fn write(state: &Path, fenced: &Fenced) -> Result<(), String> {
    let mut text = HEAD.to_owned();
    for (unit, ports) in fenced {
        text.push_str(unit);
        for port in ports {
            text.push(' ');
            text.push_str(&port.to_string());
        }
        text.push('\n');
    }
    files::ensure_dir(state, 0o755).map_err(|error| error.to_string())?;
    files::write_atomic(&path(state), text.as_bytes(), 0o644).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_no_file_is_an_empty_list() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Default::default());
        let ports = BTreeSet::from(["tcp/80".parse().unwrap(), "udp/53".parse().unwrap()]);
        let fenced = Fenced::from([
            ("web.service".into(), ports),
            ("a@b.service".into(), BTreeSet::new()),
        ]);
        write(dir.path(), &fenced).unwrap();
        assert_eq!(read(dir.path()).unwrap(), (fenced, Vec::new()));
    }

    #[test]
    fn a_broken_line_costs_itself_and_is_told() {
        let text = "web.service tcp/80\n../../etc/x.service\n\u{0}\u{1}garbage\n\n# told\n\
                    db.service tcp/99999 udp/1\n";
        let (fenced, wrong) = parse(text);
        assert_eq!(
            fenced.keys().collect::<Vec<_>>(),
            ["db.service", "web.service"]
        );
        assert_eq!(fenced["db.service"].len(), 1);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong[0].starts_with("line 2: "), "{wrong:?}");
    }
}
