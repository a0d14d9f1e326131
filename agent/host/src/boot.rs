//! Which boot and which run this is.

use std::io::{self, Read};
use std::path::Path;

use nodemedic_protocol::message::Session;
use nodemedic_protocol::{BootId, SessionId};

/// Random bytes of a name: as many as a UUID has.
const NAME_BYTES: usize = 16;

/// This boot, by the kernel's own id, and a fresh name for this run.
///
/// # Errors
/// When proc is not there, or the kernel gives no random bytes.
pub fn session(proc_root: &Path) -> io::Result<Session> {
    Ok(Session {
        boot_id: boot_id(proc_root)?,
        session_id: SessionId::new(random_name()?).map_err(io::Error::other)?,
    })
}

/// This boot.
///
/// # Errors
/// When proc is not there: mount it, or set `proc_root`.
pub fn boot_id(proc_root: &Path) -> io::Result<BootId> {
    let path = proc_root.join("sys/kernel/random/boot_id");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let text = format!("cannot read {}: {error}; set proc_root", path.display());
        io::Error::new(error.kind(), text)
    })?;
    BootId::new(text.trim()).map_err(io::Error::other)
}

/// The kernel's name for the host.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// A name that nobody has used before.
///
/// # Errors
/// When the kernel gives no random bytes.
pub fn random_name() -> io::Result<String> {
    let bytes: [u8; NAME_BYTES] = random()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A number that nobody can guess; never 0.
///
/// # Errors
/// When the kernel gives no random bytes.
pub fn random_number() -> io::Result<u64> {
    Ok(u64::from_le_bytes(random()?).max(1))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_of_one_boot_differ_in_their_session_only() {
        let one = session(Path::new("/proc")).unwrap();
        let two = session(Path::new("/proc")).unwrap();
        assert_eq!(one.boot_id, two.boot_id);
        assert_ne!(one.session_id, two.session_id);
    }

    #[test]
    fn a_wrong_root_says_what_to_set() {
        let error = boot_id(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(error.contains("set proc_root"), "{error}");
    }
}
