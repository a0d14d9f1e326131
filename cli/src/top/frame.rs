//! One frame: which parts stand where.

use nodemedic_protocol::healing::Mode;
use nodemedic_protocol::local::LocalStatus;

use super::{parts, services};
use crate::out::{Paint, PaintedLine, clean};
use crate::words;

/// The host as painted lines, at most `width` columns wide.
pub fn frame(status: &LocalStatus, width: usize) -> Vec<PaintedLine> {
    let mut lines = vec![head(status), link(status)];
    lines.extend(healing(status));
    let part = |name: &str, more: Vec<PaintedLine>, lines: &mut Vec<PaintedLine>| {
        if !more.is_empty() {
            lines.push(Vec::new());
            lines.push(vec![(name.to_owned(), Paint::Bold)]);
            lines.extend(more);
        }
    };
    part("CONDITIONS", parts::conditions(status, width), &mut lines);
    part("SERVICES", services::services(status, width), &mut lines);
    part("WORKS", parts::works(status, width), &mut lines);
    match &status.sample {
        Some(sample) => {
            part(
                "PROCESSORS AND MEMORY",
                parts::gauges(sample, width),
                &mut lines,
            );
            part("DISKS", parts::disks(sample, width), &mut lines);
            part("FILESYSTEMS", parts::filesystems(sample, width), &mut lines);
            part("NETWORKS", parts::nics(sample, width), &mut lines);
            part("PROCESSES", parts::processes(sample, width), &mut lines);
            part("NOT READ", parts::unread(sample, width), &mut lines);
        }
        None => lines.push(vec![("no sample yet".to_owned(), Paint::Dim)]),
    }
    lines
}

fn head(status: &LocalStatus) -> PaintedLine {
    let inventory = &status.inventory;
    let about = format!(
        "  {} processors, {}, agent {}",
        inventory.cpus,
        inventory.os.as_deref().unwrap_or("-"),
        status.version
    );
    let mut line = vec![
        (format!("{}  ", status.node), Paint::Bold),
        (status.level.to_string(), words::level_paint(status.level)),
        (clean(&about), Paint::Dim),
    ];
    if let Some(reason) = &status.drain_wanted {
        line.push((
            format!("  asks to be drained: {}", clean(reason)),
            Paint::Bad,
        ));
    }
    line
}

fn link(status: &LocalStatus) -> PaintedLine {
    let link = &status.link;
    let since = status.at.since(link.since);
    let mut line = if link.up {
        vec![(format!("broker: connected for {since}"), Paint::Good)]
    } else {
        let why = link.last_error.as_deref().unwrap_or("never connected");
        vec![(
            format!("broker: not connected for {since}: {}", clean(why)),
            Paint::Warn,
        )]
    };
    line.push((
        format!(
            "  promises kept by {}; {} events wait",
            words::enforcement(status.enforcement),
            link.spooled_events
        ),
        Paint::Dim,
    ));
    if link.dropped_events > 0 {
        line.push((format!(", {} dropped", link.dropped_events), Paint::Warn));
    }
    line
}

