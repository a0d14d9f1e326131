//! `nodemedic inject`: breaks something on this host on purpose. The agent keeps the time and takes
//! it back by itself, whatever happens to this command.

use std::path::PathBuf;

use nodemedic_edge::config::span;
use nodemedic_protocol::inject::{Fault, InjectRequest, Injection, SCRATCH_BYTES, SPAN_DEFAULT};
use nodemedic_protocol::local::{LocalRequest, LocalResponse};
use nodemedic_protocol::{Component, Millis, ServiceName, Severity, WorkName};

use crate::args::Context;
use crate::failure::Failure;
use crate::local;
use crate::out::{Cell, Column, Paint, Table, ago, clean};

const AFTER_HELP: &str = "\
The agent takes each fault back after --for (1m unless you say otherwise, at most 1h), also when
this command is killed; an agent that restarts takes back everything at its start, one that stops
does before. Both ends are events: `nodemedic events`.

It is refused unless the agent's configuration says `[inject] allow = true`.";

/// Break something on this host on purpose, to see that it is noticed, healed and told.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    fault: Option<What>,
    /// List the faults that stand; this is what happens without any option, too
    #[arg(long, conflicts_with = "undo")]
    list: bool,
    /// Take one back now, or all of them
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "all")]
    undo: Option<Which>,
    /// The agent's local socket
    #[arg(long, global = true, env = "NODEMEDIC_SOCKET", default_value = local::DEFAULT_SOCKET,
          value_name = "PATH")]
    socket: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    All,
    One(u64),
}

impl std::str::FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Which, String> {
        match text {
            "all" => Ok(Which::All),
            _ => text.parse().map(Which::One).map_err(|_| {
                format!("{text:?} is no number of a fault: `nodemedic inject --list` shows them")
            }),
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// SIGKILL every process of a service or work; its healing is the undoing
    Kill {
        /// The service or work
        name: String,
    },
    /// Stop every process of a service or work (SIGSTOP); they go on afterwards
    Hang {
        /// The service or work
        name: String,
        #[command(flatten)]
        time: Time,
    },
    /// Fill a small scratch filesystem, or a directory that [inject] fill_paths allows
    FillDisk {
        /// How much: 512KiB, 16MiB, 2GiB
        #[arg(long, value_parser = size, default_value_t = Size(SCRATCH_BYTES))]
        size: Size,
        /// The directory; 1 % of its filesystem stays free
        #[arg(long, value_name = "DIR")]
        path: Option<String>,
        #[command(flatten)]
        time: Time,
    },
    /// Make a dummy interface that loses and finds its carrier
    FlapNic {
        /// Between one change and the next
        #[arg(long, value_parser = span::parse, default_value = "2s", value_name = "SPAN")]
        every: Millis,
        #[command(flatten)]
        time: Time,
    },
    /// Raise a condition that nobody measured
    Condition {
        /// On what: host, cpu, memory, disk:NAME, filesystem:PATH, nic:NAME, service:NAME,
        /// work:NAME
        #[arg(long, value_parser = component, default_value = "host", value_name = "COMPONENT")]
        on: Component,
        /// How much it matters: info, warning, critical (which calls people)
        #[arg(long, value_parser = severity, default_value = "warning")]
        severity: Severity,
        /// What it says
        #[arg(long, default_value = "a fault on purpose", value_name = "TEXT")]
        message: String,
        #[command(flatten)]
        time: Time,
    },
}

#[derive(Clone, Copy, Debug, clap::Args)]
struct Time {
    /// It is taken back after so long; at most 1h
    #[arg(long = "for", value_parser = span::parse, default_value_t = SPAN_DEFAULT,
          value_name = "SPAN")]
    span: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size(u64);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}MiB", self.0 >> 20)
    }
}

