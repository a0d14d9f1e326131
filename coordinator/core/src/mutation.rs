//! Deliberate faults, each of which the simulation must catch. They exist only under the feature
//! `mutants`, which only the simulation's own copy of this crate has: without it, [`Mutations`]
//! is empty and every question to it is answered with no, by the compiler.

nodemedic_protocol::mutations! {
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
    /// A fence holds its place from when it is wanted, and looks no more when its device is free.
    ReserveEarly,
    /// The storm brake holds nothing.
    IgnoreBrake,
    /// Hosts that are not there use up no budget.
    LostNotCounted,
    /// A host that speaks though it was confirmed off convicts no device.
    BelieveLiar,
    /// A birth of another boot is believed without a proof that it is from now.
    TrustBirth,
    /// Messages leave before what they say is stored.
    SendBeforeCommit,
}
