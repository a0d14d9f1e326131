//! The two works of a fleet on one machine: `ledger`, which at most one node may hold, and `web`,
//! of which two nodes hold one each. Both are the shipped sample service.

use std::collections::BTreeMap;

use nodemedic_protocol::api::PutWork;
use nodemedic_protocol::inventory::Capacity;
use nodemedic_protocol::work::{Check, OnLeaseLoss, ProbeSpec, Run, Sharing, WorkSpec};
use nodemedic_protocol::{Millis, WorkName};

use super::config::Timing;
use super::layout::Layout;
use super::programs::Programs;
use crate::failure::Failure;

/// The exclusive work.
pub const LEDGER: &str = "ledger";
/// The replicated work.
pub const WEB: &str = "web";
/// How many nodes hold the replicated work.
pub const WEB_REPLICAS: u16 = 2;

/// Both works, to declare.
pub fn works(layout: &Layout, programs: &Programs, timing: &Timing) -> Result<PutWork, Failure> {
    let exclusive = Sharing::Exclusive {
        on_lease_loss: OnLeaseLoss::Stop,
    };
    let replicated = Sharing::Replicated {
        replicas: WEB_REPLICAS,
    };
    Ok(PutWork {
        works: vec![
            work(LEDGER, exclusive, layout, programs, timing)?,
            work(WEB, replicated, layout, programs, timing)?,
        ],
    })
}

fn work(
    name: &str,
    sharing: Sharing,
    layout: &Layout,
    programs: &Programs,
    timing: &Timing,
) -> Result<WorkSpec, Failure> {
    let address = format!("127.0.0.1:{{vars.{name}_port}}");
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let start = vec![
        text(programs.nodemedic.clone()),
        "sample".to_owned(),
        "--listen".to_owned(),
        address.clone(),
        "--record".to_owned(),
        text(layout.record(name)),
        "--break-file".to_owned(),
        text(layout.break_file("{node}", name)),
        "--lives-with".to_owned(),
        text(layout.lock_file()),
    ];
    Ok(WorkSpec {
        name: WorkName::new(name).map_err(|error| Failure::failed(error.to_string()))?,
        sharing,
        run: Run::Command {
            start,
            stop: Vec::new(),
            environment: BTreeMap::new(),
        },
        probes: vec![ProbeSpec {
            check: Check::Http {
                url: format!("http://{address}/"),
                ca: None,
                address: None,
            },
            interval: Millis(500),
            timeout: Millis(1000),
            fail_for: Millis(2000),
            within: None,
        }],
        priority: 0,
        needs: Capacity {
            cpu_milli: 10,
            memory_bytes: 16 << 20,
        },
        node_labels: BTreeMap::new(),
        start_grace: Millis::from_secs(5),
        stop_grace: timing.stop_grace,
    })
}
