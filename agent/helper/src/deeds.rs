//! What a remedy of the host does, as `[remedy.NAME]` of the agent's configuration declares it.
//!
//! Requests name the remedy; what it touches stands here, where only root writes. Each deed is
//! checked when it is read: a path that must never be touched is a mistake of the configuration,
//! and not a refusal in the night.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use nodemedic_edge::config::span;
use nodemedic_protocol::Millis;
use serde::{Deserialize, Serialize};

use crate::names;

/// What a remedy does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Removes old files of declared directories.
    Clean(Clean),
    /// Mounts what became read-only read-write again.
    Remount(PathBuf),
    /// Takes an interface down and up.
    Bounce(Bounce),
    /// Takes a device from its driver and gives it back.
    Rebind(Rebind),
    /// Restarts units, one after the other.
    Restart(Vec<String>),
    /// Asks systemd for a clean reboot.
    Reboot,
}

/// Which files go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clean {
    /// Exactly these; nothing below them.
    pub directories: Vec<PathBuf>,
    /// Their names: `*` stands for any letters, `?` for one. A leading dot must be written.
    pub pattern: String,
    /// Not written for so long.
    #[serde(with = "span")]
    pub older_than: Millis,
}

/// Which interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounce {
    /// Its kernel name.
    pub interface: String,
    /// Even when the connection to the broker goes through it.
    #[serde(default)]
    pub carrying_broker: bool,
}

/// Which device, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rebind {
    /// Such as `/sys/bus/pci/devices/0000:03:00.0`.
    pub device: PathBuf,
    /// Its driver, as in `/sys/bus/pci/drivers`.
    pub driver: String,
}

/// More directories, or units, than this in one remedy are a mistake of a generated file.
const LIST_MAX: usize = 64;

/// What is written all the time is never old; what is younger may be in use.
const OLDER_THAN_MIN: Millis = Millis::from_secs(60);

/// Nothing is ever cleaned there: what is there is the system, not what it has written.
const NEVER: [&str; 12] = [
    "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/boot", "/dev", "/proc", "/sys",
    "/root",
];

/// The longest name of an interface that the kernel takes.
const INTERFACE_MAX: usize = 15;

impl Deed {
    /// Whether it may be declared.
    ///
    /// # Errors
    /// The key below the remedy that is wrong, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        match self {
            Deed::Clean(clean) => clean.check().map_err(|why| ("clean", why)),
            Deed::Remount(mount) => is_plain(mount).map_err(|why| ("remount", why)),
            Deed::Bounce(bounce) => match is_interface(&bounce.interface) {
                true => Ok(()),
                false => Err((
                    "bounce",
                    format!("{:?} is no name of an interface", bounce.interface),
                )),
            },
            Deed::Rebind(rebind) => rebind.place().map(drop).map_err(|why| ("rebind", why)),
            Deed::Restart(units) => check_units(units).map_err(|why| ("restart", why)),
            Deed::Reboot => Ok(()),
        }
    }
}

impl Clean {
    fn check(&self) -> Result<(), String> {
        if self.directories.is_empty() || self.directories.len() > LIST_MAX {
            return Err(format!("directories: name 1 to {LIST_MAX} of them"));
        }
        for directory in &self.directories {
            is_plain(directory)?;
            if let Some(never) = NEVER.iter().find(|never| directory.starts_with(never)) {
                return Err(format!(
                    "{}: nothing is cleaned in {never}",
                    directory.display()
                ));
            }
        }
        if self.pattern.is_empty() || self.pattern.contains('/') {
            return Err(format!(
                "pattern: {:?} is not the name of a file; write it such as \"*.log.gz\"",
                self.pattern
            ));
        }
        if self.older_than < OLDER_THAN_MIN {
            return Err(format!(
                "older_than: at least {}",
                span::write(OLDER_THAN_MIN)
            ));
        }
        Ok(())
    }
}

impl Rebind {
    /// The bus and the device's name on it.
    ///
    /// # Errors
    /// When it is not below `/sys/bus`.
    pub fn place(&self) -> Result<(&str, &str), String> {
        let text = self.device.to_str().unwrap_or_default();
        let parts: Vec<&str> = text.split('/').collect();
        if let ["", "sys", "bus", bus, "devices", name] = parts[..]
            && is_sysfs_name(bus)
            && is_sysfs_name(name)
            && is_sysfs_name(&self.driver)
        {
            return Ok((bus, name));
        }
        Err(format!(
            "write device = \"/sys/bus/BUS/devices/NAME\" and driver = \"NAME\", as in /sys: {} \
             and {:?} are not of that form",
            self.device.display(),
            self.driver
        ))
    }
}

