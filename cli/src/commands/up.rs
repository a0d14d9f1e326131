//! `nodemedic up`: a whole fleet on this machine, until Ctrl-C.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::args::Context;
use crate::failure::Failure;
use crate::fleet::{NodePorts, up};

/// Most nodes of one machine: each is two processes and up to two services.
const NODES_MAX: u8 = 16;

/// Starts coordinator, embedded broker, agents and watchdogs as real processes under one directory,
/// with nothing installed and without root, and gives them two works: `ledger`, which one node at
/// most may hold, and `web`, which two hold. Ctrl-C stops everything and leaves no process.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory for configuration, state and logs
    /// [default: $XDG_STATE_HOME/nodemedic/up or ~/.local/state/nodemedic/up]
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// How many nodes
    #[arg(long, default_value_t = 3, value_name = "NUMBER",
          value_parser = clap::value_parser!(u8).range(1..=i64::from(NODES_MAX)))]
    nodes: u8,
    /// Where the coordinator answers: API and page
    #[arg(long, default_value = "127.0.0.1:7780", value_name = "ADDRESS:PORT")]
    api: SocketAddr,
    /// Port of the embedded MQTT broker, on 127.0.0.1
    #[arg(long, default_value_t = 1883, value_name = "PORT")]
    broker_port: u16,
    /// First of the ports of the works, two for each node
    #[arg(long, default_value_t = 7801, value_name = "PORT")]
    service_port: u16,
    /// Forget what an earlier fleet in the directory left
    #[arg(long)]
    fresh: bool,
}

/// Runs it.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let options = up::Options {
        dir: match &args.dir {
            Some(dir) => dir.clone(),
            None => default_dir()?,
        },
        api: args.api,
        broker: ([127, 0, 0, 1], args.broker_port).into(),
        ports: ports(args.service_port, args.nodes)?,
        fresh: args.fresh,
    };
    super::runtime()?.block_on(up::run(&options, &context.screen))
}

fn ports(first: u16, nodes: u8) -> Result<Vec<NodePorts>, Failure> {
    (0..u16::from(nodes))
        .map(|i| {
            let ledger = first.checked_add(2 * i)?;
            Some(NodePorts {
                ledger,
                web: ledger.checked_add(1)?,
            })
        })
        .collect::<Option<Vec<NodePorts>>>()
        .ok_or_else(|| {
            Failure::usage(
                format!("ports {first} and up do not suffice for {nodes} nodes"),
                "give a lower --service-port",
            )
        })
}

/// As the XDG base directory specification says: a relative XDG_STATE_HOME is ignored.
fn default_dir() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|state| state.join(Path::new("nodemedic/up")))
        .ok_or_else(|| {
            Failure::usage(
                "neither XDG_STATE_HOME nor HOME names a directory",
                "give --dir",
            )
        })
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_node_has_two_ports_of_its_own_and_none_runs_over() {
        let ports = super::ports(7801, 3).unwrap();
        let all: Vec<(u16, u16)> = ports.iter().map(|p| (p.ledger, p.web)).collect();
        assert_eq!(all, [(7801, 7802), (7803, 7804), (7805, 7806)]);
        let failure = super::ports(65_530, 16).unwrap_err();
        assert!(failure.remedy.contains("--service-port"), "{failure}");
    }
}
