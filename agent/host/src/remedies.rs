//! Has the remedies of the host done: by the helper, or, for units, by systemd itself. What each
//! does stands in the configuration; nothing is decided here but whether the way to the broker
//! would be cut.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nodemedic_agent_core::{Input, Treatment};
use nodemedic_edge::clock;
use nodemedic_helper::deeds::Bounce;
use nodemedic_helper::{Deed, Request, restart};
use nodemedic_protocol::event::Outcome;
use nodemedic_protocol::{Millis, RemedyName};
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::helper::Helper;

/// A name server that does not answer must not hold a remedy.
const LOOKUP_WAIT: Millis = Millis::from_secs(3);

/// A bridge over a bond over a VLAN is three; deeper is a mistake, or a ring.
const LOWER_MAX: usize = 8;

/// The remedies of this host.
#[derive(Debug)]
pub struct Remedies {
    helper: Helper,
    deeds: BTreeMap<RemedyName, Deed>,
    /// Where the broker is.
    broker: Option<(String, u16)>,
    inputs: mpsc::Sender<Input>,
}

impl Remedies {
    /// What ends goes to `inputs`.
    #[must_use]
    pub fn new(
        helper: Helper,
        broker: Option<(String, u16)>,
        inputs: mpsc::Sender<Input>,
    ) -> Remedies {
        Remedies {
            helper,
            deeds: BTreeMap::new(),
            broker,
            inputs,
        }
    }

    /// What each does from now on.
    pub fn set(&mut self, deeds: BTreeMap<RemedyName, Deed>) {
        self.deeds = deeds;
    }

    /// Whether it frees space: then it need not wait for a disk that takes nothing.
    #[must_use]
    pub fn frees_space(&self, remedy: &RemedyName) -> bool {
        matches!(self.deeds.get(remedy), Some(Deed::Clean(_)))
    }

    /// Has one done.
    pub fn treat(&self, treatment: Treatment) {
        let Some(deed) = self.deeds.get(&treatment.remedy).cloned() else {
            let why = "it is not in the configuration any more";
            return self.not_done(treatment.id, why);
        };
        tracing::warn!("remedy {}: {deed}", treatment.remedy);
        let (helper, broker) = (self.helper.clone(), self.broker.clone());
        let inputs = self.inputs.clone();
        tokio::spawn(async move {
            let began = clock::boottime();
            let act = act(&helper, broker.as_ref(), &treatment, &deed);
            let ended = timeout(treatment.timeout.to_duration(), act).await;
            let (outcome, said) = match ended {
                Ok(Ok(said)) => (Outcome::Done, format!(": {said}")),
                Ok(Err(error)) => (Outcome::Failed(error), String::new()),
                Err(_) => (Outcome::TimedOut, String::new()),
            };
            let ended = Input::TreatmentEnded {
                id: treatment.id,
                outcome,
                command: format!("{deed}{said}"),
                took: clock::boottime().since(began),
            };
            // Without the agent there is nobody to tell.
            let _agent_ends = inputs.send(ended).await;
        });
    }

    /// One that is not begun.
    pub fn not_done(&self, id: u64, why: &str) {
        let inputs = self.inputs.clone();
        let ended = Input::TreatmentEnded {
            id,
            outcome: Outcome::Failed(why.to_owned()),
            command: String::new(),
            took: Millis::ZERO,
        };
        tokio::spawn(async move {
            let _agent_ends = inputs.send(ended).await;
        });
    }
}

async fn act(
    helper: &Helper,
    broker: Option<&(String, u16)>,
    treatment: &Treatment,
    deed: &Deed,
) -> Result<String, String> {
    if clock::boottime() > treatment.begin_by {
        return Err("the disk took too long: its use counts, and nothing was done".to_owned());
    }
    let remedy = treatment.remedy.to_string();
    let dry_run = false;
    let request = match deed {
        Deed::Clean(_) => Request::Clean { remedy, dry_run },
        Deed::Remount(_) => Request::Remount { remedy },
        Deed::Bounce(bounce) => {
            may_bounce(bounce, broker).await?;
            Request::Bounce { remedy }
        }
        Deed::Rebind(_) => Request::Rebind { remedy },
        Deed::Restart(units) => return restart::restart(Path::new("systemctl"), units).await,
        Deed::Reboot => Request::Reboot {},
    };
    helper.ask(request).await
}

/// Never the interface under the connection to the broker, unless that is declared.
async fn may_bounce(bounce: &Bounce, broker: Option<&(String, u16)>) -> Result<(), String> {
    let Some((host, port)) = broker.filter(|_| !bounce.carrying_broker) else {
        return Ok(());
    };
    let allow = "bounce = { .., carrying_broker = true } allows it all the same";
    let way = way_to(host, *port).await.map_err(|error| {
        format!("cannot find out which interface leads to the broker: {error}; {allow}")
    })?;
    match leads_over(Path::new("/sys/class/net"), &way, &bounce.interface) {
        true => Err(format!(
            "the connection to the broker leads over {}: {allow}",
            bounce.interface
        )),
        false => Ok(()),
    }
}