fn check_units(units: &[String]) -> Result<(), String> {
    if units.is_empty() || units.len() > LIST_MAX {
        return Err(format!("name 1 to {LIST_MAX} units"));
    }
    match units.iter().find(|unit| !names::is_unit(unit)) {
        None => Ok(()),
        Some(bad) => Err(format!("{bad:?} is no name of a unit")),
    }
}

/// Absolute, and nothing in it that means another place; not the root itself.
fn is_plain(path: &Path) -> Result<(), String> {
    let mut parts = path.components();
    let absolute = parts.next() == Some(Component::RootDir);
    let mut many = 0;
    let plain = parts.all(|part| {
        many += 1;
        matches!(part, Component::Normal(_))
    });
    let exact = path.to_str().is_some_and(|text| {
        !text.contains("//")
            && !text.ends_with('/')
            && !text.contains("/./")
            && !text.ends_with("/.")
    });
    match absolute && plain && exact && many > 0 {
        true => Ok(()),
        false => Err(format!(
            "{}: write an absolute path without \".\", \"..\" and \"//\", and not the root",
            path.display()
        )),
    }
}

fn is_sysfs_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ":._-".contains(c);
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain) && !matches!(name, "." | "..")
}

fn is_interface(name: &str) -> bool {
    name.len() <= INTERFACE_MAX && is_sysfs_name(name)
}

impl fmt::Display for Deed {
    /// What would be done, for who reads advice.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Clean(clean) => {
                let directories: Vec<String> = clean
                    .directories
                    .iter()
                    .map(|d| d.display().to_string())
                    .collect();
                write!(
                    f,
                    "remove files {} older than {} in {}",
                    clean.pattern,
                    span::write(clean.older_than),
                    directories.join(", ")
                )
            }
            Deed::Remount(mount) => write!(f, "mount -o remount,rw {}", mount.display()),
            Deed::Bounce(bounce) => {
                write!(
                    f,
                    "ip link set {0} down, ip link set {0} up",
                    bounce.interface
                )
            }
            Deed::Rebind(rebind) => {
                let device = rebind.device.display();
                write!(f, "unbind {device} from {0}, bind it to {0}", rebind.driver)
            }
            Deed::Restart(units) => write!(f, "systemctl restart {}", units.join(", then ")),
            Deed::Reboot => f.write_str("systemctl reboot"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(directory: &str, pattern: &str, seconds: u64) -> Deed {
        Deed::Clean(Clean {
            directories: vec![directory.into()],
            pattern: pattern.into(),
            older_than: Millis::from_secs(seconds),
        })
    }

    fn rebind(device: &str, driver: &str) -> Deed {
        Deed::Rebind(Rebind {
            device: device.into(),
            driver: driver.into(),
        })
    }

    fn bounce(interface: &str) -> Deed {
        Deed::Bounce(Bounce {
            interface: interface.into(),
            carrying_broker: false,
        })
    }

    #[test]
    fn what_means_another_place_or_the_system_itself_is_a_mistake() {
        for good in [
            clean("/var/log/app", "*.gz", 3600),
            clean("/tmp", "core.*", 60),
            Deed::Remount("/srv".into()),
            bounce("enp3s0f0"),
            rebind("/sys/bus/pci/devices/0000:03:00.0", "mpt3sas"),
            Deed::Restart(vec!["db.service".into(), "web@1.service".into()]),
            Deed::Reboot,
        ] {
            assert_eq!(good.check(), Ok(()), "{good}");
        }
        for bad in [
            clean("/", "*", 3600),
            clean("/etc", "*", 3600),
            clean("/etc/app", "*", 3600),
            clean("/usr/lib", "*", 3600),
            clean("var/log", "*", 3600),
            clean("/var/../etc", "*", 3600),
            clean("/var//log", "*", 3600),
            clean("/var/./log", "*", 3600),
            clean("/var/log/", "*", 3600),
            clean("/var/log", "", 3600),
            clean("/var/log", "app/*", 3600),
            clean("/var/log", "*", 59),
            Deed::Remount("/".into()),
            Deed::Remount("srv".into()),
            bounce(""),
            bounce("../../x"),
            bounce("anInterfaceTooLong"),
            rebind("/sys/bus/pci/devices/..", "x"),
            rebind("/sys/bus/pci/devices/a/../b", "x"),
            rebind("/sys/devices/pci0000:00", "x"),
            rebind("/sys/bus/pci/devices/0000:03:00.0", "../unbind"),
            Deed::Restart(vec![]),
            Deed::Restart(vec!["a b.service".into()]),
        ] {
            assert!(bad.check().is_err(), "{bad}");
        }
    }
}
