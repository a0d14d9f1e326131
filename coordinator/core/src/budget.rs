//! How many hosts may be out at once, who is out now, and whether one more fits. Pure.
//!
//! A host that is not [`Liveness::Alive`] is out, and so is one for which a place was reserved and
//! not given back. What takes a host out by choice reserves a place first: `reserve.rs`.
//! docs/safety.md has the argument.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use nodemedic_protocol::NodeId;
use nodemedic_protocol::api::{Liveness, Purpose};

/// How much of a fleet, and of each failure domain in it, may be out before no further host is
/// taken out by choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSettings {
    /// At most so many of the fleet; absent: the percentage alone decides. 0: none by choice.
    pub max_out: Option<u32>,
    /// At most so many of a hundred of the fleet.
    pub percent: u32,
    /// At most so many of one zone; absent: the percentage alone decides. 0: none by choice.
    pub zone_max_out: Option<u32>,
    /// At most so many of a hundred of one zone.
    pub zone_percent: u32,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        BudgetSettings {
            max_out: None,
            // Fleets are built to bear the loss of a tenth, and rarely of more.
            percent: 10,
            zone_max_out: None,
            zone_percent: 10,
        }
    }
}

impl BudgetSettings {
    /// How many of a fleet of `hosts` may be out: the percentage rounded down, at least 1, never
    /// all of them, and never more than the absolute number.
    #[must_use]
    pub fn limit(&self, hosts: usize) -> usize {
        let share = share(hosts, self.percent).max(1);
        share.min(hosts.saturating_sub(1)).min(most(self.max_out))
    }

    /// The same for a zone, but that the only host of a zone may be out: that the fleet keeps a
    /// host is the fleet's own limit.
    #[must_use]
    pub fn zone_limit(&self, hosts: usize) -> usize {
        let share = share(hosts, self.zone_percent).max(1);
        let all_but_one = hosts.saturating_sub(1).max(1);
        share.min(all_but_one).min(most(self.zone_max_out))
    }
}

/// Rounded down.
fn share(hosts: usize, percent: u32) -> usize {
    hosts.saturating_mul(most(Some(percent))) / 100
}

fn most(limit: Option<u32>) -> usize {
    limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// Why a host counts as out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Out {
    /// A place was reserved for it.
    Reserved(Purpose),
    /// What it was taken out for is over, but it is not yet seen to be back and well.
    ComingBack(Purpose),
    /// It is not there.
    Absent(Liveness),
}

impl fmt::Display for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Out::Reserved(purpose) => purpose.fmt(f),
            Out::ComingBack(purpose) => write!(f, "{purpose} is over, not yet back and well"),
            Out::Absent(liveness) => liveness.fmt(f),
        }
    }
}

/// A host, as the budget sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a> {
    /// Its failure domain.
    pub zone: Option<&'a str>,
    /// Why it is out, if it is.
    pub out: Option<Out>,
}

/// Who is out now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage<'a> {
    hosts: BTreeMap<&'a NodeId, Host<'a>>,
}

impl<'a> Usage<'a> {
    /// Of these hosts.
    pub fn new(hosts: impl IntoIterator<Item = (&'a NodeId, Host<'a>)>) -> Usage<'a> {
        Usage {
            hosts: hosts.into_iter().collect(),
        }
    }

    /// How many hosts there are.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// Which are out, and why.
    pub fn out(&self) -> impl Iterator<Item = (&'a NodeId, Out)> {
        let hosts = self.hosts.iter();
        hosts.filter_map(|(name, host)| Some((*name, host.out?)))
    }

    /// Whether one host may be taken out: with it, the fleet and its zone stay within their
    /// limits. A host that is out already takes no second place, but needs one all the same: a
    /// silent one may be well.
    ///
    /// # Errors
    /// All that is in the way.
    pub fn room_for(&self, node: &NodeId, settings: &BudgetSettings) -> Result<(), NoRoom> {
        let mut reasons = Vec::new();
        let limit = settings.limit(self.hosts());
        let out = self.others_out(node, |_| true);
        if self.hosts() < 2 && settings.max_out != Some(0) {
            reasons.push(Obstacle::LastHost);
        } else if out.len() >= limit {
            reasons.push(Obstacle::Fleet { out, limit });
        }
        let zone = self.hosts.get(node).and_then(|host| host.zone);
        if let Some(zone) = zone {
            let within = |host: &Host<'_>| host.zone == Some(zone);
            let hosts = self.hosts.values().filter(|host| within(host)).count();
            let limit = settings.zone_limit(hosts);
            let out = self.others_out(node, within);
            if out.len() >= limit {
                let zone = String::from(zone);
                reasons.push(Obstacle::Zone { zone, out, limit });
            }
        }
        match reasons.is_empty() {
            true => Ok(()),
            false => Err(NoRoom { reasons }),
        }
    }

    fn others_out(&self, node: &NodeId, which: impl Fn(&Host<'_>) -> bool) -> Vec<NodeId> {
        let others = self.hosts.iter().filter(|(name, _)| **name != node);
        others
            .filter(|(_, host)| host.out.is_some() && which(host))
            .map(|(name, _)| (*name).clone())
            .collect()
    }
}

