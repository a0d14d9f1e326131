//! `cargo xtask sim`: runs many seeds, or one of them with its whole story.

use std::process::ExitCode;

use clap::Parser;
use nodemedic_sim::{Knobs, run};

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
    /// Print every fact of the first seed.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seeds = if arguments.trace { 1 } else { arguments.seeds };
    let mut failed = 0;
    for seed in arguments.seed..arguments.seed.saturating_add(seeds) {
        let mut knobs = Knobs::draw(seed);
        if let Some(seconds) = arguments.seconds {
            knobs.fault_ms = seconds.saturating_mul(1000);
        }
        if let Some(nodes) = arguments.nodes {
            knobs.hosts = nodes.max(1);
        }
        println!("{knobs}");
        let outcome = run(knobs, arguments.trace);
        for (at, fact) in &outcome.kept {
            println!(
                "{:>9.3} {fact:?}",
                f64::from(u32::try_from(*at).unwrap_or(0)) / 1000.0
            );
        }
        if let Some(violation) = outcome.violations.first() {
            let at = violation.at;
            eprintln!(
                "seed {seed}, at {at} ms: {}: {}",
                violation.property, violation.what
            );
            eprintln!("to see it: cargo xtask sim --seed {seed} --trace");
            failed += 1;
            continue;
        }
        let rested = outcome.rested.unwrap_or_default() / 1000;
        println!(
            "  well: {} facts, at rest after {rested} s, {:016x}",
            outcome.facts, outcome.hash
        );
    }
    if failed > 0 {
        eprintln!("{failed} of {seeds} seeds broke a property");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
