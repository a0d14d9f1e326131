//! The mask of a fenced service: a link to /dev/null where systemd looks before /etc.
//!
//! `systemctl mask --runtime` links in /run/systemd/system, which loses against a unit file of the
//! administrator in /etc. The directory for units that are controlled at run time comes before both
//! (systemd.unit(5), "Unit File Load Path") and is as gone after a reboot; then the generator
//! makes the link in its own early directory, from the durable list.

use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use nodemedic_edge::files;

use crate::hands::Places;
use crate::systemctl;

/// What a mask points to.
pub const NOTHING: &str = "/dev/null";

/// Masks a unit and reads back that systemd sees it so.
///
/// # Errors
/// When the link cannot be made, or systemd does not take it.
pub async fn put(places: &Places, unit: &str) -> Result<(), String> {
    link(&places.units, unit)?;
    systemctl::reload(&places.systemctl).await?;
    match load_state(places, unit).await?.as_str() {
        "masked" => Ok(()),
        other => Err(format!(
            "{unit} was masked in {}, but systemd says that it is {other}",
            places.units.display()
        )),
    }
}

/// Takes our mask off and makes systemd see it. One of somebody else stays, and is told.
///
/// # Errors
/// When the link cannot be removed, or systemd does not reload.
pub async fn lift(places: &Places, unit: &str) -> Result<Option<&'static str>, String> {
    unlink(&places.units, unit)?;
    systemctl::reload(&places.systemctl).await?;
    let masked = load_state(places, unit).await? == "masked";
    Ok(masked.then_some("still masked, by somebody else"))
}

/// Whether systemd has it masked.
///
/// # Errors
/// When systemd does not say.
pub async fn load_state(places: &Places, unit: &str) -> Result<String, String> {
    systemctl::property(&places.systemctl, unit, "LoadState").await
}

/// Makes the link; one that is there already is as good.
///
/// # Errors
/// When something else is there, or it cannot be made.
pub fn link(directory: &Path, unit: &str) -> Result<(), String> {
    files::ensure_dir(directory, 0o755).map_err(|error| error.to_string())?;
    let path = directory.join(unit);
    match symlink(NOTHING, &path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_mask(&path) => Ok(()),
        Err(error) => Err(format!("cannot mask by {}: {error}", path.display())),
    }
}

fn unlink(directory: &Path, unit: &str) -> Result<(), String> {
    let path = directory.join(unit);
    if !is_mask(&path) {
        return Ok(());
    }
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(format!("cannot unmask by {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

fn is_mask(path: &Path) -> bool {
    std::fs::read_link(path).is_ok_and(|to| to == Path::new(NOTHING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_can_be_put_twice_and_what_is_no_mask_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let units = dir.path().join("control");
        link(&units, "web.service").unwrap();
        link(&units, "web.service").unwrap();
        assert!(is_mask(&units.join("web.service")));
        unlink(&units, "web.service").unwrap();
        unlink(&units, "web.service").unwrap();
        assert!(!units.join("web.service").exists());
        files::write_atomic(&units.join("own.service"), b"[Service]\n", 0o644).unwrap();
        let error = link(&units, "own.service").unwrap_err();
        assert!(error.starts_with("cannot mask by "), "{error}");
        unlink(&units, "own.service").unwrap();
        assert!(units.join("own.service").exists(), "not ours");
    }
}
