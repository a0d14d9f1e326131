//! What the coordinator thinks of its site, for the reader of a failed test.

use std::fmt::Write as _;

use nodemedic_protocol::api::{NodeView, WorkView};

use crate::api::Api;

/// Nodes, works and holders, a line each; or why they cannot be told.
#[must_use]
pub fn picture(api: &Api) -> String {
    let mut text = String::new();
    match api.get::<Vec<NodeView>>("/api/v1/nodes") {
        Ok(nodes) => {
            for n in nodes {
                let _ = writeln!(
                    text,
                    "{} {} {:?} {:?} revision {} of {}",
                    n.node,
                    n.liveness,
                    n.scheduling,
                    n.enforcement,
                    n.revision_taken,
                    n.revision_wanted
                );
            }
        }
        Err(error) => text += &error,
    }
    match api.get::<Vec<WorkView>>("/api/v1/work") {
        Ok(works) => {
            for w in works {
                let _ = writeln!(text, "{}: {:?}", w.spec.name, w.waiting);
                for h in w.holders {
                    let _ = writeln!(text, "  {h:?}");
                }
            }
        }
        Err(error) => text += &error,
    }
    text
}
