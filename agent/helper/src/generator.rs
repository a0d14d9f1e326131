//! What keeps a fenced service out from the first moment of a boot: a generator of systemd, see
//! systemd.generator(7). It masks what is on the list in the directory that comes before /etc.
//!
//! It never fails the boot: what it cannot do it says, and the boot goes on.

use std::path::Path;

use crate::{fenced, mask};

/// Masks in `early` what is on the list in `state`; gives what went wrong, for the log.
pub fn run(state: &Path, early: &Path) -> Vec<String> {
    let (list, mut wrong) = match fenced::read(state) {
        Ok((list, wrong)) => (list, wrong),
        Err(error) => (fenced::Fenced::new(), vec![error]),
    };
    for unit in list.keys().filter(|unit| unit.ends_with(".service")) {
        if let Err(error) = mask::link(early, unit) {
            wrong.push(error);
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_the_list_is_masked_and_a_broken_list_breaks_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (state, early) = (dir.path().join("state"), dir.path().join("early"));
        assert_eq!(run(&state, &early), [""; 0], "no list is no mistake");
        std::fs::create_dir(&state).unwrap();
        let text = b"web.service tcp/80\n/etc/passwd\nsession.scope\n\xff\xfe\ndb.service x\n";
        nodemedic_edge::files::write_atomic(&fenced::path(&state), text, 0o644).unwrap();
        let wrong = run(&state, &early);
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        let mut made: Vec<_> = std::fs::read_dir(&early)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        made.sort();
        assert_eq!(made, ["db.service", "web.service"]);
        std::fs::remove_file(fenced::path(&state)).unwrap();
        std::fs::create_dir(fenced::path(&state)).unwrap();
        assert_eq!(run(&state, &early).len(), 1, "a list that is none is told");
    }
}
