//! Does an agent run, and how is it?

use std::sync::Arc;

use nodemedic_protocol::Level;
use nodemedic_protocol::local::LocalStatus;

use super::{Place, Row, fine, missing, warning};

/// Looks.
pub async fn look(place: Arc<Place>) -> Vec<Row> {
    match &place.agent {
        Ok(running) => judge(&running.status),
        Err(why) => vec![missing(
            "running",
            why.lines().next().unwrap_or_default(),
            "nothing on this host is watched, healed or told",
            "systemctl enable --now nodemedic-agent; journalctl -u nodemedic-agent says why it \
             ended",
        )],
    }
}

fn judge(status: &LocalStatus) -> Vec<Row> {
    let mut rows = vec![fine(
        "running",
        format!(
            "{} {}, as {}",
            "nodemedic-agent", status.version, status.node
        ),
    )];
    rows.push(match status.level {
        Level::Healthy => fine("host", "healthy"),
        level => warning(
            "host",
            format!("{level}: {} conditions", status.conditions.len()),
            "the host may be given no work, or be drained",
            "nodemedic top",
        ),
    });
    let link = &status.link;
    rows.push(match (&link.last_error, link.up) {
        (_, true) => fine("link", "connected to the broker"),
        (Some(error), false) => warning(
            "link",
            format!("not connected: {error}"),
            "nobody else hears of this host; its exclusive work stops when its leases end",
            "see the group broker below",
        ),
        (None, false) => fine("link", "no broker is configured: it works alone"),
    });
    if link.dropped_events > 0 {
        rows.push(warning(
            "events",
            format!("{} events were lost", link.dropped_events),
            "the journal of this host has holes",
            "restore the link to the broker: the spool was full",
        ));
    }
    rows
}
