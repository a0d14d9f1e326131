//! Fills a filesystem: a small one of the agent's own, made for this, or a file in a directory that
//! the configuration allows.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nodemedic_edge::files;
use rustix::fs::{FallocateFlags, OFlags, fallocate, statvfs};

use super::Settings;
use super::record::{Record, Records, Undo};
use crate::sampler::mounts::INJECTED;

/// Bounds of the scratch filesystem: it lies in memory.
const SCRATCH_MIN_BYTES: u64 = 1 << 20;
const SCRATCH_MAX_BYTES: u64 = 256 << 20;

/// Of somebody's filesystem this share stays free: what is critical is reached (3 % by default),
/// and nothing else on it breaks.
const LEFT_FREE_PERCENT: u64 = 1;

const MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
const CHUNK_BYTES: usize = 64 << 10;

/// Mounts a tmpfs and fills it to its last byte. Samplers know it by its source.
pub async fn scratch(
    settings: &Settings,
    records: &Records,
    record: &mut Record,
    bytes: u64,
) -> Result<(), String> {
    if !(SCRATCH_MIN_BYTES..=SCRATCH_MAX_BYTES).contains(&bytes) {
        return Err(format!(
            "a scratch filesystem has from {SCRATCH_MIN_BYTES} to {SCRATCH_MAX_BYTES} bytes"
        ));
    }
    let path = settings.scratch.join(format!("scratch-{}", record.id));
    record.undo = Undo::Unmount { path: path.clone() };
    records.keep(record)?;
    record.detail = format!("filled {}", path.display());
    blocking(move || {
        files::ensure_dir(&path, DIRECTORY_MODE).map_err(|e| e.to_string())?;
        let options = format!("size={bytes},mode=0700");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(
            Some(INJECTED),
            &path,
            Some("tmpfs"),
            flags,
            Some(options.as_str()),
        )
        .map_err(|errno| {
            format!(
                "cannot mount a scratch filesystem on {}: {errno}; the agent needs \
                     CAP_SYS_ADMIN for that. Without it, name a directory (--path) that [inject] \
                     fill_paths allows",
                path.display()
            )
        })?;
        fill(&path.join("full"))
    })
    .await
}

/// Writes until nothing more fits.
fn fill(path: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let mut file = new_file(path).map_err(failed)?;
    let chunk = vec![0; CHUNK_BYTES];
    // Its size is bounded, so this ends.
    loop {
        match file.write(&chunk) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
    }
}

fn new_file(path: &Path) -> std::io::Result<std::fs::File> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .custom_flags(flags)
        .open(path)
}

/// Takes so many bytes of a directory that is allowed.
pub async fn directory(
    records: &Records,
    record: &mut Record,
    path: PathBuf,
    bytes: u64,
    allowed: &[PathBuf],
) -> Result<(), String> {
    let (name, allowed) = (
        format!("nodemedic-inject-{}.fill", record.id),
        allowed.to_vec(),
    );
    let file = blocking(move || place(&path, &allowed, bytes).map(|real| real.join(name))).await?;
    record.undo = Undo::Remove { path: file.clone() };
    record.detail = format!("reserved {bytes} bytes in {}", file.display());
    if file.exists() {
        record.undo = Undo::Nothing;
        return Err(format!("{} is there already: remove it", file.display()));
    }
    records.keep(record)?;
    blocking(move || {
        let made = new_file(&file).and_then(|made| {
            fallocate(made, FallocateFlags::empty(), 0, bytes).map_err(std::io::Error::from)
        });
        made.map_err(|error| {
            format!(
                "cannot reserve {bytes} bytes in {}: {error}",
                file.display()
            )
        })
    })
    .await
}

/// The real directory, if it is allowed and has room.
fn place(path: &Path, allowed: &[PathBuf], bytes: u64) -> Result<PathBuf, String> {
    let real = |path: &Path| {
        let real = std::fs::canonicalize(path);
        real.map_err(|error| format!("cannot use {}: {error}", path.display()))
    };
    let wanted = real(path)?;
    // One that is not there allows nothing.
    let may = |root: &PathBuf| real(root).is_ok_and(|root| wanted.starts_with(root));
    if !allowed.iter().any(may) {
        return Err(format!(
            "{} is not allowed: name it, or a directory above it, in [inject] fill_paths of the \
             agent's configuration",
            wanted.display()
        ));
    }
    let space = statvfs(&wanted).map_err(|e| format!("cannot ask {}: {e}", wanted.display()))?;
    let available = space.f_bavail.saturating_mul(space.f_frsize);
    let reserve = space.f_blocks.saturating_mul(space.f_frsize) / 100 * LEFT_FREE_PERCENT;
    if bytes == 0 || bytes.saturating_add(reserve) > available {
        return Err(format!(
            "{} has room for {} bytes: {LEFT_FREE_PERCENT} % of the filesystem stays free",
            wanted.display(),
            available.saturating_sub(reserve)
        ));
    }
    Ok(wanted)
}

/// Unmounts a scratch filesystem and removes its directory.
pub async fn unmount(path: &Path) -> Result<(), String> {
    let path = path.to_owned();
    blocking(move || {
        match umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // Not there, or no mount point: it was never mounted.
            Ok(()) | Err(nix::errno::Errno::ENOENT | nix::errno::Errno::EINVAL) => {}
            Err(errno) => return Err(format!("cannot unmount {}: {errno}", path.display())),
        }
        gone(std::fs::remove_dir(&path), &path)
    })
    .await
}

/// Removes a file.
pub async fn remove(path: &Path) -> Result<(), String> {
    let path = path.to_owned();
    blocking(move || gone(std::fs::remove_file(&path), &path)).await
}

fn gone(removed: std::io::Result<()>, path: &Path) -> Result<(), String> {
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    job: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(job).await;
    done.unwrap_or_else(|error| Err(format!("its helper thread broke off: {error}")))
}
