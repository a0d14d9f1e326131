//! The proof that no two instances of one exclusive work ran at once, from nothing but the
//! services' own records.

use std::collections::BTreeMap;

use nodemedic_protocol::{BootId, Boottime, Millis};

use super::record::Instance;

/// What a record without a flaw says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// How many instances ran, one after the other.
    pub instances: usize,
    /// How often the work moved to another node.
    pub moves: usize,
    /// The shortest time between the last sign of one instance and the start of the next.
    pub closest: Option<Millis>,
}

/// Checks a record: no two instances at once; a generation never falls, and rises with every move;
/// no generation on two nodes. Each boot is checked alone, because times of two boots cannot be
/// compared. The error has one sentence for each flaw.
pub fn prove_exclusive(instances: &[Instance]) -> Result<Proved, Vec<String>> {
    let mut boots: BTreeMap<&BootId, Vec<&Instance>> = BTreeMap::new();
    for one in instances {
        boots.entry(&one.boot_id).or_default().push(one);
    }
    let mut flaws: Vec<String> = instances.iter().flat_map(flaws_of_one).collect();
    let mut proved = Proved {
        instances: instances.len(),
        moves: 0,
        closest: None,
    };
    for boot in boots.values_mut() {
        boot.sort_by_key(|i| (i.started, i.last));
        check_boot(boot, &mut flaws, &mut proved);
    }
    if flaws.is_empty() {
        Ok(proved)
    } else {
        Err(flaws)
    }
}

fn flaws_of_one(one: &Instance) -> Vec<String> {
    let mut flaws = Vec::new();
    if one.met {
        flaws.push(format!("{} saw another instance alive", name(one)));
    }
    if one.last < one.started {
        flaws.push(format!("{} ended before it began", name(one)));
    }
    if one.generation.is_none() {
        flaws.push(format!("{} knows no generation", name(one)));
    }
    flaws
}

fn check_boot(sorted: &[&Instance], flaws: &mut Vec<String>, proved: &mut Proved) {
    // The one that lasted longest so far, not just the one before: a long run may hide behind a
    // short one that started later.
    let mut longest: Option<&Instance> = None;
    for pair in sorted.windows(2) {
        let [before, after] = pair else { continue };
        let last = longest.map_or(*before, |l| if l.last > before.last { l } else { before });
        longest = Some(last);
        check_apart(last, after, flaws, &mut proved.closest);
        proved.moves += usize::from(before.node != after.node);
        check_generations(before, after, flaws);
    }
}

fn check_apart(
    last: &Instance,
    after: &Instance,
    flaws: &mut Vec<String>,
    closest: &mut Option<Millis>,
) {
    if after.started <= last.last {
        flaws.push(format!(
            "{} lived until {} while {} had begun at {}",
            name(last),
            at(last.last),
            name(after),
            at(after.started)
        ));
    } else {
        let gap = after.started.since(last.last);
        *closest = Some(closest.map_or(gap, |c| c.min(gap)));
    }
}

fn check_generations(before: &Instance, after: &Instance, flaws: &mut Vec<String>) {
    let moved = before.node != after.node;
    if after.generation < before.generation || (moved && after.generation == before.generation) {
        flaws.push(format!(
            "{} follows {}: generations must rise",
            name(after),
            name(before)
        ));
    }
}

fn name(instance: &Instance) -> String {
    let node = instance.node.as_deref().unwrap_or("-");
    let generation = instance
        .generation
        .map_or_else(|| "-".to_owned(), |g| g.to_string());
    format!(
        "process {} on {node} (generation {generation})",
        instance.pid
    )
}

fn at(time: Boottime) -> String {
    format!("{}.{:03}", time.0 / 1000, time.0 % 1000)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::instance;
    use super::*;

    fn flaws(instances: &[Instance]) -> String {
        prove_exclusive(instances)
            .expect_err("a flaw was not seen")
            .join("; ")
    }

    #[test]
    fn a_clean_record_is_proved_with_its_closest_call() {
        let record = [
            instance("node-1", 1, 100, 200),
            instance("node-1", 1, 230, 500),
            instance("node-2", 2, 900, 1500),
        ];
        assert_eq!(
            prove_exclusive(&record),
            Ok(Proved {
                instances: 3,
                moves: 1,
                closest: Some(Millis(30))
            })
        );
        assert_eq!(prove_exclusive(&[]).unwrap().instances, 0);
    }

    #[test]
    fn an_overlap_of_one_millisecond_is_seen() {
        let said = flaws(&[
            instance("node-1", 1, 100, 200),
            instance("node-2", 2, 200, 300),
        ]);
        assert!(said.contains("process 100 on node-1"), "{said}");
        assert!(said.contains("while process 200 on node-2"), "{said}");
    }

    #[test]
    fn an_overlap_hidden_behind_a_short_run_is_seen() {
        let said = flaws(&[
            instance("node-1", 1, 100, 1000),
            instance("node-2", 2, 200, 210),
            instance("node-3", 3, 500, 600),
        ]);
        assert!(said.contains("while process 500 on node-3"), "{said}");
    }

    #[test]
    fn one_that_met_another_is_a_flaw_even_when_the_ticks_are_apart() {
        let mut second = instance("node-2", 2, 210, 300);
        second.met = true;
        let said = flaws(&[instance("node-1", 1, 100, 200), second]);
        assert!(said.contains("saw another instance alive"), "{said}");
    }

    #[test]
    fn a_generation_that_falls_or_stays_over_a_move_is_a_flaw() {
        let fell = flaws(&[
            instance("node-1", 2, 100, 200),
            instance("node-1", 1, 300, 400),
        ]);
        assert!(fell.contains("generations must rise"), "{fell}");
        let stayed = flaws(&[
            instance("node-1", 2, 100, 200),
            instance("node-2", 2, 300, 400),
        ]);
        assert!(stayed.contains("generations must rise"), "{stayed}");
        let mut unknown = instance("node-1", 2, 100, 200);
        unknown.generation = None;
        assert!(flaws(&[unknown]).contains("no generation"));
    }

    #[test]
    fn times_of_two_boots_are_not_compared() {
        let mut later = instance("node-1", 3, 150, 180);
        later.boot_id = BootId::new("other").unwrap();
        let first = instance("node-1", 1, 100, 200);
        assert!(prove_exclusive(&[first.clone(), later.clone()]).is_ok());
        later.boot_id = first.boot_id.clone();
        assert!(prove_exclusive(&[first, later]).is_err());
    }
}
