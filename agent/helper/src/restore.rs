//! Early in a boot: what the generator could not know, because its disk came later, is masked now;
//! ports are blocked again; and what is wrong with the list is said in the journal.

use crate::hands::Places;
use crate::{fenced, mask, ports};

/// Puts everything on the list into force; gives how many could not be.
///
/// # Errors
/// When the list cannot be read.
pub async fn run(places: &Places) -> Result<usize, String> {
    let (list, wrong) = fenced::read(&places.state)?;
    for line in &wrong {
        tracing::error!("the list of fenced units: {line}; this one is not kept out");
    }
    let mut failed = wrong.len();
    for (unit, blocked) in &list {
        if let Err(error) = keep_out(places, unit).await {
            tracing::error!("{unit} is fenced, and may start: {error}");
            failed += 1;
        }
        if let Err(error) = ports::block(&places.nft, unit, blocked).await {
            tracing::error!("{unit} is fenced, and its ports are open: {error}");
            failed += 1;
        }
    }
    Ok(failed)
}

async fn keep_out(places: &Places, unit: &str) -> Result<(), String> {
    if unit.ends_with(".service") && mask::load_state(places, unit).await? != "masked" {
        mask::put(places, unit).await?;
    }
    Ok(())
}
