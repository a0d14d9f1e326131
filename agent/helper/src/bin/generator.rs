//! The program `nodemedic-generator`, which systemd runs at boot and at each reload, before it
//! reads any unit: masks what is fenced. Whatever happens it ends well: a boot must not hang on it.

use std::io::Write as _;
use std::path::PathBuf;

use nodemedic_helper::{STATE, generator};

/// systemd.generator(7): the directories for normal, early and late units.
const EARLY: usize = 2;

fn main() {
    let early = std::env::args_os().nth(EARLY).map(PathBuf::from);
    let wrong = match early {
        Some(early) => generator::run(STATE.as_ref(), &early),
        None => vec!["run by systemd alone: NORMAL EARLY LATE".to_owned()],
    };
    // There is no journal yet; the kernel's log goes there later. Restoring says it again.
    let mut log = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .ok();
    for line in wrong {
        let line = format!("nodemedic-generator: {line}\n");
        match &mut log {
            Some(log) => drop(log.write_all(format!("<3>{line}").as_bytes())),
            None => eprint!("{line}"),
        }
    }
}
