//! One node, as the coordinator knows it: its record, its standing, and its own last words.
//!
//! Sessions of one boot are ordered by the node's boot clock. Boots have no order, so a new boot id
//! is believed only after it has answered a challenge: a message that was under way for long could
//! otherwise make a running host look rebooted and free its grants.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::message::{Birth, Health, Session};
use nodemedic_protocol::reboot::RebootWord;
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::work::{Assignment, Enforcement, WorkState, WorkStatus};
use nodemedic_protocol::{Boottime, CommandId, Condition, Level, NodeId, Revision, Seq, WorkName};

use crate::fencing::record::FenceStage;
use crate::liveness::Life;
use crate::plan::Serving;
use crate::reboot::RebootWaits;
use crate::stored::{BirthFacts, GrantKey, NodeRecord};

/// A command that waits for its effect.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) id: CommandId,
    pub(crate) at: Boottime,
}

/// Another boot of the node, which has not answered its challenge yet.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) session: Session,
    /// Newest moment of its boot clock that was heard.
    pub(crate) stamp: Boottime,
    pub(crate) birth: Option<Birth>,
    /// What its newest heartbeat said of reboots.
    pub(crate) reboot: Option<RebootWord>,
    pub(crate) challenge: Option<Sent>,
}

/// What the current session of a node has said since this coordinator began.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// Newest moment of its boot clock that was heard; absent until anything was.
    pub(crate) stamp: Option<Boottime>,
    /// By how much its boot clock was at most ahead of ours when it was heard, and when it was
    /// last heard.
    pub(crate) lead: Option<(i64, Boottime)>,
    /// Newest heartbeat.
    pub(crate) beat: Option<u64>,
    /// Position in its ordered messages; absent until a birth arrived.
    pub(crate) seq: Option<Seq>,
    /// True when an ordered message is missing.
    pub(crate) gap: bool,
    /// Assignment that it has taken.
    pub(crate) taken: Revision,
    /// Its works, as of `works_at`; absent until it named them.
    pub(crate) works: Option<BTreeMap<GrantKey, WorkStatus>>,
    pub(crate) works_at: Boottime,
    /// Absent until a health message arrived.
    pub(crate) health: Option<Health>,
    /// By its newest heartbeat.
    pub(crate) level: Option<Level>,
    pub(crate) drain_wanted: Option<String>,
    /// By its birth or its newest heartbeat.
    pub(crate) reboot: Option<RebootWord>,
    pub(crate) sample: Option<Sample>,
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) record: NodeRecord,
    pub(crate) life: Life,
    pub(crate) words: Words,
    pub(crate) candidate: Option<Candidate>,
    /// A health message of a session that is not known yet.
    pub(crate) health_ahead: Option<Health>,
    /// What was last numbered for it by this coordinator.
    pub(crate) assignment: Option<Assignment>,
    pub(crate) assigned: Option<Sent>,
    pub(crate) rebirth: Option<Sent>,
    /// Until when each barred work stays away; absent: until a person says otherwise.
    pub(crate) barred_until: BTreeMap<WorkName, Option<Boottime>>,
    pub(crate) drain_deadline: Option<Boottime>,
    pub(crate) reboot_waits: RebootWaits,
    /// Its silence has lasted for long without a storm: it has nothing in common with a later one.
    pub(crate) fell_alone: bool,
    /// Grants that it reports though they have ended, already told to the log.
    pub(crate) ghosts: BTreeSet<GrantKey>,
}

impl Node {
    pub(crate) fn new(mut record: NodeRecord, now: Boottime) -> Node {
        // What its fence devices said to a coordinator before this one does not count.
        if let Some(fence) = &mut record.fence {
            fence.stage = FenceStage::Waits;
        }
        Node {
            life: match record.fenced {
                Some(_) => Life::fenced(now),
                None => Life::unheard(now),
            },
            record,
            words: Words::default(),
            candidate: None,
            health_ahead: None,
            assignment: None,
            assigned: None,
            rebirth: None,
            barred_until: BTreeMap::new(),
            drain_deadline: None,
            reboot_waits: RebootWaits::default(),
            fell_alone: false,
            ghosts: BTreeSet::new(),
        }
    }

    /// The record of a node that is heard for the first time.
    pub(crate) fn first_record(node: &NodeId, session: &Session, stamp: Boottime) -> NodeRecord {
        NodeRecord {
            node: node.clone(),
            session: session.clone(),
            session_since: stamp,
            birth: None,
            revision: Revision(0),
            cordon: None,
            drain: None,
            wish_overruled: false,
            barred: BTreeMap::new(),
            reservations: BTreeMap::new(),
            known_down: None,
            reboot: None,
            fence: None,
            fenced: None,
            power_on: Vec::new(),
            power_on_late: Vec::new(),
            on_failed: Vec::new(),
        }
    }

