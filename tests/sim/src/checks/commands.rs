//! An older generation, epoch or revision never undoes a newer one; a replayed, retained, foreign
//! or expired command does nothing.

use super::Checker;
use crate::clock::True;
use crate::fact::Fact;

/// See the file.
pub struct VoidDoesNothing;

impl Checker for VoidDoesNothing {
    fn property(&self) -> &'static str {
        "a replayed, retained, foreign or expired command does nothing"
    }

    fn see(&mut self, _at: True, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Answered {
                host,
                obeyed: true,
                void: Some(why),
            } => Some(format!("host-{host} obeyed a command although {why}")),
            _ => None,
        }
    }
}
