//! Processors, from /proc/stat (proc_stat(5), units of USER_HZ).

use nodemedic_protocol::sample::Cpu;

use super::rate;
use super::source::{Malformed, numbers};

/// Times of one line, in ticks. `guest` is left out: the kernel counts it in `user` already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticks {
    /// User and nice.
    pub user: u64,
    /// Kernel, interrupts, soft interrupts.
    pub system: u64,
    /// Nothing to do.
    pub idle: u64,
    /// Nothing to do but to wait for storage.
    pub iowait: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
}

impl Ticks {
    fn busy(self) -> u64 {
        self.user
            .saturating_add(self.system)
            .saturating_add(self.steal)
    }

    fn total(self) -> u64 {
        self.busy()
            .saturating_add(self.idle)
            .saturating_add(self.iowait)
    }
}

/// All lines of one reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The line `cpu`.
    pub all: Ticks,
    /// The lines `cpuN` of online processors: N and its times, in kernel order.
    pub cores: Vec<(u32, Ticks)>,
}

/// Reads /proc/stat.
///
/// # Errors
/// When there is no `cpu` line with at least the four times of the oldest kernels.
pub fn parse(text: &str) -> Result<Reading, Malformed> {
    let mut reading = Reading::default();
    let mut seen = false;
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("cpu") else {
            break;
        };
        let mut fields = rest.split_ascii_whitespace();
        if rest.starts_with(' ') {
            reading.all = ticks(&mut fields).ok_or(Malformed("bad cpu line"))?;
            seen = true;
        } else {
            let number = fields.next().and_then(|n| n.parse().ok());
            let number = number.ok_or(Malformed("bad processor number"))?;
            let ticks = ticks(&mut fields).ok_or(Malformed("bad processor line"))?;
            reading.cores.push((number, ticks));
        }
    }
    if seen {
        Ok(reading)
    } else {
        Err(Malformed("no cpu line"))
    }
}

fn ticks(fields: &mut std::str::SplitAsciiWhitespace<'_>) -> Option<Ticks> {
    let [user, nice, system, idle] = numbers::<4>(fields)?;
    // Kernels before 2.6.11 end here; a field that is there must be a number.
    let mut more = [0_u64; 4];
    for slot in &mut more {
        match fields.next() {
            Some(field) => *slot = field.parse().ok()?,
            None => break,
        }
    }
    let [iowait, irq, softirq, steal] = more;
    Some(Ticks {
        user: user.saturating_add(nice),
        system: system.saturating_add(irq).saturating_add(softirq),
        idle,
        iowait,
        steal,
    })
}

/// What happened between two readings.
#[must_use]
pub fn view(now: &Reading, before: Option<&Reading>, ticks_per_s: u64) -> Cpu {
    let mut cpu = Cpu {
        online: u32::try_from(now.cores.len()).unwrap_or(u32::MAX),
        busy_ms: now.all.busy().saturating_mul(1000) / ticks_per_s.max(1),
        ..Cpu::default()
    };
    let Some(before) = before else {
        return cpu;
    };
    if let Some(total) = rate::growth(before.all.total(), now.all.total()) {
        let part = |old: u64, new: u64| rate::share(rate::growth(old, new)?, total);
        cpu.busy = part(before.all.busy(), now.all.busy());
        cpu.user = part(before.all.user, now.all.user);
        cpu.system = part(before.all.system, now.all.system);
        // The kernel lets iowait go backwards a little (proc_stat(5)); that tick has none.
        cpu.iowait = part(before.all.iowait, now.all.iowait);
        cpu.steal = part(before.all.steal, now.all.steal);
    }
    cpu.per_core_busy = cores(now, before).unwrap_or_default();
    cpu
}

/// All cores or none: a list with holes could not be matched to processors.
fn cores(now: &Reading, before: &Reading) -> Option<Vec<nodemedic_protocol::sample::PerMille>> {
    if now.cores.len() != before.cores.len() {
        return None;
    }
    now.cores
        .iter()
        .zip(&before.cores)
        .map(|((number, new), (old_number, old))| {
            if number != old_number {
                return None;
            }
            let total = rate::growth(old.total(), new.total())?;
            rate::share(rate::growth(old.busy(), new.busy())?, total)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::sample::PerMille;

    #[test]
    fn shares_come_from_two_readings_and_never_from_one() {
        let first = parse("cpu 100 0 50 800 50 0 0 0 0 0\ncpu0 100 0 50 800 50 0 0 0\n").unwrap();
        let second = parse("cpu 130 20 60 860 70 5 5 50 9 9\ncpu0 130 20 60 860 70 5 5 50\n");
        let second = second.unwrap();
        assert_eq!(view(&first, None, 100).busy, None);
        let cpu = view(&second, Some(&first), 100);
        assert_eq!(cpu.busy, Some(PerMille(600)));
        assert_eq!(cpu.user, Some(PerMille(250)));
        assert_eq!(cpu.system, Some(PerMille(100)));
        assert_eq!(cpu.iowait, Some(PerMille(100)));
        assert_eq!(cpu.steal, Some(PerMille(250)));
        assert_eq!(cpu.per_core_busy, [PerMille(600)]);
        assert_eq!((cpu.online, cpu.busy_ms), (1, 2700));
    }

    #[test]
    fn counters_that_went_backwards_give_no_share() {
        let first = parse("cpu 100 0 50 800 50\ncpu0 1 1 1 1\n").unwrap();
        let second = parse("cpu 1 0 1 8 5\ncpu0 1 1 1 1\n").unwrap();
        let cpu = view(&second, Some(&first), 100);
        assert_eq!((cpu.busy, cpu.iowait), (None, None));
        assert!(cpu.per_core_busy.is_empty(), "no time passed on the core");
    }

    #[test]
    fn a_processor_that_went_offline_shifts_nothing() {
        let first = parse("cpu 1 1 1 1\ncpu0 1 1 1 1\ncpu1 1 1 1 1\n").unwrap();
        let second = parse("cpu 2 2 2 2\ncpu1 2 2 2 2\n").unwrap();
        let cpu = view(&second, Some(&first), 100);
        assert_eq!(cpu.online, 1);
        assert!(cpu.per_core_busy.is_empty());
        assert_eq!(cpu.busy, Some(PerMille(750)));
    }
}