    pub(crate) const fn name(&self) -> &NodeId {
        &self.record.node
    }

    /// Until a node says who keeps its promises, nobody does.
    pub(crate) fn enforcement(&self) -> Enforcement {
        let birth = self.record.birth.as_ref();
        birth.map_or(Enforcement::None, |b| b.enforcement)
    }

    pub(crate) fn level(&self) -> Level {
        let health = self.words.health.as_ref().map(|h| h.level);
        self.words.level.or(health).unwrap_or(Level::Unknown)
    }

    pub(crate) fn conditions(&self) -> &[Condition] {
        self.words.health.as_ref().map_or(&[], |h| &h.conditions)
    }

    pub(crate) fn status(&self, key: &GrantKey) -> Option<&WorkStatus> {
        self.words.works.as_ref()?.get(key)
    }

    /// Whether a grant here serves, by the node's own last word.
    pub(crate) fn serving(&self, key: &GrantKey) -> Serving {
        if self.words.works.is_none() {
            return Serving::Unknown;
        }
        match self.status(key).map(|s| s.state) {
            Some(WorkState::Running) => Serving::Yes,
            Some(WorkState::Unknown) => Serving::Unknown,
            _ => Serving::No,
        }
    }

    /// Takes the node's word on its works; an older word changes nothing. True when it was newer.
    pub(crate) fn hear_works(&mut self, at: Boottime, works: &[WorkStatus]) -> bool {
        if self.words.works.is_some() && at < self.words.works_at {
            return false;
        }
        let by_key = |status: &WorkStatus| {
            let key = GrantKey {
                work: status.work.clone(),
                generation: status.generation,
            };
            (key, status.clone())
        };
        self.words.works = Some(works.iter().map(by_key).collect());
        self.words.works_at = at;
        true
    }

    /// Compares its boot clock, as of when it spoke, with ours as of now.
    pub(crate) fn hear_clock(&mut self, sent: Boottime, now: Boottime) {
        let signed = |at: Boottime| i64::try_from(at.0).unwrap_or(i64::MAX);
        let lead = signed(sent).saturating_sub(signed(now));
        let most = self.words.lead.map_or(lead, |(most, _)| most.max(lead));
        self.words.lead = Some((most, now));
    }

    /// Notes the position of an ordered message.
    pub(crate) fn hear_seq(&mut self, seq: Seq) {
        match self.words.seq {
            Some(seen) if seq <= seen => {}
            Some(seen) => {
                self.words.gap |= seq > seen.next();
                self.words.seq = Some(seq);
            }
            // Only a birth begins the count.
            None => self.words.gap = true,
        }
    }

    /// Another session speaks for the node from now on.
    pub(crate) fn adopt(&mut self, session: &Session, stamp: Boottime) {
        let new_boot = session.boot_id != self.record.session.boot_id;
        let old = core::mem::take(&mut self.words);
        self.record.session = session.clone();
        self.record.session_since = stamp;
        self.words.stamp = Some(stamp);
        self.rebirth = None;
        self.assigned = None;
        if new_boot {
            self.ghosts.clear();
            // The facts stay, but their time was of another clock.
            if let Some(birth) = &mut self.record.birth {
                birth.at = Boottime(0);
            }
        } else {
            // The same boot: its clock and its works go on.
            self.words.works = old.works;
            self.words.works_at = old.works_at;
            self.words.reboot = old.reboot;
            self.words.sample = old.sample;
            self.words.lead = old.lead;
        }
        if let Some(health) = self.health_ahead.take_if(|h| h.session == *session) {
            self.words.health = Some(health);
        }
    }
}

/// What of a birth is kept.
pub(crate) fn birth_facts(birth: &Birth) -> BirthFacts {
    BirthFacts {
        at: birth.at,
        version: birth.version.clone(),
        inventory: birth.inventory.clone(),
        capacity: birth.capacity,
        labels: birth.labels.clone(),
        zone: birth.zone.clone(),
        enforcement: birth.enforcement,
        stream: birth.stream.clone(),
    }
}

/// Conditions in the order in which a person wants to read them: worst first.
pub(crate) fn worst_first(conditions: &[Condition]) -> Vec<Condition> {
    let mut sorted = conditions.to_vec();
    sorted.sort_by(|a, b| {
        (b.severity, &a.component, &a.reason).cmp(&(a.severity, &b.component, &b.reason))
    });
    sorted
}
