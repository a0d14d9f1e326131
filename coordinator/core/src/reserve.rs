//! Places for hosts that are taken out by choice, and who is counted by the storm brake: between
//! the fleet and the pure [`crate::budget`] and [`crate::brake`].
//!
//! A place is stored before anything is done to the host, and is free again when that is over and
//! the host is seen to be back and well. Nothing here ever stands in the way of giving back.

use alloc::collections::btree_map::Entry;
use alloc::string::ToString;
use alloc::vec::Vec;

use nodemedic_protocol::api::{BrakeState, Decision, Liveness, Purpose};
use nodemedic_protocol::{Boottime, Level, Millis, NodeId, Now};

use crate::brake::{Count, number};
use crate::budget::{Host, NoRoom, Obstacle, Out, Usage};
use crate::coordinator::Coordinator;
use crate::mutation::Mutation;
use crate::node::Node;
use crate::reboot::Stage;
use crate::stored::{Reservation, Write};

impl Coordinator {
    /// Who is out now.
    pub(crate) fn usage(&self) -> Usage<'_> {
        Usage::new(self.nodes.iter().map(|(name, node)| {
            let birth = node.record.birth.as_ref();
            let unseen = self.settings.mutation.has(Mutation::LostNotCounted);
            let counts = |out: &Out| !unseen || !matches!(out, Out::Absent(_));
            let host = Host {
                zone: birth.and_then(|b| b.zone.as_deref()),
                out: node.out().filter(counts),
            };
            (name, host)
        }))
    }

    /// Drains that an older version began have no place yet; they hold one from now on.
    pub(crate) fn adopt_places(&mut self) {
        for node in self.nodes.values_mut() {
            let begun = node.record.drain.as_ref().filter(|drain| !drain.waits);
            let Some(since) = begun.map(|drain| drain.since) else {
                continue;
            };
            if let Entry::Vacant(place) = node.record.reservations.entry(Purpose::Drain) {
                place.insert(Reservation { since, over: false });
                self.out.store(Write::Node(node.record.clone()));
            }
        }
    }

    /// Whether a place for a host could be reserved now.
    ///
    /// # Errors
    /// What is in the way.
    pub(crate) fn room_for(&self, name: &NodeId) -> Result<(), NoRoom> {
        let node = self.nodes.get(name);
        let mut places = node
            .iter()
            .flat_map(|node| node.record.reservations.values());
        if places.any(|place| !place.over) {
            return Ok(());
        }
        self.usage().room_for(name, &self.settings.budget)
    }

    /// Reserves a place for a host that is to be taken out: call it before anything is done to the
    /// host, and do nothing when it answers with an error. A host that is out by choice already
    /// needs no second place. `overriding`: a person wants it, room or not.
    ///
    /// # Errors
    /// What is in the way; ask again when that may be over.
    pub(crate) fn reserve(
        &mut self,
        now: Now,
        name: &NodeId,
        purpose: Purpose,
        overriding: bool,
    ) -> Result<(), NoRoom> {
        let places = self.nodes.get(name).map(|node| &node.record.reservations);
        let same = places.and_then(|places| places.get(&purpose));
        if same.is_some_and(|place| !place.over)
            || self.settings.mutation.has(Mutation::DropReservation)
        {
            return Ok(());
        }
        let mut overridden = Vec::new();
        if let Err(full) = self.room_for(name) {
            if !overriding {
                return Err(full);
            }
            overridden = full.reasons.iter().map(ToString::to_string).collect();
        }
        let limit = self.settings.budget.limit(self.nodes.len());
        let Some(node) = self.nodes.get_mut(name) else {
            return Ok(());
        };
        let since = now.wall;
        let place = Reservation { since, over: false };
        node.record.reservations.insert(purpose, place);
        self.out.store(Write::Node(node.record.clone()));
        let decision = Decision::Reserved {
            purpose,
            out: number(self.usage().out().count()),
            limit: number(limit),
            overridden,
        };
        self.out.decide(now, Some(name), decision);
        self.dirty = true;
        Ok(())
    }

    /// What a host was taken out for is over. Its place is free once the host is back and well.
    pub(crate) fn give_back(&mut self, name: &NodeId, purpose: Purpose) {
        let Some(node) = self.nodes.get_mut(name) else {
            return;
        };
        let place = node.record.reservations.get_mut(&purpose);
        let Some(place) = place.filter(|place| !place.over) else {
            return;
        };
        place.over = true;
        self.out.store(Write::Node(node.record.clone()));
        self.dirty = true;
    }

    /// Frees the places of hosts that are back and well.
    pub(crate) fn free_places(&mut self, now: Now) {
        for (name, node) in &mut self.nodes {
            let places = &mut node.record.reservations;
            if places.is_empty() || !places.values().all(|place| place.over) {
                continue;
            }
            if node.life.kind() != Liveness::Alive || node.level() == Level::Failed {
                continue;
            }
            let purposes: Vec<Purpose> = node.record.reservations.keys().copied().collect();
            node.record.reservations.clear();
            self.out.store(Write::Node(node.record.clone()));
            for purpose in purposes {
                let decision = Decision::GivenBack { purpose };
                self.out.decide(now, Some(name), decision);
            }
        }
    }

    /// The hosts that are silent without having said that they go, and for how long.
    pub(crate) fn silent_hosts(&self, now: Now) -> impl Iterator<Item = (&NodeId, Millis)> {
        self.nodes.iter().filter_map(move |(name, node)| {
            let silent_for = now.boot.since(self.silent_since(node)?);
            let lost = node.life.kind() == Liveness::Lost;
            let suspect_after = self.settings.liveness.suspect_after;
            let long = self.link_is_up() && silent_for >= suspect_after;
            let counts = !node.is_planned_away() && !node.fell_alone;
            ((lost || long) && counts).then_some((name, silent_for))
        })
    }

    /// Since when this coordinator could have heard a node and did not.
    pub(crate) fn silent_since(&self, node: &Node) -> Option<Boottime> {
        node.life.standing.heard().max(self.ears.listening)
    }

    /// From when on the silence of a node may prove something: whatever cut it off has cut off its
    /// companions at most one heartbeat later, and they are counted by then.
    pub(crate) fn believed_from(&self, node: &Node) -> Option<Boottime> {
        let liveness = &self.settings.liveness;
        let since = self.silent_since(node)?;
        Some(since + liveness.suspect_after + liveness.heartbeat)
    }

    /// Hosts that have been silent for long without a storm are not counted any more.
    fn set_apart(&mut self, now: Now) {
        let apart = self.settings.brake.apart;
        let silent = self.silent_hosts(now);
        let long = silent.filter(|(_, silent_for)| *silent_for >= apart);
        let alone: Vec<NodeId> = long.map(|(name, _)| name.clone()).collect();
        for name in alone {
            if let Some(node) = self.nodes.get_mut(&name) {
                node.fell_alone = true;
            }
        }
    }

    /// Judges the storm brake as of now. What holds while it does: see [`Coordinator::held`].
    pub(crate) fn judge_brake(&mut self, now: Now) {
        if self.brake.state() == BrakeState::Off {
            self.set_apart(now);
        }
        let count = Count {
            silent: self.silent_hosts(now).count(),
            hosts: self.nodes.len(),
            certain: self.link_is_up() && now.boot >= self.ears.grace_until,
        };
        while let Some(change) = self.brake.judge(now, count, &self.settings.brake) {
            self.store_brake();
            self.dirty = true;
            self.out.decide(now, None, Decision::Brake(change));
        }
    }

    pub(crate) fn store_brake(&mut self) {
        self.out.store(match self.brake.record() {
            Some(record) => Write::Brake(record),
            None => Write::ForgetBrake,
        });
    }

    /// The storm brake, as it was judged last.
    pub(crate) fn brake_obstacle(&self) -> Option<Obstacle> {
        let threshold = self.settings.brake.threshold(self.nodes.len());
        self.brake.holds().then_some(Obstacle::Brake { threshold })
    }

    /// When the storm brake may change by time alone.
    pub(crate) fn brake_wakes(&self) -> impl Iterator<Item = Boottime> {
        let listening = self.link_is_up();
        let nodes = self.nodes.values().filter(move |_| listening);
        let silent = nodes.filter_map(|node| {
            Some(self.silent_since(node)? + self.settings.liveness.suspect_after)
        });
        silent.chain(self.brake.next(&self.settings.brake))
    }

    /// The storm brake, as of this very moment: while there is an answer, no silence counts as
    /// proof, no fence begins, and no drain that a host asks for.
    pub(crate) fn held(&mut self, now: Now) -> Option<Obstacle> {
        self.judge_brake(now);
        if self.settings.mutation.has(Mutation::IgnoreBrake) {
            return None;
        }
        self.brake_obstacle()
    }
}

impl Node {
    /// Why it counts as out.
    pub(crate) fn out(&self) -> Option<Out> {
        let mut places = self.record.reservations.iter();
        let liveness = self.life.kind();
        if let Some((purpose, _)) = places.clone().find(|(_, place)| !place.over) {
            Some(Out::Reserved(*purpose))
        } else if liveness != Liveness::Alive {
            Some(Out::Absent(liveness))
        } else {
            places.next().map(|(purpose, _)| Out::ComingBack(*purpose))
        }
    }

    /// Its silence says nothing about the fleet: it said that it goes, it took a permit to reboot,
    /// it is drained, or a person or a fence device said that it is off.
    fn is_planned_away(&self) -> bool {
        let drained = self.record.drain.as_ref().is_some_and(|d| d.done);
        let reboot = self.record.reboot.as_ref().map(|reboot| &reboot.stage);
        let goes = matches!(reboot, Some(Stage::Permitted(permit)) if permit.taken);
        let known = self.record.known_down.is_some();
        self.life.kind() == Liveness::Away || drained || goes || known
    }
}
