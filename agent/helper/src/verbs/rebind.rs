//! Takes a declared device from its driver and gives it back.

use super::blocking;
use crate::deeds::Rebind;
use crate::hands::Hands;
use crate::sysfs;

pub(super) async fn act(hands: &Hands, rebind: &Rebind) -> Result<String, String> {
    let (sys, rebind) = (hands.places.sys.clone(), rebind.clone());
    blocking(move || sysfs::rebind(&sys, &rebind)).await
}
