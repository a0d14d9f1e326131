//! The services of a host: where each stands, what holds its healing back, and what comes next.

use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::local::{LocalStatus, ServiceStatus};

use super::parts::{lines, table};
use crate::out::{Cell, Column, Paint, PaintedLine, since_boot};

/// Services of the host's own configuration.
pub fn services(status: &LocalStatus, width: usize) -> Vec<PaintedLine> {
    let mut table = table(&[
        Column::left("SERVICE"),
        Column::left("STATE"),
        Column::left("SINCE"),
        Column::right("PID"),
        Column::left("RESTARTS"),
        Column::flexible("DETAIL", 12),
    ]);
    for service in &status.services {
        let paint = match service.state.as_str() {
            "running" => Paint::Good,
            "fenced" | "failed" => Paint::Bad,
            _ => Paint::Warn,
        };
        let budget = format!(
            "{} of {} in {}",
            service.restarts_used, service.restarts_allowed, service.window
        );
        table.row(vec![
            Cell::painted(service.service.as_str(), Paint::Bold),
            Cell::painted(&service.state, paint),
            since_boot(status.at, service.since).into(),
            Cell::maybe(service.pid.map(|pid| pid.to_string())),
            budget.into(),
            notes(status, service).into(),
        ]);
    }
    lines(&table, width)
}

/// Why it stands as it does, what holds its healing back, and what its next failure leads to once
/// that is more than a restart.
fn notes(status: &LocalStatus, service: &ServiceStatus) -> String {
    let mut notes = Vec::new();
    if !service.detail.is_empty() {
        notes.push(service.detail.clone());
    }
    if service.mode != Mode::Act {
        notes.push(format!("mode {}", service.mode));
    }
    if let Some(pause) = &service.paused {
        let left = pause.until.since(status.at);
        notes.push(format!("paused for another {left}: {}", pause.reason));
    }
    if let (Some(next), true) = (service.next, service.failures > 0) {
        let failures = service.failures;
        notes.push(format!("failed {failures} times in a row, next: {next}"));
    }
    notes.join("; ")
}
