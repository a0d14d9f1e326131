//! What the manager of the unit says about it: the properties of systemd, or how the agent itself
//! runs it.

use nodemedic_protocol::work::Run;

use super::{Found, Look};

/// Reads it.
pub async fn read(look: Look) -> Result<Found, String> {
    let subject = &look.subject;
    match (&subject.run, &subject.unit_name) {
        (Run::Systemd { .. }, Some(name)) => look.bus.describe(name).await.map(Found::from),
        (Run::Systemd { unit }, None) => Err(format!("{unit} has no whole name")),
        (Run::Command { start, .. }, _) => {
            let program = start.first().map_or("-", String::as_str);
            // Arguments may hold secrets.
            let arguments = start.len().saturating_sub(1);
            let target = subject.target.as_ref();
            let target = target.map_or("nothing of it runs".to_owned(), |t| format!("{t:?}"));
            Ok(Found::from(format!(
                "program    {program}\narguments  {arguments} (not taken)\nruns as    {target}\n"
            )))
        }
    }
}
