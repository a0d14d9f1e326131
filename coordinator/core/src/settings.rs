//! What an operator may choose, already validated. Every default says why it has its value.

use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::{Millis, SiteId};

use crate::brake::BrakeSettings;
use crate::budget::BudgetSettings;

use crate::fencing::settings::FencingSettings;
use crate::mutation::Mutations;
use crate::reboot::RebootSettings;

/// All settings of one coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The site that it looks after.
    pub site: SiteId,
    /// Its version, for views.
    pub version: String,
    /// How leases run.
    pub lease: LeaseSettings,
    /// When silence means what.
    pub liveness: LivenessSettings,
    /// How nodes are told what to run.
    pub commands: CommandSettings,
    /// How work that failed on a node is kept away from it.
    pub placement: PlacementSettings,
    /// Which fence devices there are.
    pub fencing: FencingSettings,
    /// Whom to tell, and how patiently.
    pub alerts: AlertSettings,
    /// How many hosts may be out at once.
    pub budget: BudgetSettings,
    /// How many hosts silent at once are not believed.
    pub brake: BrakeSettings,
    /// How long the parts of a reboot may take.
    pub reboot: RebootSettings,
    /// A deliberate fault; none outside of the simulation.
    #[doc(hidden)]
    pub mutation: Mutations,
}

/// How leases run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// From a heartbeat's send time, for so long its exclusive work may run.
    pub term: Millis,
    /// How much two clocks may run apart, in thousandths.
    pub drift_per_mille: u32,
    /// Added to every safe time, for what nobody thought of.
    pub margin: Millis,
    /// Raises the computed safe time; one below the computed value changes nothing.
    pub safe_time_min: Millis,
}

/// When silence means what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivenessSettings {
    /// The longest interval between two heartbeats of any agent. An expiry counts only after so
    /// much more silence than makes Suspect: then the others of the same partition are silent too.
    pub heartbeat: Millis,
    /// After its own link is back, a coordinator waits for so long, and at least for `lost_after`,
    /// before silence counts: agents need this time to find their broker again.
    pub reconnect_within: Millis,
    /// Silent for so long: Suspect.
    pub suspect_after: Millis,
    /// Silent for so long: Lost.
    pub lost_after: Millis,
    /// Heard again for so long after having been Lost: Alive.
    pub returning_for: Millis,
    /// Raises the computed resume grace; one below the computed value changes nothing.
    pub resume_grace_min: Millis,
}

/// How nodes are told what to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandSettings {
    /// A command is void so long after the node's last heartbeat left.
    pub valid_for: Millis,
    /// An unanswered command is sent again after so long.
    pub resend_after: Millis,
}

/// How work that failed on a node is kept away from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacementSettings {
    /// Work that was fenced on a node does not come back to it for so long; absent: until a person
    /// undrains the node.
    pub fenced_hold_off: Option<Millis>,
    /// Work that a node refused does not come back to it for so long.
    pub refused_hold_off: Millis,
    /// New work waits for so long after a start, until the fleet has been heard: the first node to
    /// speak would get all of it.
    pub gather_for: Millis,
}

/// Whom to tell, and how patiently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// Every alert goes to each of these.
    pub receivers: Vec<String>,
    /// Work below its wanted number for so long is an alert.
    pub unplaced_for: Millis,
    /// A failed delivery is tried again after so long, twice as long each further time.
    pub retry_first: Millis,
    /// At most so long between two tries.
    pub retry_max: Millis,
    /// A try without an answer counts as failed after so long.
    pub answer_within: Millis,
    /// A resolved and delivered alert is still shown for so long.
    pub keep_resolved: Millis,
}

impl Settings {
    /// The defaults, for one site.
    #[must_use]
    pub fn new(site: SiteId, version: impl Into<String>) -> Settings {
        Settings {
            site,
            version: version.into(),
            lease: LeaseSettings::default(),
            liveness: LivenessSettings::default(),
            commands: CommandSettings::default(),
            placement: PlacementSettings::default(),
            fencing: FencingSettings::default(),
            alerts: AlertSettings::default(),
            budget: BudgetSettings::default(),
            brake: BrakeSettings::default(),
            reboot: RebootSettings::default(),
            mutation: Mutations::NONE,
        }
    }
}

impl Default for LeaseSettings {
    fn default() -> Self {
        LeaseSettings {
            // Four heartbeats of 5 s: three may be lost before exclusive work stops.
            term: Millis::from_secs(20),
            // Quartz drifts by 0.1 per mille; 10 covers a bad virtual machine too.
            drift_per_mille: 10,
            // Covers scheduling delays on both sides.
            margin: Millis::from_secs(2),
            safe_time_min: Millis::ZERO,
        }
    }
}

impl Default for LivenessSettings {
    fn default() -> Self {
        LivenessSettings {
            // The agents' own default.
            heartbeat: Millis::from_secs(5),
            // An agent tries its broker again after at most 10 s, and one try takes at most 5 s.
            reconnect_within: Millis::from_secs(15),
            // Three heartbeats of 5 s.
            suspect_after: Millis::from_secs(15),
            // A switch that reboots or a route that converges is back within this.
            lost_after: Millis::from_secs(30),
            // A host that comes and goes must not get work each time it comes.
            returning_for: Millis::from_secs(15),
            resume_grace_min: Millis::ZERO,
        }
    }
}

impl Default for CommandSettings {
    fn default() -> Self {
        CommandSettings {
            // Longer than a slow broker keeps a message back, shorter than anybody forgets it.
            valid_for: Millis::from_secs(60),
            // Below a heartbeat, so that each heartbeat may bring one repetition.
            resend_after: Millis::from_secs(3),
        }
    }
}

impl Default for PlacementSettings {
    fn default() -> Self {
        PlacementSettings {
            // Its ladder is spent there; a machine cannot know that somebody repaired it.
            fenced_hold_off: None,
            // A missing unit file is soon installed; asking each minute disturbs nobody.
            refused_hold_off: Millis::from_secs(60),
            // Agents connect within a second or two of a broker's start.
            gather_for: Millis::from_secs(3),
        }
    }
}

impl Default for AlertSettings {
    fn default() -> Self {
        AlertSettings {
            receivers: Vec::new(),
            // An ordinary move is over by then.
            unplaced_for: Millis::from_secs(60),
            retry_first: Millis::from_secs(1),
            // A receiver that was down for hours hears within five minutes of its return.
            retry_max: Millis::from_secs(300),
            answer_within: Millis::from_secs(30),
            // Long enough to be seen by who comes to work in the morning.
            keep_resolved: Millis::from_secs(24 * 3600),
        }
    }
}
