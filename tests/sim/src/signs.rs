//! What a host's manager says, as the checkers hear it.

use nodemedic_protocol::event::Outcome;
use nodemedic_sim_agent_core::{Act, DownCause, Input, Seen, UnitKey, Verdict};

use crate::fact::{Fact, Host, Sign};
use crate::world::World;

impl World {
    /// What an input says of a unit, for the checkers.
    pub(crate) fn note_sign(&mut self, h: Host, input: &Input) {
        let sign_of = |unit: &UnitKey, seen: &Seen| {
            let watched = self.hosts[h].watched.get(unit);
            match seen {
                Seen::Running { .. } if watched.is_some_and(|w| w.probe.is_some()) => Sign::Runs,
                Seen::Running { .. } => Sign::Well,
                Seen::NotRunning { .. } => Sign::Down,
                Seen::Unknown { .. } => Sign::Nothing,
            }
        };
        let (unit, sign) = match input {
            Input::Observed { unit, seen, .. } => (unit.clone(), sign_of(unit, seen)),
            Input::Probed { unit, verdict, .. } => {
                let sign = match verdict {
                    Verdict::Pass => Sign::Passes,
                    Verdict::Fail(_) => Sign::Fails,
                    Verdict::Unknown(_) => Sign::Nothing,
                };
                (unit.clone(), sign)
            }
            Input::ActionEnded {
                action,
                outcome,
                seen,
                ..
            } => {
                let mut pending = self.hosts[h].pending.iter();
                let Some((unit, _)) = pending.find(|(_, p)| p.act.action == *action) else {
                    return;
                };
                let sign = match outcome {
                    Outcome::Done => sign_of(unit, seen),
                    _ => Sign::Fails,
                };
                (unit.clone(), sign)
            }
            _ => return,
        };
        self.fact(Fact::Shown {
            host: h,
            unit,
            sign,
        });
    }

    pub(crate) fn note_turned_away(&mut self, h: Host, act: &Act, seen: &Seen) {
        let turned = |cause: &DownCause| matches!(cause, DownCause::TurnedAway(_));
        let away = matches!(seen, Seen::NotRunning { cause } if turned(cause));
        if away && self.hosts[h].agent.is_some() {
            let (unit, verb) = (act.unit.clone(), act.verb);
            self.fact(Fact::TurnedAway {
                host: h,
                unit,
                verb,
            });
        }
    }
}
