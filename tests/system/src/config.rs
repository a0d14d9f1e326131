//! The configuration texts of a test fleet.

use crate::binary;
use crate::certs::Authority;
use crate::fleet::{Carrier, free_port};

/// The broker's port, and the `[broker]` section of the coordinator.
pub fn coordinator_broker(carrier: &Carrier) -> (u16, String) {
    match carrier {
        Carrier::Embedded => {
            let port = free_port();
            (port, format!("listen = \"127.0.0.1:{port}\""))
        }
        Carrier::EmbeddedTls(authority) => {
            let port = free_port();
            let text = format!(
                "listen = \"127.0.0.1:{port}\"\n{}",
                pair(authority, "coordinator")
            );
            (port, text)
        }
        Carrier::External(port) => (*port, format!("url = \"mqtt://127.0.0.1:{port}\"")),
    }
}

/// The `[broker]` section of one agent.
pub fn agent_broker(carrier: &Carrier, port: u16, node: &str) -> String {
    match carrier {
        Carrier::Embedded | Carrier::External(_) => format!("url = \"mqtt://127.0.0.1:{port}\""),
        Carrier::EmbeddedTls(authority) => {
            format!(
                "url = \"mqtts://localhost:{port}\"\n{}",
                pair(authority, node)
            )
        }
    }
}

/// The keys that name a fresh certificate and its authority.
fn pair(authority: &Authority, name: &str) -> String {
    let (certificate, key) = authority.issue(name);
    format!(
        "ca = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"",
        authority.ca.display(),
        certificate.display(),
        key.display()
    )
}

/// TOML that declares the sample services: `ledger` exclusive, `web` on two nodes.
#[must_use]
pub fn sample_works() -> String {
    let program = binary("nodemedic");
    let command = |work: &str| {
        format!(
            "command = [\"{}\", \"sample\", \"--listen\", \"127.0.0.1:{{vars.{work}_port}}\", \
             \"--record\", \"{{vars.shared}}/{work}.record\", \
             \"--break-file\", \"{{vars.dir}}/{work}.break\"]\n\
             probe = {{ http = \"http://127.0.0.1:{{vars.{work}_port}}/\", \
             interval = \"500ms\", timeout = \"500ms\", fail_for = \"2s\" }}\n\
             start_grace = \"5s\"\nstop_grace = \"1s\"\n",
            program.display()
        )
    };
    format!(
        "[work.ledger]\nexclusive = {{ on_lease_loss = \"stop\" }}\n{}\
         [work.web]\nreplicas = 2\n{}",
        command("ledger"),
        command("web")
    )
}
