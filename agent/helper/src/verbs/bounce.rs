//! Takes a declared interface down and up. Whether the way to the broker goes through it is the
//! asker's business: it knows its connection.

use crate::deeds::Bounce;
use crate::links;

/// In a task of its own: what is down is taken up also when nobody waits for it any more.
pub(super) async fn act(bounce: &Bounce) -> Result<String, String> {
    let interface = bounce.interface.clone();
    let bounced = tokio::spawn(async move { links::bounce(&interface).await });
    bounced.await.map_err(|error| error.to_string())?
}
