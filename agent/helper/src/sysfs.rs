//! Takes a device from its driver and gives it back, by the kernel's files for that
//! (Documentation/ABI/testing/sysfs-bus-pci and its like).

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::deeds::Rebind;

/// Unbinds, binds, and reads back whose the device is. It blocks as long as the driver does.
///
/// # Errors
/// When there is no such device, another driver has it, or the driver does not take it.
pub fn rebind(sys: &Path, rebind: &Rebind) -> Result<String, String> {
    let (bus, name) = rebind.place()?;
    let bus = sys.join("bus").join(bus);
    let device = bus.join("devices").join(name);
    if !device.exists() {
        return Err(format!("there is no device {}", rebind.device.display()));
    }
    let driver = bus.join("drivers").join(&rebind.driver);
    match driver_of(&device) {
        Some(own) if own == rebind.driver => write(&driver.join("unbind"), name)?,
        Some(other) => {
            let device = rebind.device.display();
            return Err(format!(
                "{device} belongs to {other}, not to {}",
                rebind.driver
            ));
        }
        // Taken from it before, and not given back.
        None => {}
    }
    write(&driver.join("bind"), name)?;
    match driver_of(&device) {
        Some(own) if own == rebind.driver => Ok(format!("{name} is bound to {own} again")),
        _ => Err(format!("{name} was not taken by {}", rebind.driver)),
    }
}

fn driver_of(device: &Path) -> Option<String> {
    let link: PathBuf = std::fs::read_link(device.join("driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let file = OpenOptions::new().write(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| format!("cannot write {text} to {}: {error}", path.display()))
}
