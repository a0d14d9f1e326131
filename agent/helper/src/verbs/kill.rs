//! Kills everything in the cgroup of a unit and sees it empty.

use super::Warrant;
use crate::allow::Allow;
use crate::cgroup;
use crate::hands::Hands;

pub(super) fn may(allow: &Allow, unit: &str, group: &str) -> Result<Warrant, String> {
    allow.unit(unit)?;
    let mut parts = group.trim_start_matches('/').rsplit('/');
    let last = parts.next().unwrap_or_default();
    // systemd escapes a name that the kernel uses itself with an underscore.
    let is_unit = last == unit || last.strip_prefix('_') == Some(unit);
    if !is_unit || parts.any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("{group} is not the cgroup of {unit}"));
    }
    Ok(Warrant::default())
}

pub(super) async fn act(hands: &Hands, group: &str) -> Result<String, String> {
    let killed = cgroup::kill(&hands.places.cgroups, group).await?;
    Ok(format!("{killed} processes killed, and none is left"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn only_a_group_with_the_name_of_an_allowed_unit_is_killed() {
        let allow = Allow {
            services: BTreeMap::from([("web.service".to_owned(), BTreeSet::new())]),
            templates: Some(BTreeSet::new()),
            remedies: BTreeMap::new(),
        };
        may(&allow, "web.service", "/system.slice/web.service").unwrap();
        may(&allow, "web.service", "/system.slice/_web.service").unwrap();
        for (unit, group) in [
            ("ssh.service", "/system.slice/ssh.service"),
            ("web.service", "/system.slice/ssh.service"),
            ("web.service", "/system.slice"),
            ("web.service", "/"),
            ("web.service", ""),
            ("web.service", "/system.slice/../ssh.service/web.service"),
            ("web.service", "/system.slice/web.service/"),
            ("web.service", "/system.slice/web.service/.."),
        ] {
            assert!(may(&allow, unit, group).is_err(), "{unit} {group}");
        }
    }
}
