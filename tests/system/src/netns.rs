//! A switch and machines on it, each a network namespace: cables that a test pulls, and ways that
//! carry frames in one direction only.
//!
//! Needs root, iproute2 and nftables. Names hold the test's process number, so that runs do not
//! meet, and what a killed run left behind is found and removed by the next.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use crate::tool::tool;

/// All namespaces of all runs begin so.
const PREFIX: &str = "nmtest";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A switch with its machines.
pub struct Net {
    name: String,
    members: Vec<String>,
    drops: RefCell<BTreeSet<(String, String)>>,
}

impl Net {
    /// Makes the switch and one namespace for each member, all connected.
    ///
    /// # Panics
    /// When this machine cannot make them.
    #[must_use]
    pub fn new(members: &[&str]) -> Net {
        assert!(
            nix::unistd::geteuid().is_root(),
            "network namespaces need root: run the tests as root"
        );
        remove_leftovers();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let net = Net {
            name: format!("{PREFIX}-{}-{number}", std::process::id()),
            members: members.iter().map(|&m| m.to_owned()).collect(),
            drops: RefCell::default(),
        };
        let switch = net.switch();
        tool("ip", &["netns", "add", &switch]);
        tool(
            "ip",
            &["-n", &switch, "link", "add", "switch", "type", "bridge"],
        );
        tool("ip", &["-n", &switch, "link", "set", "switch", "up"]);
        let chain = "{ type filter hook forward priority 0 ; }";
        net.nft(&["add", "table", "bridge", "faults"]);
        net.nft(&["add", "chain", "bridge", "faults", "drops", chain]);
        for member in &net.members {
            net.plug(member);
        }
        net
    }

    fn plug(&self, member: &str) {
        let (switch, space) = (self.switch(), self.namespace(member));
        tool("ip", &["netns", "add", &space]);
        tool("ip", &["-n", &space, "link", "set", "lo", "up"]);
        let pair = [
            "link", "add", member, "type", "veth", "peer", "name", "eth0", "netns",
        ];
        let words: Vec<&str> = ["-n", &switch].into_iter().chain(pair).collect();
        tool("ip", &[words.as_slice(), &[&space]].concat());
        tool(
            "ip",
            &[
                "-n", &switch, "link", "set", member, "master", "switch", "up",
            ],
        );
        let address = format!("{}/24", self.address(member));
        tool(
            "ip",
            &["-n", &space, "addr", "add", &address, "dev", "eth0"],
        );
        tool("ip", &["-n", &space, "link", "set", "eth0", "up"]);
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.name)
    }

    fn nft(&self, words: &[&str]) {
        let switch = self.switch();
        let whole = [&["netns", "exec", &switch, "nft"], words].concat();
        tool("ip", &whole);
    }

    /// The name of a member's namespace.
    #[must_use]
    pub fn namespace(&self, member: &str) -> String {
        format!("{}-{member}", self.name)
    }

    /// A member's address; the switch lies in a namespace too, so every run has the same.
    ///
    /// # Panics
    /// When there is no such member.
    #[must_use]
    pub fn address(&self, member: &str) -> Ipv4Addr {
        let index = self.members.iter().position(|m| m == member);
        let number = index.and_then(|i| u8::try_from(i + 1).ok());
        Ipv4Addr::new(10, 77, 0, number.expect("a member"))
    }

    /// Pulls a member's cable.
    pub fn cut(&self, member: &str) {
        tool("ip", &["-n", &self.switch(), "link", "set", member, "down"]);
    }

    /// Plugs a member's cable in again.
    pub fn join(&self, member: &str) {
        tool("ip", &["-n", &self.switch(), "link", "set", member, "up"]);
    }

    /// From now on nothing comes through from one member to another. The way back is open.
    pub fn drop_frames(&self, from: &str, to: &str) {
        let way = (from.to_owned(), to.to_owned());
        self.drops.borrow_mut().insert(way);
        self.write_drops();
    }

    /// What was dropped from one member to another comes through again.
    pub fn pass_frames(&self, from: &str, to: &str) {
        let way = (from.to_owned(), to.to_owned());
        self.drops.borrow_mut().remove(&way);
        self.write_drops();
    }

    /// All rules anew, in one transaction.
    fn write_drops(&self) {
        let mut text = String::from("flush chain bridge faults drops\n");
        for (from, to) in self.drops.borrow().iter() {
            let _ = writeln!(
                text,
                "add rule bridge faults drops iifname {from} oifname {to} drop"
            );
        }
        self.nft(&[&text]);
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let switch = self.switch();
        let spaces = self.members.iter().map(|m| self.namespace(m));
        for space in spaces.chain([switch]) {
            remove(&space);
        }
    }
}

/// A command that runs in a namespace, with the network as /sys shows it there.
#[must_use]
pub fn command(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// Calls `f` on a thread in a namespace. Sockets that it opens stay there.
///
/// # Panics
/// When there is no such namespace, or when `f` does.
pub fn within<T: Send>(namespace: &str, f: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        let path = format!("/run/netns/{namespace}");
        let file = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        setns(file, CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("enter {path}: {e}"));
        f()
    };
    let ended = std::thread::scope(|scope| scope.spawn(enter).join());
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}

/// A namespace goes when its last process has gone; its name goes now.
fn remove(namespace: &str) {
    let mut command = Command::new("ip");
    command.args(["netns", "del", namespace]);
    let _ = crate::tool::bounded(command, std::time::Duration::from_secs(10));
}

/// Namespaces of runs that were killed before they could clean up.
fn remove_leftovers() {
    let entries = std::fs::read_dir("/run/netns")
        .into_iter()
        .flatten()
        .flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let mut parts = name.split('-');
        let (prefix, run) = (parts.next(), parts.next());
        let Some(run) = run.filter(|_| prefix == Some(PREFIX)) else {
            continue;
        };
        if !Path::new("/proc").join(run).exists() {
            remove(&name);
        }
    }
}
