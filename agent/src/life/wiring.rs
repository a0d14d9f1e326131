//! What the parts of the host need of the settings.

use nodemedic_agent_core::Input;
use nodemedic_agent_host::helper::Helper;
use nodemedic_agent_host::manager::UnitSettings;
use nodemedic_agent_host::remedies::Remedies;
use nodemedic_protocol::BootId;
use nodemedic_protocol::message::Session;
use tokio::sync::mpsc;

use super::CGROUPS;
use crate::config::Settings;

/// What acts on the host and on its units; both by the same helper.
pub(super) fn hands(
    settings: &Settings,
    session: &Session,
    seed: u64,
    inputs: &mpsc::Sender<Input>,
) -> (Remedies, UnitSettings) {
    let helper = helper(settings);
    let remedies = remedies(settings, &helper, inputs);
    let units = unit_settings(settings, session.boot_id.clone(), seed, helper);
    (remedies, units)
}

/// The packaged agent is not root, and its helper is; an agent that is root helps itself.
fn helper(settings: &Settings) -> Helper {
    if nix::unistd::geteuid().is_root() {
        let allow = settings.allow.clone();
        Helper::here(settings.fenced.clone(), CGROUPS.into(), allow)
    } else {
        Helper::behind(nodemedic_helper::SOCKET.into())
    }
}

fn unit_settings(settings: &Settings, boot_id: BootId, seed: u64, helper: Helper) -> UnitSettings {
    UnitSettings {
        state: settings.state.clone(),
        run: settings.run.clone(),
        boot_id,
        bus_address: None,
        cgroup_root: CGROUPS.into(),
        seed,
        // This very program, also after its file was replaced by an upgrade.
        gate_program: "/proc/self/exe".into(),
        helper,
    }
}

fn remedies(settings: &Settings, helper: &Helper, inputs: &mpsc::Sender<Input>) -> Remedies {
    let broker = settings.broker.as_ref();
    let broker = broker.map(|broker| (broker.host.clone(), broker.port));
    let mut remedies = Remedies::new(helper.clone(), broker, inputs.clone());
    remedies.set(settings.deeds.clone());
    remedies
}
