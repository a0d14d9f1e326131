//! Ports: seen to be free before anything starts, so that the error names the port and the remedy
//! instead of a daemon's log.

use std::net::{SocketAddr, TcpListener};

use crate::failure::{Failure, Kind};

/// Fails when one of these cannot be listened on. `what` names the port, `option` changes it.
pub fn check_free(address: SocketAddr, what: &str, option: &str) -> Result<(), Failure> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(
            Kind::Failed,
            format!("cannot listen on {address} ({what}): {error}"),
            format!(
                "`ss -ltnp 'sport = :{}'` names who has the port; stop that, or give another \
                 {option}",
                address.port()
            ),
        )),
    }
}

/// So many free ports of this machine's loopback. They are free at this moment; all are held
/// together while choosing, so they differ.
pub fn find_free(count: usize) -> Result<Vec<u16>, Failure> {
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let listener = TcpListener::bind("127.0.0.1:0")
            .map_err(|error| Failure::failed(format!("cannot find a free port: {error}")))?;
        held.push(listener);
    }
    held.iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::failed(format!("cannot find a free port: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_who_to_ask_and_what_to_change() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let failure = check_free(address, "the coordinator's page", "--api").unwrap_err();
        let text = failure.to_string();
        assert!(text.contains(&format!(
            "cannot listen on {address} (the coordinator's page)"
        )));
        assert!(
            text.contains(&format!("sport = :{}", address.port())),
            "{text}"
        );
        assert!(text.contains("another --api"), "{text}");
        drop(taken);
        assert!(check_free(address, "", "").is_ok());
    }

    #[test]
    fn free_ports_differ() {
        let mut ports = find_free(12).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 12);
    }
}
