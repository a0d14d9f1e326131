//! `nodemedic fence X`: switch a host off by its fence devices, and prove it. Also takes a fence
//! back, and says that a device which was wrong may be believed again.

use nodemedic_protocol::api::{CancelFenceRequest, FenceRequest, FenceThen, TrustDeviceRequest};
use nodemedic_protocol::{DeviceName, NodeId};

use super::accepted;
use crate::args::Context;
use crate::failure::Failure;

/// Which node, why, and who wants it.
///
/// The power goes at once, without a goodbye to what runs there: drain first where you can. When
/// the devices have read OFF, what it held starts elsewhere; then the power comes back.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["node", "trust"])))]
pub struct Args {
    /// The node's name
    pub node: Option<NodeId>,
    /// Why; people will ask
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who wants it
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// Begin at once, however many hosts are out
    #[arg(long, conflicts_with_all = ["cancel", "trust"])]
    pub override_budget: bool,
    /// Leave the host off
    #[arg(long, conflicts_with_all = ["cancel", "trust"])]
    pub stay_off: bool,
    /// Take the fence back: ask its devices nothing more
    #[arg(long, conflicts_with = "trust")]
    pub cancel: bool,
    /// This device was wrong and is repaired: believe it again
    #[arg(long, value_name = "DEVICE")]
    pub trust: Option<DeviceName>,
}

/// Asks.
pub fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let (reason, by) = (args.reason.clone(), args.by.clone());
    let answer = match (&args.trust, &args.node) {
        (Some(device), _) => client.trust_device(device, &TrustDeviceRequest { reason, by })?,
        (None, Some(node)) if args.cancel => {
            client.cancel_fence(node, &CancelFenceRequest { reason, by })?
        }
        (None, Some(node)) => {
            let request = FenceRequest {
                reason,
                by,
                override_budget: args.override_budget,
                then: args.stay_off.then_some(FenceThen::StayOff),
            };
            client.fence(node, &request)?
        }
        (None, None) => {
            return Err(Failure::usage(
                "neither a node nor --trust DEVICE is given".to_owned(),
                "name the node to fence, or the device to believe again",
            ));
        }
    };
    accepted(context, &answer)
}
