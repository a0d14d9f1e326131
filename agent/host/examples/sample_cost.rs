//! What sampling costs: takes N samples (first argument, default 60) with a pause of M milliseconds
//! (second, default 1000) and prints one JSON object: processor time and resident memory.

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use nodemedic_agent_host::sampler::{Roots, Sampler};
use nodemedic_edge::clock;

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| match arguments.next() {
        Some(text) => text
            .parse()
            .map_err(|e| format!("{text:?} is no number: {e}")),
        None => Ok(default),
    };
    let (samples, pause_ms) = (number(60)?.max(1), number(1000)?);
    let mut sampler = Sampler::new(Roots::default(), 5);
    // Fills what is kept between ticks; it happens once in the life of an agent.
    sampler.sample(clock::now(), clock::boottime_us());
    let (_never, pause) = channel::<()>();
    let mut unread = 0;
    let before_us = cpu_us()?;
    for _ in 0..samples {
        let _always_timeout = pause.recv_timeout(Duration::from_millis(pause_ms));
        let sample = sampler.sample(clock::now(), clock::boottime_us());
        unread += sample.unread.len();
    }
    let used_us = cpu_us()?.saturating_sub(before_us);
    let result = serde_json::json!({
        "cpu_us_per_sample": used_us / samples,
        "rss_bytes": rss_bytes()?,
        "samples": samples,
        "unread": unread,
    });
    println!("{result}");
    Ok(())
}

/// Processor time of this process, user and kernel.
fn cpu_us() -> Result<u64, String> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)
        .map_err(|error| format!("cannot read the usage of this process: {error}"))?;
    let us = |time: nix::sys::time::TimeVal| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        seconds * 1_000_000 + u64::try_from(time.tv_usec()).unwrap_or(0)
    };
    Ok(us(usage.user_time()) + us(usage.system_time()))
}

fn rss_bytes() -> Result<u64, String> {
    let stat =
        nodemedic_agent_host::sampler::pid_stat::stat_of(Path::new("/proc"), std::process::id());
    let stat = stat.map_err(|error| error.to_string())?;
    let pages = stat.map_or(0, |stat| stat.rss_pages);
    Ok(pages * rustix::param::page_size() as u64)
}
