//! Asking a sample service who it is.

use std::net::SocketAddr;
use std::time::Duration;

use super::server::Answer;
use crate::http;

/// A service that does not answer in this time does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Asks one service; an error is a sentence.
pub async fn ask(address: SocketAddr) -> Result<Answer, String> {
    let (status, body) = http::get(address, ANSWER_WITHIN).await?;
    if status != 200 {
        return Err(format!("status {status}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("an answer that cannot be read: {error}"))
}