/// No place is free: what waits for one goes on when all of this is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// All that is in the way; never empty.
    pub reasons: Vec<Obstacle>,
}

/// What keeps a host from being taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is the only host.
    LastHost,
    /// As many of the fleet are out as may be.
    Fleet {
        /// The others that are out.
        out: Vec<NodeId>,
        /// How many may be.
        limit: usize,
    },
    /// As many of its zone are out as may be.
    Zone {
        /// Which zone.
        zone: String,
        /// The others in it that are out.
        out: Vec<NodeId>,
        /// How many may be.
        limit: usize,
    },
    /// The storm brake holds.
    Brake {
        /// So many silent hosts engage it.
        threshold: usize,
    },
}

/// At most so many hosts are named in one sentence.
const NAMED_MAX: usize = 6;

struct Names<'a>(&'a [NodeId]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().take(NAMED_MAX).enumerate() {
            let between = if index == 0 { ": " } else { ", " };
            write!(f, "{between}{name}")?;
        }
        match self.0.len().saturating_sub(NAMED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::LastHost => f.write_str("it is the only host, and none would be left"),
            Obstacle::Fleet { out, limit } => {
                let (many, names) = (out.len(), Names(out));
                write!(f, "{many} of at most {limit} hosts are out{names}")
            }
            Obstacle::Zone { zone, out, limit } => {
                let (many, names) = (out.len(), Names(out));
                write!(
                    f,
                    "{many} of at most {limit} hosts are out in zone {zone}{names}"
                )
            }
            Obstacle::Brake { threshold } => write!(
                f,
                "the storm brake holds: {threshold} or more hosts fell silent at once"
            ),
        }
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, reason) in self.reasons.iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString;

    fn settings(max_out: Option<u32>, percent: u32) -> BudgetSettings {
        BudgetSettings {
            max_out,
            percent,
            zone_max_out: max_out,
            zone_percent: percent,
        }
    }

    fn limits(max_out: Option<u32>, percent: u32) -> [usize; 10] {
        core::array::from_fn(|i| settings(max_out, percent).limit(i + 1))
    }

    fn zone_limits(max_out: Option<u32>, percent: u32) -> [usize; 10] {
        core::array::from_fn(|i| settings(max_out, percent).zone_limit(i + 1))
    }

    #[test]
    fn small_fleets_round_down_to_one_and_never_to_all() {
        // Hosts:                              1  2  3  4  5  6  7  8  9 10
        assert_eq!(limits(None, 1), [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(limits(None, 10), [0, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert_eq!(limits(None, 30), [0, 1, 1, 1, 1, 1, 2, 2, 2, 3]);
        assert_eq!(limits(None, 50), [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
        assert_eq!(limits(None, 100), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(limits(Some(2), 50), [0, 1, 1, 2, 2, 2, 2, 2, 2, 2]);
        assert_eq!(limits(Some(0), 50), [0; 10]);
        // The only host of a zone may be out.
        assert_eq!(zone_limits(None, 10), [1; 10]);
        assert_eq!(zone_limits(None, 50), [1, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
        assert_eq!(zone_limits(None, 100), [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(zone_limits(Some(2), 100), [1, 1, 2, 2, 2, 2, 2, 2, 2, 2]);
        assert_eq!(zone_limits(Some(0), 100), [0; 10]);
        assert_eq!(settings(None, 10).limit(0), 0);
        assert_eq!(settings(None, 10).limit(25), 2);
        assert_eq!(settings(None, 10).limit(10_000), 1000);
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let names: Vec<NodeId> = (1..=9)
            .map(|n| NodeId::new(format!("node-{n}")).unwrap())
            .collect();
        let out = |n: usize| match n {
            0 => Some(Out::Absent(Liveness::Lost)),
            1 => Some(Out::Reserved(Purpose::Drain)),
            _ => None,
        };
        let host = |n: usize| Host {
            zone: Some(if n < 4 { "rack-7" } else { "rack-8" }),
            out: out(n),
        };
        let usage = Usage::new(names.iter().enumerate().map(|(n, name)| (name, host(n))));
        let said = |percent, zone_percent, of: usize| {
            let mut settings = settings(None, percent);
            settings.zone_percent = zone_percent;
            let room = usage.room_for(&names[of], &settings);
            room.map_or_else(|full| full.to_string(), |()| "room".into())
        };
        assert_eq!(said(40, 10, 8), "room", "2 of 3, and none of 1 there");
        assert_eq!(
            said(40, 10, 2),
            "2 of at most 1 hosts are out in zone rack-7: node-1, node-2"
        );
        assert_eq!(
            said(10, 75, 2),
            "2 of at most 1 hosts are out: node-1, node-2"
        );
        // It does not stand in its own way.
        assert_eq!(said(10, 75, 0), "1 of at most 1 hosts are out: node-2");
        assert_eq!(said(30, 75, 0), "room");
        let alone = Usage::new([(&names[8], host(8))]);
        let full = alone.room_for(&names[8], &settings(None, 100)).unwrap_err();
        assert_eq!(
            full.to_string(),
            "it is the only host, and none would be left"
        );
    }
}