fn size(text: &str) -> Result<Size, String> {
    const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let (number, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
        .unwrap_or((text, 0));
    let number: Option<u64> = number.trim().parse().ok();
    let bytes = number.and_then(|n| n.checked_mul(1_u64.checked_shl(shift)?));
    let bytes = bytes.filter(|bytes| *bytes > 0);
    bytes.map(Size).ok_or_else(|| {
        format!("{text:?} is no size: write a number of bytes, or 512KiB, 16MiB, 2GiB")
    })
}

fn severity(text: &str) -> Result<Severity, String> {
    match text {
        "info" => Ok(Severity::Info),
        "warning" => Ok(Severity::Warning),
        "critical" => Ok(Severity::Critical),
        _ => Err(format!("{text:?} is none of info, warning, critical")),
    }
}

fn component(text: &str) -> Result<Component, String> {
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    let named = || match name {
        "" => Err(format!("name it: {kind}:NAME")),
        name => Ok(name.to_owned()),
    };
    match kind {
        "host" if name.is_empty() => Ok(Component::Host),
        "cpu" if name.is_empty() => Ok(Component::Cpu),
        "memory" if name.is_empty() => Ok(Component::Memory),
        "disk" => named().map(Component::Disk),
        "filesystem" => named().map(Component::Filesystem),
        "nic" => named().map(Component::Nic),
        "service" => ServiceName::new(name)
            .map(Component::Service)
            .map_err(|e| e.to_string()),
        "work" => WorkName::new(name)
            .map(Component::Work)
            .map_err(|e| e.to_string()),
        _ => Err(format!(
            "{text:?} is no component: write host, cpu, memory, disk:NAME, filesystem:PATH, \
             nic:NAME, service:NAME or work:NAME"
        )),
    }
}

/// Asks and prints.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let request = match (&args.fault, args.undo) {
        (Some(what), _) => {
            let (fault, span) = begin(what);
            InjectRequest::Begin { fault, span }
        }
        (None, Some(Which::All)) => InjectRequest::Undo { id: None },
        (None, Some(Which::One(id))) => InjectRequest::Undo { id: Some(id) },
        (None, None) => InjectRequest::List,
    };
    let answer = local::call(&args.socket, &LocalRequest::Inject(request.clone()))?;
    let LocalResponse::Injections(faults) = answer else {
        return Err(local::odd(&args.socket));
    };
    let screen = &context.screen;
    if screen.json {
        return screen.json(&faults);
    }
    match request {
        InjectRequest::List if faults.is_empty() => screen.say("no fault stands on this host"),
        InjectRequest::List => screen.table(&table(&faults, nodemedic_edge::clock::wall())),
        InjectRequest::Undo { .. } if faults.is_empty() => screen.say("there was nothing to undo"),
        InjectRequest::Undo { .. } => {
            for fault in &faults {
                screen.say(&format!("undone: {}", clean(&fault.fault.to_string())));
            }
        }
        InjectRequest::Begin { .. } => {
            for fault in &faults {
                screen.say(&begun(fault));
            }
        }
    }
    Ok(())
}

fn begin(what: &What) -> (Fault, Millis) {
    match what {
        What::Kill { name } => (Fault::Kill { of: name.clone() }, SPAN_DEFAULT),
        What::Hang { name, time } => (Fault::Hang { of: name.clone() }, time.span),
        What::FillDisk { size, path, time } => {
            let (bytes, path) = (size.0, path.clone());
            (Fault::FillDisk { bytes, path }, time.span)
        }
        What::FlapNic { every, time } => (Fault::FlapNic { every: *every }, time.span),
        What::Condition {
            on,
            severity,
            message,
            time,
        } => {
            let fault = Fault::Condition {
                component: on.clone(),
                severity: *severity,
                message: message.clone(),
            };
            (fault, time.span)
        }
    }
}

fn begun(fault: &Injection) -> String {
    let what = clean(&format!("{}: {}", fault.fault, fault.detail));
    if fault.left == Millis::ZERO {
        return format!("{what}\n`nodemedic top` and `nodemedic events` show how it is healed");
    }
    format!(
        "fault {}: {what}\nit is taken back in {}; sooner: nodemedic inject --undo {}",
        fault.id, fault.left, fault.id
    )
}

fn table(faults: &[Injection], now: nodemedic_protocol::WallTime) -> Table {
    let mut table = Table::new(&[
        Column::right("ID"),
        Column::left("FAULT"),
        Column::left("SINCE"),
        Column::left("UNDONE IN"),
        Column::flexible("DETAIL", 20),
    ]);
    for fault in faults {
        let detail = match &fault.stuck {
            Some(why) => Cell::painted(why, Paint::Bad),
            None => fault.detail.as_str().into(),
        };
        table.row(vec![
            Cell::painted(fault.id.to_string(), Paint::Bold),
            fault.fault.to_string().into(),
            ago(now, fault.since).into(),
            fault.left.to_string().into(),
            detail,
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::WallTime;

    #[test]
    fn sizes_and_components_are_read_as_people_write_them() {
        assert_eq!(size("16MiB"), Ok(Size(16 << 20)));
        assert_eq!(size("4096"), Ok(Size(4096)));
        for bad in ["", "0", "1MB", "-1", "99999999999TiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(component("host"), Ok(Component::Host));
        assert_eq!(component("nic:eth0"), Ok(Component::Nic("eth0".into())));
        let path = Component::Filesystem("/srv".into());
        assert_eq!(component("filesystem:/srv"), Ok(path));
        for bad in ["", "nic", "host:x", "service:a b", "moon"] {
            assert!(component(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_begun_says_when_it_ends_and_how_to_end_it() {
        let mut fault = Injection {
            id: 3,
            fault: Fault::Hang { of: "web".into() },
            since: WallTime(1_000),
            left: Millis::from_secs(60),
            detail: "stopped process 12".into(),
            stuck: None,
        };
        assert_eq!(
            begun(&fault),
            "fault 3: hang web: stopped process 12\n\
             it is taken back in 1m00s; sooner: nodemedic inject --undo 3"
        );
        fault.stuck = Some("cannot signal process 12".into());
        let text = table(&[fault], WallTime(5_000)).render(Some(100), false);
        assert!(text.contains("cannot signal process 12"), "{text}");
        assert!(text.contains("4.0s ago"), "{text}");
    }
}
