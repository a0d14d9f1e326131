//! Deliberate faults, each of which the simulation must catch. They exist only under the feature
//! `mutants`, which only the simulation's own copy of this crate has: without it, [`Mutations`]
//! is empty and every question to it is answered with no, by the compiler.

nodemedic_protocol::mutations! {
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
    /// A restart on the kill rung takes no use of the budget.
    KillIsFree,
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
