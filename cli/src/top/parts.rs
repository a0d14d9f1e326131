//! The parts of a frame, each a few painted lines.

use nodemedic_protocol::local::LocalStatus;
use nodemedic_protocol::sample::{Filesystem, PerMille, Process, Sample, Stall};

use crate::out::{Cell, Column, Paint, PaintedLine, Table, bytes, per_mille, since_boot};
use crate::words;

/// Columns of a gauge's bar.
const BAR: usize = 20;

/// Spaces before every line of a part.
const INDENT: usize = 2;

pub(super) fn table(columns: &[Column]) -> Table {
    Table::new(columns).indented(INDENT)
}

/// What is wrong.
pub fn conditions(status: &LocalStatus, width: usize) -> Vec<PaintedLine> {
    let mut table = table(&[
        Column::left("WHAT"),
        Column::left("SEVERITY"),
        Column::left("SINCE"),
        Column::flexible("MESSAGE", 20),
    ]);
    for condition in &status.conditions {
        let paint = words::severity_paint(condition.severity);
        let unseen = if condition.seen {
            ""
        } else {
            " (not seen now)"
        };
        table.row(vec![
            Cell::painted(
                format!("{}: {}", condition.component, condition.reason),
                paint,
            ),
            Cell::painted(condition.severity.to_string(), paint),
            since_boot(status.at, condition.since).into(),
            format!("{}{unseen}", condition.message).into(),
        ]);
    }
    lines(&table, width)
}

/// Works that the coordinator placed here.
pub fn works(status: &LocalStatus, width: usize) -> Vec<PaintedLine> {
    let mut table = table(&[
        Column::left("WORK"),
        Column::right("GENERATION"),
        Column::left("STATE"),
        Column::left("SINCE"),
        Column::right("PID"),
        Column::flexible("DETAIL", 12),
    ]);
    for work in &status.works {
        let (state, paint) = words::work_state(Some(work.state));
        table.row(vec![
            Cell::painted(work.work.as_str(), Paint::Bold),
            work.generation.to_string().into(),
            Cell::painted(state, paint),
            since_boot(status.at, work.since).into(),
            Cell::maybe(work.pid.map(|pid| pid.to_string())),
            work.detail.as_str().into(),
        ]);
    }
    lines(&table, width)
}

/// Processors, memory, load and pressure.
pub fn gauges(sample: &Sample, width: usize) -> Vec<PaintedLine> {
    let mut out = Vec::new();
    if let Some(cpu) = &sample.cpu {
        let shares = format!(
            "user {} system {} iowait {} steal {}",
            per_mille(cpu.user),
            per_mille(cpu.system),
            per_mille(cpu.iowait),
            per_mille(cpu.steal)
        );
        out.push(gauge("cpu", cpu.busy, &shares));
        out.extend(cores(&cpu.per_core_busy, width));
    }
    if let Some(memory) = &sample.memory {
        let used = memory
            .available_bytes
            .map(|a| memory.total_bytes.saturating_sub(a));
        let text = used.map_or_else(|| "-".to_owned(), bytes);
        let text = format!("{text} of {} used", bytes(memory.total_bytes));
        out.push(gauge(
            "memory",
            used.and_then(|u| share(u, memory.total_bytes)),
            &text,
        ));
        if let (Some(total), Some(free)) = (memory.swap_total_bytes, memory.swap_free_bytes)
            && total > 0
        {
            let used = total.saturating_sub(free);
            let text = format!("{} of {} used", bytes(used), bytes(total));
            out.push(gauge("swap", share(used, total), &text));
        }
    }
    if let Some(load) = &sample.load {
        let hundredths = |milli: u64| format!("{}.{:02}", milli / 1000, milli % 1000 / 10);
        let count = sample
            .process_count
            .map_or_else(|| "-".to_owned(), |n| n.to_string());
        let text = format!(
            "{} {} {}, {count} processes",
            hundredths(load.one_milli),
            hundredths(load.five_milli),
            hundredths(load.fifteen_milli)
        );
        out.push(plain("load", &text));
    }
    if let Some(pressure) = &sample.pressure {
        let some = |stall: &Option<Stall>| per_mille(stall.as_ref().map(|s| s.some_avg10));
        let text = format!(
            "cpu {}, memory {}, io {}",
            some(&pressure.cpu),
            some(&pressure.memory),
            some(&pressure.io)
        );
        out.push(plain("stalls", &text));
    }
    out
}