/// The interface by which the kernel would send to the broker now.
async fn way_to(host: &str, port: u16) -> Result<String, String> {
    let found = timeout(LOOKUP_WAIT.to_duration(), lookup_host((host, port))).await;
    let found = found.map_err(|_| format!("{host} was not found within {LOOKUP_WAIT}"))?;
    let mut last = format!("{host} has no address");
    for to in found.map_err(|error| error.to_string())? {
        match own_address(to).await {
            Ok(own) => return interface_of(own),
            Err(error) => last = format!("no way to {to}: {error}"),
        }
    }
    Err(last)
}

/// Nothing is sent: connecting such a socket only chooses the way.
async fn own_address(to: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(to).await?;
    Ok(socket.local_addr()?.ip())
}

fn interface_of(own: IpAddr) -> Result<String, String> {
    let all = getifaddrs().map_err(|error| format!("cannot list interfaces: {error}"))?;
    let has = |address: &nix::ifaddrs::InterfaceAddress| {
        let address = address.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
        let v6 = address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip()));
        v4.or(v6)
    };
    let mut of_own = all.filter(|address| has(address) == Some(own));
    let found = of_own.next().map(|address| address.interface_name);
    found.ok_or_else(|| format!("no interface has the address {own}"))
}

/// Whether one interface is the other, or one of those that it is made of.
fn leads_over(net: &Path, way: &str, interface: &str) -> bool {
    let mut level = vec![way.to_owned()];
    for _ in 0..LOWER_MAX {
        if level.iter().any(|name| name == interface) {
            return true;
        }
        let below = level.iter().flat_map(|name| lower(&net.join(name)));
        level = below.collect();
    }
    false
}

/// Those that an interface is made of: the kernel links them as `lower_NAME`.
fn lower(interface: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(interface).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter_map(|name| name.strip_prefix("lower_").map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodemedic_protocol::Boottime;

    #[tokio::test]
    async fn the_way_to_the_broker_is_not_bounced_unless_that_is_declared() {
        let broker = ("127.0.0.1".to_owned(), 1883);
        let mut bounce = Bounce {
            interface: "lo".into(),
            carrying_broker: false,
        };
        let error = may_bounce(&bounce, Some(&broker)).await.unwrap_err();
        assert!(error.contains("leads over lo"), "{error}");
        assert_eq!(may_bounce(&bounce, None).await, Ok(()));
        bounce.carrying_broker = true;
        assert_eq!(may_bounce(&bounce, Some(&broker)).await, Ok(()));
        bounce.carrying_broker = false;
        bounce.interface = "other".into();
        assert_eq!(may_bounce(&bounce, Some(&broker)).await, Ok(()));
        // Who does not know where the broker is cuts no way.
        let nowhere = ("no-such-host.invalid".to_owned(), 1883);
        let error = may_bounce(&bounce, Some(&nowhere)).await.unwrap_err();
        assert!(error.contains("carrying_broker = true"), "{error}");
    }

    #[test]
    fn what_a_bond_or_a_bridge_is_made_of_carries_it_too() {
        let net = tempfile::tempdir().unwrap();
        for path in [
            "br0/lower_bond0",
            "bond0/lower_eth0",
            "bond0/lower_eth1",
            "eth0",
            "eth2",
        ] {
            std::fs::create_dir_all(net.path().join(path)).unwrap();
        }
        for (interface, carries) in [("br0", true), ("eth1", true), ("eth2", false)] {
            assert_eq!(
                leads_over(net.path(), "br0", interface),
                carries,
                "{interface}"
            );
        }
    }

    #[tokio::test]
    async fn what_comes_too_late_or_is_not_declared_is_not_done() {
        let dir = tempfile::tempdir().unwrap();
        let helper = Helper::behind(dir.path().join("none"));
        let (inputs, mut said) = mpsc::channel(4);
        let mut remedies = Remedies::new(helper, None, inputs);
        let name = RemedyName::new("reboot").unwrap();
        let treatment = |begin_by| Treatment {
            id: 7,
            remedy: name.clone(),
            reboots: true,
            timeout: Millis::from_secs(5),
            begin_by,
        };
        let mut failed = async |part: &str| {
            let Some(Input::TreatmentEnded { id, outcome, .. }) = said.recv().await else {
                panic!("no answer");
            };
            let Outcome::Failed(why) = outcome else {
                panic!("{outcome:?}");
            };
            assert_eq!(id, 7);
            assert!(why.contains(part), "{why}");
        };
        remedies.treat(treatment(Boottime(u64::MAX)));
        failed("not in the configuration").await;
        remedies.set(BTreeMap::from([(name.clone(), Deed::Reboot)]));
        remedies.treat(treatment(Boottime(0)));
        failed("took too long").await;
        remedies.treat(treatment(Boottime(u64::MAX)));
        failed("the helper at").await;
    }
}
