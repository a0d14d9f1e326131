//! Reboots of hosts and their remedies, in sentences for people.

use nodemedic_protocol::WallTime;
use nodemedic_protocol::api::{RebootStep, RebootView};
use nodemedic_protocol::event::Outcome;
use nodemedic_protocol::remedy::{HostReboot, RemedyRecord, RemedyStep};

use crate::out::{Cell, Paint, ago};

/// A step of a reboot, and how it stands out.
pub fn step(step: &RebootStep) -> (String, Paint) {
    let paint = match step {
        RebootStep::Back | RebootStep::Well { .. } => Paint::Good,
        RebootStep::Wanted { .. } | RebootStep::Permitted { .. } | RebootStep::Lapsed { .. } => {
            Paint::Warn
        }
        RebootStep::Dropped { .. } | RebootStep::Emptying => Paint::Plain,
    };
    (format!("reboot: {step}"), paint)
}

/// What a remedy of a host did, and how that stands out.
pub fn remedy(record: &RemedyRecord) -> (String, Paint) {
    let paint = match &record.step {
        RemedyStep::Ended(Outcome::Done) => Paint::Plain,
        RemedyStep::Ended(Outcome::Failed(_) | Outcome::TimedOut) => Paint::Bad,
        RemedyStep::Ended(Outcome::Interrupted) => Paint::Warn,
        RemedyStep::Advised | RemedyStep::LeftOut(_) => Paint::Warn,
    };
    (record.to_string(), paint)
}

/// What became of a reboot that a host wanted, and how that stands out.
pub fn of_host(step: &HostReboot) -> (String, Paint) {
    let paint = match step {
        HostReboot::Well { .. } => Paint::Good,
        HostReboot::Failed { .. } => Paint::Bad,
        HostReboot::Dropped { .. } | HostReboot::Back { .. } => Paint::Plain,
        HostReboot::Wanted { .. } | HostReboot::Begun { .. } => Paint::Warn,
    };
    (step.to_string(), paint)
}

/// Where a reboot is, in a sentence.
pub fn stands(reboot: &RebootView, now: WallTime) -> Cell {
    let since = ago(now, reboot.since);
    let text = format!("{}, since {since}: {}", reboot.stage, reboot.why);
    Cell::painted(text, Paint::Warn)
}

/// The same where there is room for a few words only.
pub fn note(reboot: &RebootView) -> Cell {
    Cell::painted(
        format!("reboot {}: {}", reboot.stage, reboot.why),
        Paint::Warn,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::out::{Column, Table};
    use nodemedic_protocol::CommandId;
    use nodemedic_protocol::api::RebootStage;

    #[test]
    fn a_reboot_reads_as_what_happens_and_why() {
        let view = RebootView {
            stage: RebootStage::Emptying,
            why: "filesystem /srv: read-only".into(),
            since: WallTime(1000),
            waiting: Vec::new(),
        };
        let mut table = Table::bare(&[Column::left("what")], 0);
        table.row(vec![stands(&view, WallTime(121_000))]);
        table.row(vec![note(&view)]);
        assert_eq!(
            table.render(None, false),
            "its work leaves, since 2m00s ago: filesystem /srv: read-only\n\
             reboot its work leaves: filesystem /srv: read-only"
        );
        let permit = CommandId::new("c3-17").unwrap();
        let (text, paint) = step(&RebootStep::Permitted { permit });
        assert_eq!(
            (text.as_str(), paint),
            ("reboot: permitted (c3-17)", Paint::Warn)
        );
    }
}
