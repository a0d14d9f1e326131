//! Where systemd will put a unit, before it does: `unit_default_cgroup_path()` of systemd's
//! src/core/cgroup.c. Pure. What it says is compared with the unit's own word after the start.

/// What the path follows from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupPath {
    /// The manager's own root; empty or `/` on a host.
    pub root: String,
    /// The unit's slice.
    pub slice: String,
    /// Where it is now; empty when it does not run.
    pub now: String,
}

/// Names that begin with one of these and a dot would be files of the kernel: cgroup_controller in
/// systemd's src/basic/cgroup-util.h.
const CONTROLLERS: [&str; 15] = [
    "cgroup",
    "cpu",
    "cpuacct",
    "cpuset",
    "io",
    "blkio",
    "memory",
    "devices",
    "pids",
    "bpf-firewall",
    "bpf-devices",
    "bpf-foreign",
    "bpf-socket-bind",
    "bpf-restrict-network-interfaces",
    "bpf-bind-network-interface",
];

/// Files of the kernel in every group of version 1.
const RESERVED: [&str; 3] = ["notify_on_release", "release_agent", "tasks"];

impl CgroupPath {
    /// Of this unit.
    #[must_use]
    pub fn of(&self, unit: &str) -> String {
        if self.now.len() > 1 {
            return self.now.clone();
        }
        let mut path = self.root.trim_end_matches('/').to_owned();
        for part in slices(&self.slice).iter().map(String::as_str).chain([unit]) {
            path.push('/');
            path.push_str(&escaped(part));
        }
        path
    }
}

/// `a-b.slice` lies in `a.slice`; `-.slice` is the root.
fn slices(slice: &str) -> Vec<String> {
    let name = slice.strip_suffix(".slice").unwrap_or(slice);
    if name == "-" {
        return Vec::new();
    }
    let ends = name.match_indices('-').map(|(at, _)| at);
    ends.chain([name.len()])
        .map(|end| format!("{}.slice", &name[..end]))
        .collect()
}

fn escaped(name: &str) -> String {
    let reserved = RESERVED.contains(&name);
    let controller = CONTROLLERS
        .iter()
        .filter_map(|controller| name.strip_prefix(controller))
        .any(|rest| rest.starts_with('.'));
    if reserved || controller || name.starts_with(['_', '.']) {
        format!("_{name}")
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(root: &str, slice: &str, unit: &str) -> String {
        let path = CgroupPath {
            root: root.into(),
            slice: slice.into(),
            now: String::new(),
        };
        path.of(unit)
    }

    #[test]
    fn paths_are_those_of_systemd() {
        for (root, slice, unit, wanted) in [
            (
                "",
                "system.slice",
                "web.service",
                "/system.slice/web.service",
            ),
            (
                "/",
                "system-orders.slice",
                "orders@orders.service",
                "/system.slice/system-orders.slice/orders@orders.service",
            ),
            (
                "/lxc/one",
                "system-my\\x2dapp.slice",
                "my-app@a.service",
                "/lxc/one/system.slice/system-my\\x2dapp.slice/my-app@a.service",
            ),
            ("", "-.slice", "x.service", "/x.service"),
            (
                "",
                "a-b-c.slice",
                "x.service",
                "/a.slice/a-b.slice/a-b-c.slice/x.service",
            ),
            (
                "",
                "system.slice",
                "memory.service",
                "/system.slice/_memory.service",
            ),
            (
                "",
                "system.slice",
                "memoryless.service",
                "/system.slice/memoryless.service",
            ),
            (
                "",
                "system.slice",
                "_x.service",
                "/system.slice/__x.service",
            ),
        ] {
            assert_eq!(path(root, slice, unit), wanted);
        }
    }

    #[test]
    fn where_it_is_now_counts_more_than_any_rule() {
        let path = CgroupPath {
            root: String::new(),
            slice: "system.slice".into(),
            now: "/elsewhere/x.service".into(),
        };
        assert_eq!(path.of("x.service"), "/elsewhere/x.service");
    }
}
