//! Our packages on a booted host: found, installed, and asked how their units are.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::nspawn::Host;
use crate::wait::wait_for;

/// A unit starts in milliseconds; the rest is a loaded machine.
const UNIT_LIMIT: Duration = Duration::from_secs(60);

/// The newest built package of a name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn package(name: &str) -> PathBuf {
    let dist = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../dist");
    let entries = fs::read_dir(&dist).into_iter().flatten().flatten();
    let of_name = |path: &PathBuf| {
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        file.starts_with(&format!("{name}_")) && file.ends_with(".deb")
    };
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(of_name).collect();
    found.sort_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    found.pop().unwrap_or_else(|| {
        panic!("dist/ holds no package {name}: run `cargo xtask package --profile dev` first")
    })
}

/// Installs packages in a host.
///
/// # Panics
/// When dpkg refuses.
pub fn install(host: &Host, names: &[&str]) {
    for name in names {
        let to = format!("/root/{name}.deb");
        host.copy_in(&package(name), &to);
        host.run(&["dpkg", "--install", &to]);
    }
}

/// A property of a unit in a host.
#[must_use]
pub fn property(host: &Host, unit: &str, name: &str) -> String {
    host.run(&["systemctl", "show", "--property", name, "--value", unit])
        .trim()
        .to_owned()
}

/// Waits until a unit in a host is active.
///
/// # Panics
/// When it is not in time.
pub fn until_active(host: &Host, unit: &str) {
    wait_for(
        &format!("{unit} is active"),
        UNIT_LIMIT,
        || match property(host, unit, "ActiveState") {
            state if state == "active" => Ok(()),
            state => {
                let log = host
                    .try_run(&["journalctl", "--no-pager", "-n", "30", "-u", unit])
                    .output;
                Err(format!("{state}\n{log}"))
            }
        },
    );
}
