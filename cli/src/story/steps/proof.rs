//! The last word is with the records that the services themselves kept, and with the answers that
//! they gave: no two instances of the exclusive work ever lived at once.

use crate::fleet::LEDGER;
use crate::out::micros;
use crate::sample::{prove_exclusive, read};
use crate::story::stage::Stage;
use crate::story::timeline::Unseen;

/// One move after the fault, one after the lost host; the drain may add one.
const MOVES_AT_LEAST: usize = 2;

pub async fn play(stage: &mut Stage<'_>) -> Result<(), Unseen> {
    let expected = "the records of ledger show one instance after the other, generations rising";
    let record = stage.fleet.layout.record(LEDGER);
    let instances = read(&record).map_err(|error| Unseen::new(expected, error))?;
    let proved =
        prove_exclusive(&instances).map_err(|flaws| Unseen::new(expected, flaws.join("; ")))?;
    if proved.moves < MOVES_AT_LEAST {
        return Err(Unseen::new(
            format!("ledger moved at least {MOVES_AT_LEAST} times"),
            format!("{} times", proved.moves),
        ));
    }
    stage.timeline.counted(
        "instances by their records, never two at once",
        proved.instances.to_string(),
        Some(format!("{} moves, generations rising", proved.moves)),
    );
    if let Some(closest) = proved.closest {
        let us = closest.0.saturating_mul(1000);
        stage.timeline.counted(
            "closest: last sign of one to start of the next",
            micros(us),
            None,
        );
    }
    let answered = stage.watch.ledger_never_twice()?;
    stage.timeline.counted(
        "instances by their answers, never two at once",
        answered.to_string(),
        None,
    );
    Ok(())
}
