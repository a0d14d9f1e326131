//! Mounts a declared mount point read-write again, once.

use std::path::Path;

use super::blocking;
use crate::mounts::remount;

pub(super) async fn act(place: &Path) -> Result<String, String> {
    let place = place.to_owned();
    blocking(move || remount(&place)).await
}
