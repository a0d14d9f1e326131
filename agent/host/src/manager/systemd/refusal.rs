//! What systemd says when it refuses a job, with what to do about it.

use zbus_systemd::zbus;

/// Names under which polkit stands in the way.
const DENIED: [&str; 2] = ["InteractiveAuthorizationRequired", "AccessDenied"];

/// One line for people.
pub fn text(act: &str, unit: &str, is_service: bool, error: &zbus::Error) -> String {
    let said = error.to_string();
    let remedy = match (DENIED.iter().any(|name| said.contains(name)), is_service) {
        (false, _) => "",
        (true, true) => {
            "; polkit does not let the agent: see that polkitd runs, then systemctl \
                         reload nodemedic-agent"
        }
        (true, false) => {
            "; polkit does not let the agent: name its template under [work] units in \
                          /etc/nodemedic/agent.toml, then systemctl reload nodemedic-agent"
        }
    };
    format!("systemd refused to {act} {unit}: {said}{remedy}")
}
