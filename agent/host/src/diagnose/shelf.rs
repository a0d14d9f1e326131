//! Where bundles are kept: one file each, with a bound on their number and on their bytes.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nodemedic_edge::files;
use nodemedic_protocol::Component;
use nodemedic_protocol::diagnose::{Bundle, BundleInfo};

/// Bundles that are kept at most.
pub const BUNDLES_MAX: usize = 50;

/// Of one unit: one that fails all day must not push out what others left.
pub const OF_ONE_MAX: usize = 10;

/// Bytes that all of them may take.
pub const BYTES_MAX: u64 = 20 << 20;

/// One bundle has ten sections of at most 64 KiB, which escapes in JSON may swell.
const BUNDLE_MAX_BYTES: usize = 4 << 20;

/// Its owner and group may read: a log may hold what is nobody's business.
const MODE: u32 = 0o640;
const DIRECTORY_MODE: u32 = 0o750;

/// All bundles of this host.
#[derive(Debug)]
pub struct Shelf {
    directory: PathBuf,
    /// One writer at a time: numbers and retention.
    writing: Mutex<()>,
}

/// A file on the shelf.
#[derive(Clone, Debug)]
struct Kept {
    number: u64,
    about: String,
    path: PathBuf,
    bytes: u64,
}

impl Shelf {
    /// The shelf in this directory, which is made at the first bundle.
    #[must_use]
    pub const fn new(directory: PathBuf) -> Shelf {
        Shelf {
            directory,
            writing: Mutex::new(()),
        }
    }

    /// Keeps a bundle and gives its name; older ones make room.
    ///
    /// # Errors
    /// When the disk refuses; the message says what to do.
    pub fn put(&self, mut bundle: Bundle) -> Result<String, String> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        files::ensure_dir(&self.directory, DIRECTORY_MODE).map_err(|e| e.to_string())?;
        let mut kept = self.kept()?;
        let number = kept.iter().map(|file| file.number).max().unwrap_or(0) + 1;
        let about = stem(&bundle.component);
        bundle.name = format!("{about}-{number}");
        let bytes = serde_json::to_vec(&bundle).map_err(|e| e.to_string())?;
        let path = self.directory.join(format!("{}.json", bundle.name));
        // Room first: a disk that is nearly full takes the new one in place of an old one.
        kept.push(Kept {
            number,
            about,
            path: path.clone(),
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        });
        for old in surplus(&kept) {
            // What is gone already makes room too.
            let _ = std::fs::remove_file(&old);
        }
        files::write_atomic(&path, &bytes, MODE).map_err(|e| e.to_string())?;
        Ok(bundle.name)
    }

    /// What is kept, oldest first; of one unit only when `of` names it.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self, of: Option<&str>) -> Result<Vec<BundleInfo>, String> {
        let mut found = Vec::new();
        for file in self.kept()? {
            if of.is_some_and(|of| !is_about(&file.about, of)) {
                continue;
            }
            // One that went away meanwhile, or is torn, is not there.
            let Ok(Some(bundle)) = read(&file.path) else {
                continue;
            };
            found.push(BundleInfo {
                name: bundle.name.clone(),
                component: bundle.component.clone(),
                why: bundle.why.clone(),
                wall: bundle.wall,
                bytes: file.bytes,
                left_out: bundle.left_out(),
            });
        }
        Ok(found)
    }

    /// One by its name, or the newest of a unit.
    ///
    /// # Errors
    /// When there is none; the message says what there is.
    pub fn get(&self, name: &str) -> Result<Bundle, String> {
        let kept = self.kept()?;
        let named = |file: &&Kept| format!("{}-{}", file.about, file.number) == name;
        let newest = kept.iter().rfind(|file| is_about(&file.about, name));
        let Some(file) = kept.iter().find(named).or(newest) else {
            return Err(format!(
                "there is no bundle of {name:?}: `nodemedic diagnose --list` shows those there \
                 are, `nodemedic diagnose {name} --now` takes one"
            ));
        };
        let gone = || format!("{} is gone", file.path.display());
        read(&file.path)?.ok_or_else(gone)
    }

    /// Oldest first.
    fn kept(&self) -> Result<Vec<Kept>, String> {
        let failed = |e: std::io::Error| format!("cannot list {}: {e}", self.directory.display());
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut kept = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((about, number)) = parts(&name) else {
                continue;
            };
            kept.push(Kept {
                number,
                about: about.to_owned(),
                path: entry.path(),
                bytes: entry.metadata().map_or(0, |meta| meta.len()),
            });
        }
        kept.sort_by_key(|file| file.number);
        Ok(kept)
    }
}

fn parts(file: &str) -> Option<(&str, u64)> {
    let (about, number) = file.strip_suffix(".json")?.rsplit_once('-')?;
    Some((about, number.parse().ok()?))
}

/// `service.web`, `work.ledger`.
fn stem(component: &Component) -> String {
    match component {
        Component::Service(name) => format!("service.{name}"),
        Component::Work(name) => format!("work.{name}"),
        _ => "host".to_owned(),
    }
}

/// Whether a person who says `web`, or `service.web`, means this.
fn is_about(about: &str, said: &str) -> bool {
    let bare = about.split_once('.').map_or(about, |(_, name)| name);
    about == said || bare == said
}

/// What must go: of each unit and of all of them the oldest beyond the bounds, never the newest.
fn surplus(kept: &[Kept]) -> Vec<PathBuf> {
    let mut gone = Vec::new();
    let (mut count, mut bytes) = (0, 0_u64);
    for (at, file) in kept.iter().enumerate().rev() {
        let of_one = kept[at..].iter().filter(|k| k.about == file.about).count();
        count += 1;
        bytes = bytes.saturating_add(file.bytes);
        let newest = at + 1 == kept.len();
        if !newest && (count > BUNDLES_MAX || bytes > BYTES_MAX || of_one > OF_ONE_MAX) {
            gone.push(file.path.clone());
        }
    }
    gone
}

fn read(path: &Path) -> Result<Option<Bundle>, String> {
    let bytes = files::read_capped(path, BUNDLE_MAX_BYTES).map_err(|e| e.to_string())?;
    let Some(bytes) = bytes else { return Ok(None) };
    let bundle = serde_json::from_slice(&bytes);
    let bundle = bundle.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(Some(bundle))
}
