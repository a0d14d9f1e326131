//! `nodemedic diagnose X`: the bundles of diagnostics that the agent of this host keeps.

use std::path::PathBuf;

use nodemedic_protocol::diagnose::{Bundle, BundleInfo, DiagnoseRequest};
use nodemedic_protocol::local::{LocalRequest, LocalResponse};

use crate::args::Context;
use crate::failure::Failure;
use crate::local;
use crate::out::{Cell, Column, Paint, Screen, Table, ago, bytes, clean};

/// A report may hold what is nobody's business: its owner may read it.
const FILE_MODE: u32 = 0o600;

/// Before the agent kills or fences a service it writes down, within two seconds, what is to be
/// seen of it: unit, probe, group, processes, hanging tasks, open files, journal, the host's load
/// and pressure, the kernel's log. This prints the newest bundle of a service, or takes one now.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A service or work of this host, or the name of a bundle; without it, the list
    #[arg(required_if_eq_any([("now", "true"), ("last", "true")]))]
    name: Option<String>,
    /// List the bundles (of one service, when it is named)
    #[arg(long, conflicts_with_all = ["now", "last", "output"])]
    list: bool,
    /// Show the newest one; this is what happens without any option, too
    #[arg(long, conflicts_with = "now")]
    last: bool,
    /// Take one now; the service is not touched
    #[arg(long)]
    now: bool,
    /// Write the report into a file instead
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The agent's local socket
    #[arg(long, env = "NODEMEDIC_SOCKET", default_value = local::DEFAULT_SOCKET,
          value_name = "PATH")]
    socket: PathBuf,
}

/// Asks and prints.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let screen = &context.screen;
    let name = match &args.name {
        Some(name) if !args.list => name.clone(),
        of => return list(args, of.clone(), screen),
    };
    let request = if args.now {
        DiagnoseRequest::Take { of: name }
    } else {
        DiagnoseRequest::Show { name }
    };
    let answer = local::call(&args.socket, &LocalRequest::Diagnose(request))?;
    let LocalResponse::Bundle(bundle) = answer else {
        return Err(local::odd(&args.socket));
    };
    let Some(path) = &args.output else {
        if screen.json {
            return screen.json(&bundle);
        }
        screen.say(&report(&bundle, screen));
        return Ok(());
    };
    let plain = Screen::plain();
    let text = if screen.json {
        serde_json::to_string_pretty(&bundle).map_err(|e| Failure::failed(e.to_string()))?
    } else {
        report(&bundle, &plain)
    };
    nodemedic_edge::files::write_atomic(path, format!("{text}\n").as_bytes(), FILE_MODE)?;
    screen.say(&format!(
        "{} written to {}",
        clean(&bundle.name),
        path.display()
    ));
    Ok(())
}

fn list(args: &Args, of: Option<String>, screen: &Screen) -> Result<(), Failure> {
    let request = LocalRequest::Diagnose(DiagnoseRequest::List { of });
    let LocalResponse::Bundles(bundles) = local::call(&args.socket, &request)? else {
        return Err(local::odd(&args.socket));
    };
    if screen.json {
        return screen.json(&bundles);
    }
    if bundles.is_empty() {
        screen.say("no bundles: nothing was killed or fenced here, and nobody asked for one");
        return Ok(());
    }
    screen.table(&table(&bundles, nodemedic_edge::clock::wall()));
    Ok(())
}

fn table(bundles: &[BundleInfo], now: nodemedic_protocol::WallTime) -> Table {
    let mut table = Table::new(&[
        Column::left("BUNDLE"),
        Column::left("TAKEN"),
        Column::left("BEFORE"),
        Column::right("SIZE"),
        Column::flexible("WITHOUT", 10),
    ]);
    for bundle in bundles {
        let without = (!bundle.left_out.is_empty()).then(|| bundle.left_out.join(", "));
        table.row(vec![
            Cell::painted(&bundle.name, Paint::Bold),
            ago(now, bundle.wall).into(),
            bundle.why.as_str().into(),
            bytes(bundle.bytes).into(),
            Cell::maybe(without),
        ]);
    }
    table
}

/// The whole bundle, for people.
fn report(bundle: &Bundle, screen: &Screen) -> String {
    let stamp = crate::out::stamp(bundle.wall);
    let mut lines = vec![
        screen.paint(Paint::Bold, &clean(&bundle.name)),
        format!(
            "about   {} on {}",
            clean(&bundle.component.to_string()),
            clean(&bundle.host)
        ),
        format!(
            "taken   {stamp}, in {}, before: {}",
            bundle.took,
            clean(&bundle.why)
        ),
        format!(
            "boot    {}, {} after its begin",
            bundle.boot_id,
            nodemedic_protocol::Millis(bundle.at.0)
        ),
    ];
    let left_out = bundle.left_out();
    if !left_out.is_empty() {
        let text = format!("not whole: {}", clean(&left_out.join(", ")));
        lines.push(screen.paint(Paint::Warn, &text));
    }
    for section in &bundle.sections {
        lines.push(String::new());
        let head = format!("== {} ({})", clean(&section.title), clean(&section.name));
        lines.push(screen.paint(Paint::Bold, &head));
        if let Some(why) = &section.left_out {
            let text = format!("left out: {}", clean(why));
            lines.push(screen.paint(Paint::Warn, &text));
        }
        // Lines stay lines; what could drive a terminal does not.
        lines.extend(section.text.lines().map(clean));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::diagnose::{Section, VERSION};
    use nodemedic_protocol::{BootId, Boottime, Component, Millis, ServiceName, WallTime};

    fn bundle() -> Bundle {
        let section = |name: &str, title: &str, text: &str, left_out: Option<&str>| Section {
            name: name.into(),
            title: title.into(),
            text: text.into(),
            left_out: left_out.map(str::to_owned),
        };
        Bundle {
            version: VERSION,
            name: "service.web-3".into(),
            component: Component::Service(ServiceName::new("web").unwrap()),
            why: "fence".into(),
            host: "node-1".into(),
            boot_id: BootId::new("b-1").unwrap(),
            at: Boottime(61_000),
            wall: WallTime(0),
            took: Millis(412),
            sections: vec![
                section(
                    "probe",
                    "What its probe says now",
                    "it fails\x1b[2J\n",
                    None,
                ),
                section("stacks", "Tasks that hang", "", Some("that needs root")),
            ],
        }
    }

    #[test]
    fn a_report_names_what_is_missing_and_cannot_drive_a_terminal() {
        let text = report(&bundle(), &Screen::plain());
        for line in [
            "service.web-3",
            "about   service web on node-1",
            "not whole: stacks",
            "== What its probe says now (probe)\nit fails\u{fffd}[2J",
            "== Tasks that hang (stacks)\nleft out: that needs root",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn the_list_is_one_line_each() {
        let info = BundleInfo {
            name: "service.web-3".into(),
            component: bundle().component,
            why: "fence".into(),
            wall: WallTime(1_000),
            bytes: 42_000,
            left_out: vec!["stacks".into()],
        };
        assert_eq!(
            table(&[info], WallTime(61_000)).render(Some(100), false),
            "\
BUNDLE         TAKEN      BEFORE      SIZE  WITHOUT
service.web-3  1m00s ago  fence   41.0 KiB  stacks"
        );
    }
}
