//! Is the time of day kept in step? Leases do not need it; certificates and every log do.

use std::sync::Arc;

use super::{Place, Row, Said, ask, fine, properties, warning};

/// Looks.
pub async fn look(_place: Arc<Place>) -> Vec<Row> {
    let args = ["show", "--property=NTPSynchronized"];
    let timedate = ask("timedatectl", &args).await;
    // Only asked when the first does not know: a chrony without systemd's word.
    let chrony = match synchronized(&timedate) {
        Some(true) => Err(String::new()),
        _ => ask("chronyc", &["-n", "tracking"]).await,
    };
    vec![judge(&timedate, &chrony)]
}

fn synchronized(said: &Result<Said, String>) -> Option<bool> {
    let said = said.as_ref().ok().filter(|said| said.code == Some(0))?;
    let found = properties(&said.out);
    found.get("NTPSynchronized").map(|word| word == "yes")
}

fn judge(timedate: &Result<Said, String>, chrony: &Result<Said, String>) -> Row {
    let check = "synchronised";
    let costs = "times in events and logs cannot be compared between hosts, and a clock that is \
                 far off refuses every certificate; leases do not depend on it";
    let leap = chrony.as_ref().ok().and_then(|said| {
        let line = said
            .out
            .lines()
            .find(|line| line.starts_with("Leap status"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    match (synchronized(timedate), leap.as_deref()) {
        (Some(true), _) => fine(check, "the kernel's clock is kept in step"),
        (_, Some("Normal")) => fine(check, "chrony keeps it in step"),
        (_, Some(leap)) => warning(
            check,
            format!("chrony: {leap}"),
            costs,
            "chronyc sources -v",
        ),
        (Some(false), None) => warning(
            check,
            "nobody keeps the clock in step",
            costs,
            "apt install chrony (in a container the host keeps the clock)",
        ),
        (None, None) => warning(
            check,
            "neither timedatectl nor chronyc answers",
            costs,
            "apt install chrony (in a container the host keeps the clock)",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn said(out: &str) -> Result<Said, String> {
        Ok(Said {
            code: Some(0),
            out: out.to_owned(),
            err: String::new(),
        })
    }

    #[test]
    fn either_word_is_enough_and_none_is_a_warning() {
        let (yes, no) = (said("NTPSynchronized=yes"), said("NTPSynchronized=no"));
        let nobody = || Err("no such program".to_owned());
        assert_eq!(judge(&yes, &nobody()).state, State::Ok);
        assert_eq!(
            judge(&no, &said("Leap status     : Normal")).state,
            State::Ok
        );
        let off = judge(&no, &said("Leap status     : Not synchronised"));
        assert!(off.seen.contains("Not synchronised"), "{off:?}");
        assert_eq!(judge(&no, &nobody()).state, State::Warning);
        assert_eq!(judge(&nobody(), &nobody()).state, State::Warning);
    }
}