/// What holds healing back on the whole host; nothing when nothing does.
fn healing(status: &LocalStatus) -> Option<PaintedLine> {
    let healing = &status.healing;
    let mut parts = Vec::new();
    if healing.mode != Mode::Act {
        parts.push(format!("mode {}: no service is healed", healing.mode));
    }
    if let Some(pause) = &healing.paused {
        let left = pause.until.since(status.at);
        parts.push(format!(
            "paused for another {left}: {}",
            clean(&pause.reason)
        ));
    }
    if let Some(since) = healing.package_manager_since {
        let since = status.at.since(since);
        parts.push(format!("waits for the package manager, for {since}"));
    }
    if healing.under_way >= healing.at_once && healing.at_once > 0 {
        parts.push(format!(
            "{} acts are under way, the rest waits",
            healing.under_way
        ));
    }
    let text = format!("healing: {}", parts.join("; "));
    (!parts.is_empty()).then(|| vec![(text, Paint::Warn)])
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::out::paint_line;
    use nodemedic_protocol::healing::{HealingStatus, PauseStatus, Rung};
    use nodemedic_protocol::inventory::Inventory;
    use nodemedic_protocol::local::{LinkStatus, ServiceStatus};
    use nodemedic_protocol::message::Session;
    use nodemedic_protocol::sample::{
        Cpu, Disk, Filesystem, Load, Memory, Nic, PerMille, Pressure, Process, Sample, Stall,
    };
    use nodemedic_protocol::work::{Enforcement, WorkState, WorkStatus};
    use nodemedic_protocol::{
        BootId, Boottime, Epoch, Generation, Level, Millis, NodeId, Revision, ServiceName,
        SessionId, WallTime, WorkName,
    };

    fn sample() -> Sample {
        let stall = |some| {
            Some(Stall {
                some_avg10: PerMille(some),
                full_avg10: None,
                some_total_us: 1,
            })
        };
        Sample {
            at: Boottime(59_500),
            wall: WallTime(1),
            took_us: 900,
            cpu: Some(Cpu {
                online: 2,
                busy: Some(PerMille(500)),
                iowait: Some(PerMille(20)),
                per_core_busy: vec![PerMille(250), PerMille(750)],
                ..Cpu::default()
            }),
            memory: Some(Memory {
                total_bytes: 4 << 30,
                available_bytes: Some(3 << 30),
                ..Memory::default()
            }),
            pressure: Some(Pressure {
                cpu: stall(15),
                memory: stall(0),
                io: None,
            }),
            load: Some(Load {
                one_milli: 1250,
                five_milli: 800,
                fifteen_milli: 400,
                runnable: 2,
            }),
            disks: vec![Disk {
                name: "vda".into(),
                read_bytes_per_s: Some(2048),
                busy: Some(PerMille(42)),
                latency_us: None,
                ..Disk::default()
            }],
            filesystems: vec![Filesystem {
                mount_point: "/mnt/nfs".into(),
                source: "server:/x".into(),
                kind: "nfs4".into(),
                writable: true,
                ..Filesystem::default()
            }],
            nics: vec![Nic {
                name: "eth0".into(),
                carrier: Some(true),
                ..Nic::default()
            }],
            top_cpu: vec![Process {
                pid: 7,
                name: "evil\x1b[2J".into(),
                state: 'R',
                cpu: Some(PerMille(990)),
                rss_bytes: 1 << 20,
                threads: 3,
            }],
            process_count: Some(120),
            ..Sample::default()
        }
    }

    /// A status with something in each part.
    pub fn status() -> LocalStatus {
        LocalStatus {
            node: NodeId::new("node-1").unwrap(),
            version: "0.1.0".into(),
            session: Session {
                boot_id: BootId::new("b").unwrap(),
                session_id: SessionId::new("s").unwrap(),
            },
            at: Boottime(60_000),
            level: Level::Healthy,
            conditions: Vec::new(),
            sample: Some(sample()),
            inventory: Inventory {
                cpus: 2,
                os: Some("Debian 12".into()),
                ..Inventory::default()
            },
            healing: HealingStatus {
                at_once: 10,
                ..HealingStatus::default()
            },
            services: vec![ServiceStatus {
                service: ServiceName::new("nginx").unwrap(),
                state: "running".into(),
                mode: Mode::Act,
                paused: None,
                failures: 0,
                next: Some(Rung::Restart),
                since: Boottime(10_000),
                pid: Some(42),
                restarts_used: 1,
                restarts_allowed: 5,
                window: Millis(600_000),
                detail: String::new(),
            }],
            works: vec![WorkStatus {
                work: WorkName::new("web").unwrap(),
                generation: Generation(3),
                state: WorkState::Running,
                since: Boottime(50_000),
                pid: Some(43),
                detail: String::new(),
            }],
            link: LinkStatus {
                up: true,
                since: Boottime(1_000),
                last_error: None,
                spooled_events: 0,
                dropped_events: 0,
            },
            enforcement: Enforcement::Software {
                timeout: Millis(1000),
            },
            epoch_seen: Epoch(1),
            revision: Revision(2),
            drain_wanted: None,
        }
    }

    #[test]
    fn a_frame_shows_the_host_and_unknown_is_a_dash() {
        let lines: Vec<String> = frame(&status(), 100)
            .iter()
            .map(|line| paint_line(line, false))
            .collect();
        assert_eq!(
            lines.join("\n"),
            "\
node-1  healthy  2 processors, Debian 12, agent 0.1.0
broker: connected for 59.0s  promises kept by software watchdog, 1.0s; 0 events wait

SERVICES
  SERVICE  STATE    SINCE      PID  RESTARTS          DETAIL
  nginx    running  50.0s ago   42  1 of 5 in 10m00s

WORKS
  WORK  GENERATION  STATE    SINCE      PID  DETAIL
  web            3  running  10.0s ago   43

PROCESSORS AND MEMORY
  cpu     [##########          ]  50.0%  user - system - iowait 2.0% steal -
  cores   25%  75%
  memory  [#####               ]  25.0%  1.0 GiB of 4.0 GiB used
  load    1.25 0.80 0.40, 120 processes
  stalls  cpu 1.5%, memory 0.0%, io -

DISKS
  DISK   READ/S  WRITTEN/S  OPS/S  LATENCY  BUSY
  vda   2.0 KiB          -      -        -  4.2%

FILESYSTEMS
  MOUNT POINT  TYPE  USED  AVAILABLE  SIZE  INODES  NOTE
  /mnt/nfs     nfs4     -          -     -       -  does not answer

NETWORKS
  INTERFACE  LINK  RECEIVED/S  SENT/S  SPEED  ERRORS  DROPS
  eth0       up             -       -      -       0      0

PROCESSES
  PID  NAME      STATE    CPU   MEMORY  THREADS
    7  evil\u{fffd}[2J  R      99.0%  1.0 MiB        3"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in [60, 80, 120] {
            for line in frame(&status(), columns) {
                let text = paint_line(&line, false);
                assert!(
                    crate::out::width(&text) <= columns.max(84),
                    "{columns}: {text}"
                );
            }
        }
    }

    #[test]
    fn what_holds_healing_back_is_said_at_the_top_and_at_the_service() {
        let mut status = status();
        status.healing.mode = Mode::Advise;
        status.healing.paused = Some(PauseStatus {
            since: Boottime(0),
            until: Boottime(90_000),
            reason: "new disk".into(),
        });
        status.services[0].mode = Mode::Advise;
        status.services[0].paused = status.healing.paused.clone();
        let text: Vec<String> = frame(&status, 140)
            .iter()
            .map(|line| paint_line(line, false))
            .collect();
        assert_eq!(
            text[2],
            "healing: mode advise: no service is healed; paused for another 30.0s: new disk"
        );
        let service = text.iter().find(|line| line.contains("nginx")).unwrap();
        assert!(
            service.ends_with("mode advise; paused for another 30.0s: new disk"),
            "{service}"
        );
    }

    #[test]
    fn a_host_without_a_sample_says_so() {
        let mut status = status();
        status.sample = None;
        status.link.up = false;
        let text: Vec<String> = frame(&status, 100)
            .iter()
            .map(|line| paint_line(line, false))
            .collect();
        assert!(text.iter().any(|line| line == "no sample yet"));
        assert!(text[1].starts_with("broker: not connected for 59.0s: never connected"));
    }
}
