//! `cargo xtask sim`: runs many seeds, or one of them with its whole story.

use std::process::ExitCode;

use clap::Parser;
use nodemedic_sim::{Knobs, Outcome, many, run_on, tell};

#[derive(Parser)]
#[command(
    name = "sim",
    about = "Deterministic simulation of agents and coordinator."
)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed, or the only one with --trace.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long faults last, in seconds of virtual time.
    #[arg(long)]
    seconds: Option<u64>,
    /// How many hosts; drawn from the seed when absent.
    #[arg(long)]
    nodes: Option<usize>,
    /// Let fence devices lie and persons err in every world, not in some.
    #[arg(long)]
    misled: bool,
    /// Print every fact of the first seed.
    #[arg(long)]
    trace: bool,
    /// Print the first seed as a story.
    #[arg(long)]
    story: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = if arguments.trace { 1 } else { arguments.seeds };
    let knobs = |seed| {
        let mut knobs = Knobs::draw(seed);
        if let Some(seconds) = arguments.seconds {
            knobs.fault_ms = seconds.saturating_mul(1000);
        }
        if let Some(nodes) = arguments.nodes {
            knobs.set_hosts(nodes);
        }
        if arguments.misled {
            knobs.mislead();
        }
        println!("{knobs}");
        knobs
    };
    let last = arguments.seed.saturating_add(seeds).saturating_sub(1);
    if arguments.story {
        let outcome = run_on(knobs(arguments.seed));
        print!("{}", tell(&outcome));
        return ExitCode::SUCCESS;
    }
    let all = arguments.seed..=last;
    let well = many(all, arguments.trace, knobs, |outcome| {
        (report(&outcome), false)
    });
    let failed = well.iter().filter(|well| !**well).count();
    if failed > 0 {
        eprintln!("{failed} of {seeds} seeds broke a property");
        return ExitCode::FAILURE;
    }
    println!("{seeds} seeds are well");
    ExitCode::SUCCESS
}

/// Says how a world ended, and with --trace all that happened. True when it ended well.
fn report(outcome: &Outcome) -> bool {
    let seed = outcome.knobs.seed;
    for (at, fact) in &outcome.kept {
        println!("{:>5}.{:03} {fact:?}", at / 1000, at % 1000);
    }
    if let Some(violation) = outcome.violations.first() {
        let at = violation.at;
        eprintln!("{}", outcome.knobs);
        eprintln!(
            "seed {seed}, at {at} ms: {}: {}",
            violation.property, violation.what
        );
        eprintln!("to see it: cargo xtask sim --seed {seed} --trace, or --story");
        return false;
    }
    let rested = outcome.rested.unwrap_or_default() / 1000;
    println!(
        "seed {seed}: well: {} facts, at rest after {rested} s, {:016x}",
        outcome.facts, outcome.hash
    );
    true
}
