//! Deliberate faults, each of which the simulation must catch. They exist only under the feature
//! `mutants`, which only the simulation's own copy of this crate has: without it, [`Mutations`]
//! is empty and every question to it is answered with no, by the compiler.

/// One deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// The safe time is one millisecond too short.
    SafeTimeOneTickShort,
    /// The safe time believes that all clocks run alike.
    SafeTimeNoDrift,
    /// The safe time leaves out what the watchdog needs.
    SafeTimeNoTimeout,
    /// Exclusive work is granted elsewhere while it is still being released.
    StartBeforeStop,
    /// Silence counts from the first moment after a start.
    SkipResumeGrace,
    /// The highest generation is not stored.
    ForgetGenerations,
    /// A last will counts as proof that nothing runs there any more.
    TrustWill,
    /// The moment of a renewal is not noted.
    RenewUnnoted,
    /// The stop of one generation counts as the stop of any.
    IgnoreGeneration,
    /// A fence device is believed when it says that it has switched off.
    FenceBelieved,
    /// Hosts are taken out without a place in the budget.
    DropReservation,
    /// The storm brake holds nothing.
    IgnoreBrake,
    /// Hosts that are not there use up no budget.
    LostNotCounted,
    /// A birth of another boot is believed without a proof that it is from now.
    TrustBirth,
    /// Messages leave before what they say is stored.
    SendBeforeCommit,
}

impl Mutation {
    /// All of them.
    pub const ALL: &'static [Mutation] = &[
        Mutation::SafeTimeOneTickShort,
        Mutation::SafeTimeNoDrift,
        Mutation::SafeTimeNoTimeout,
        Mutation::StartBeforeStop,
        Mutation::SkipResumeGrace,
        Mutation::ForgetGenerations,
        Mutation::TrustWill,
        Mutation::RenewUnnoted,
        Mutation::IgnoreGeneration,
        Mutation::FenceBelieved,
        Mutation::DropReservation,
        Mutation::IgnoreBrake,
        Mutation::LostNotCounted,
        Mutation::TrustBirth,
        Mutation::SendBeforeCommit,
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
