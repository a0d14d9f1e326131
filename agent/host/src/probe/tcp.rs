//! Probe `tcp`: a connection is accepted.

use nodemedic_agent_core::Verdict;
use nodemedic_protocol::Millis;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Connects and closes.
pub async fn ask(address: &str, within: Millis) -> Verdict {
    match connect(address, within).await {
        Ok(_) => Verdict::Pass,
        Err(Failure::Service(text)) => Verdict::Fail(format!("tcp probe of {address}: {text}")),
        Err(Failure::Probe(text)) => Verdict::Unknown(format!("tcp probe of {address}: {text}")),
    }
}

/// Whose fault a failed connection is.
pub enum Failure {
    /// The service does not answer.
    Service(String),
    /// The question could not be asked.
    Probe(String),
}

/// A connection within the deadline, the look-up of the name included.
pub async fn connect(address: &str, within: Millis) -> Result<TcpStream, Failure> {
    let connecting = async {
        let found = lookup_host(address).await;
        let found =
            found.map_err(|e| Failure::Probe(format!("cannot resolve the address: {e}")))?;
        let mut last = None;
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(error) => Failure::Service(error.to_string()),
            None => Failure::Probe("the name has no address".to_owned()),
        })
    };
    match timeout(within.to_duration(), connecting).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Service(format!("no connection within {within}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const LONG: Millis = Millis(20_000);

    #[tokio::test]
    async fn a_listener_passes_and_a_closed_port_fails() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(ask(&address, LONG).await, Verdict::Pass);
        drop(listener);
        let Verdict::Fail(text) = ask(&address, LONG).await else {
            panic!("a closed port passed");
        };
        assert!(text.contains("refused"), "{text}");
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_no_failure_of_the_service() {
        for bad in ["nowhere", "127.0.0.1:99999", "does-not-exist.invalid:80"] {
            let verdict = ask(bad, LONG).await;
            assert!(matches!(verdict, Verdict::Unknown(_)), "{bad}: {verdict:?}");
        }
    }
}