fn plain(name: &str, text: &str) -> PaintedLine {
    vec![
        (format!("  {name:<8}"), Paint::Dim),
        (text.to_owned(), Paint::Plain),
    ]
}

fn gauge(name: &str, share: Option<PerMille>, text: &str) -> PaintedLine {
    let filled = share.map_or(0, |PerMille(p)| {
        let p = usize::try_from(p.min(1000)).unwrap_or(1000);
        (p * BAR).div_ceil(1000)
    });
    let bar = format!("{}{}", "#".repeat(filled), " ".repeat(BAR - filled));
    vec![
        (format!("  {name:<8}["), Paint::Dim),
        (bar, load_paint(share)),
        ("]  ".to_owned(), Paint::Dim),
        (format!("{:>5}", per_mille(share)), Paint::Bold),
        (format!("  {text}"), Paint::Dim),
    ]
}

/// A number for each core, as many lines as it takes.
fn cores(busy: &[PerMille], width: usize) -> Vec<PaintedLine> {
    const CELL: usize = 5;
    let head = INDENT + 8;
    let in_a_line = (width.saturating_sub(head) / CELL).max(1);
    busy.chunks(in_a_line)
        .enumerate()
        .map(|(i, chunk)| {
            let name = if i == 0 { "cores" } else { "" };
            let mut line = vec![(format!("  {name:<8}"), Paint::Dim)];
            let last = chunk.len().saturating_sub(1);
            line.extend(chunk.iter().enumerate().map(|(i, share)| {
                let text = format!("{}%", share.0 / 10);
                let text = if i == last {
                    text
                } else {
                    format!("{text:<CELL$}")
                };
                (text, load_paint(Some(*share)))
            }));
            line
        })
        .collect()
}

const fn load_paint(share: Option<PerMille>) -> Paint {
    match share {
        None => Paint::Dim,
        Some(PerMille(0..=699)) => Paint::Good,
        Some(PerMille(700..=899)) => Paint::Warn,
        Some(PerMille(_)) => Paint::Bad,
    }
}

fn share(part: u64, whole: u64) -> Option<PerMille> {
    let share = u128::from(part) * 1000;
    let share = share.checked_div(u128::from(whole))?;
    u32::try_from(share).ok().map(PerMille)
}

fn rate(per_second: Option<u64>) -> Cell {
    Cell::maybe(per_second.map(bytes))
}

fn number(value: Option<u64>) -> Cell {
    Cell::maybe(value.map(|value| value.to_string()))
}

/// Block devices.
pub fn disks(sample: &Sample, width: usize) -> Vec<PaintedLine> {
    let mut table = table(&[
        Column::left("DISK"),
        Column::right("READ/S"),
        Column::right("WRITTEN/S"),
        Column::right("OPS/S"),
        Column::right("LATENCY"),
        Column::right("BUSY"),
    ]);
    for disk in &sample.disks {
        table.row(vec![
            disk.name.as_str().into(),
            rate(disk.read_bytes_per_s),
            rate(disk.written_bytes_per_s),
            number(disk.ops_per_s),
            Cell::maybe(disk.latency_us.map(crate::out::micros)),
            Cell::painted(per_mille(disk.busy), load_paint(disk.busy)),
        ]);
    }
    lines(&table, width)
}

