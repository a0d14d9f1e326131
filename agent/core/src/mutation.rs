//! Deliberate faults, each of which the simulation must catch. They exist only under the feature
//! `mutants`, which only the simulation's own copy of this crate has: without it, [`Mutations`]
//! is empty and every question to it is answered with no, by the compiler.

/// One deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// Commands and leases of an older coordinator are obeyed.
    AcceptOldEpoch,
    /// An assignment is obeyed although a newer one was taken before.
    AcceptOldRevision,
    /// A generation that began to end runs again when it is asked for.
    ReviveEnded,
    /// A lease runs from when its answer arrives.
    LeaseFromAck,
    /// An answer renews every grant that is held, not only those that it names and that do not end.
    AckRenewsAll,
    /// A lease that has ended is prolonged, although its work is being stopped.
    RenewAfterEnd,
    /// Exclusive work starts when it is assigned.
    StartWithoutLease,
    /// A stop that was asked for counts as a stop that was proved, whatever is seen of it.
    StopUnproved,
    /// Uses of restart budgets are not remembered.
    ForgetUses,
    /// Acts come before the memory that they need.
    ActBeforeRemember,
    /// A command that the broker had kept is obeyed.
    ObeyRetained,
    /// A command is obeyed after its time.
    ObeyExpired,
    /// A command for another node or another boot is obeyed.
    ObeyForeign,
    /// What cannot be seen counts as down.
    UnknownIsDown,
    /// Work whose owner chose to keep it is stopped when its lease ends.
    KeepIsStop,
}

impl Mutation {
    /// All of them.
    pub const ALL: &'static [Mutation] = &[
        Mutation::AcceptOldEpoch,
        Mutation::AcceptOldRevision,
        Mutation::ReviveEnded,
        Mutation::LeaseFromAck,
        Mutation::AckRenewsAll,
        Mutation::RenewAfterEnd,
        Mutation::StartWithoutLease,
        Mutation::StopUnproved,
        Mutation::ForgetUses,
        Mutation::ActBeforeRemember,
        Mutation::ObeyRetained,
        Mutation::ObeyExpired,
        Mutation::ObeyForeign,
        Mutation::UnknownIsDown,
        Mutation::KeepIsStop,
    ];
}

/// The fault that is switched on, if there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mutations {
    #[cfg(feature = "mutants")]
    only: Option<Mutation>,
}

impl Mutations {
    /// None, as ever outside of the simulation.
    pub const NONE: Mutations = Mutations {
        #[cfg(feature = "mutants")]
        only: None,
    };

    /// Exactly this one.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub const fn only(fault: Mutation) -> Mutations {
        Mutations { only: Some(fault) }
    }

    /// Which one is switched on.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub const fn which(self) -> Option<Mutation> {
        self.only
    }

    /// Whether this one is switched on.
    #[cfg(feature = "mutants")]
    pub(crate) fn has(self, fault: Mutation) -> bool {
        self.only == Some(fault)
    }

    /// Whether this one is switched on: no.
    #[cfg(not(feature = "mutants"))]
    pub(crate) const fn has(self, _fault: Mutation) -> bool {
        false
    }
}