/// Mounted filesystems.
pub fn filesystems(sample: &Sample, width: usize) -> Vec<PaintedLine> {
    let mut table = table(&[
        Column::flexible("MOUNT POINT", 12),
        Column::left("TYPE"),
        Column::right("USED"),
        Column::right("AVAILABLE"),
        Column::right("SIZE"),
        Column::right("INODES"),
        Column::flexible("NOTE", 4),
    ]);
    for fs in &sample.filesystems {
        let used = used_share(fs.available_bytes, fs.total_bytes);
        let inodes = used_share(fs.inodes_free, fs.inodes_total);
        table.row(vec![
            fs.mount_point.as_str().into(),
            fs.kind.as_str().into(),
            Cell::painted(per_mille(used), load_paint(used)),
            rate(fs.available_bytes),
            rate(fs.total_bytes),
            Cell::painted(per_mille(inodes), load_paint(inodes)),
            note(fs),
        ]);
    }
    lines(&table, width)
}

fn used_share(free: Option<u64>, total: Option<u64>) -> Option<PerMille> {
    let (free, total) = (free?, total?);
    share(total.saturating_sub(free), total)
}

fn note(fs: &Filesystem) -> Cell {
    if fs.total_bytes.is_none() {
        Cell::painted("does not answer", Paint::Warn)
    } else if fs.writable {
        "".into()
    } else {
        Cell::painted("read-only", Paint::Dim)
    }
}

/// Network interfaces.
pub fn nics(sample: &Sample, width: usize) -> Vec<PaintedLine> {
    let mut table = table(&[
        Column::left("INTERFACE"),
        Column::left("LINK"),
        Column::right("RECEIVED/S"),
        Column::right("SENT/S"),
        Column::right("SPEED"),
        Column::right("ERRORS"),
        Column::right("DROPS"),
    ]);
    for nic in &sample.nics {
        let link = match nic.carrier {
            Some(true) => Cell::painted("up", Paint::Good),
            Some(false) => Cell::painted("no carrier", Paint::Bad),
            None => Cell::painted("down", Paint::Dim),
        };
        table.row(vec![
            nic.name.as_str().into(),
            link,
            rate(nic.rx_bytes_per_s),
            rate(nic.tx_bytes_per_s),
            Cell::maybe(nic.speed_mbit_per_s.map(|speed| format!("{speed} Mbit/s"))),
            nic.errors.to_string().into(),
            nic.drops.to_string().into(),
        ]);
    }
    lines(&table, width)
}

/// The processes that use the most processor time, then those that use the most memory.
pub fn processes(sample: &Sample, width: usize) -> Vec<PaintedLine> {
    let mut table = table(&[
        Column::right("PID"),
        Column::flexible("NAME", 12),
        Column::left("STATE"),
        Column::right("CPU"),
        Column::right("MEMORY"),
        Column::right("THREADS"),
    ]);
    let seen = |p: &&Process| !sample.top_cpu.iter().any(|other| other.pid == p.pid);
    for process in sample
        .top_cpu
        .iter()
        .chain(sample.top_memory.iter().filter(seen))
    {
        table.row(vec![
            process.pid.to_string().into(),
            process.name.as_str().into(),
            process.state.to_string().into(),
            Cell::painted(per_mille(process.cpu), load_paint(process.cpu)),
            bytes(process.rss_bytes).into(),
            process.threads.to_string().into(),
        ]);
    }
    lines(&table, width)
}

/// What could not be read, and why.
pub fn unread(sample: &Sample, width: usize) -> Vec<PaintedLine> {
    let mut table = Table::bare(
        &[Column::left("source"), Column::flexible("why", 20)],
        INDENT,
    );
    for one in &sample.unread {
        table.row(vec![
            Cell::painted(&one.source, Paint::Warn),
            Cell::painted(&one.error, Paint::Dim),
        ]);
    }
    lines(&table, width)
}

pub(super) fn lines(table: &Table, width: usize) -> Vec<PaintedLine> {
    if table.is_empty() {
        Vec::new()
    } else {
        table.lines(Some(width))
    }
}
