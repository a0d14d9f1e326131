//! Answers of the local socket that take longer than a look into the core: bundles of diagnostics
//! and faults on purpose. Each is given by a task of its own, so that nobody waits for it.

use nodemedic_agent_core::Input;
use nodemedic_agent_host::inject::{self, Injector, Order};
use nodemedic_agent_host::manager::Units;
use nodemedic_protocol::BootId;
use nodemedic_protocol::diagnose::DiagnoseRequest;
use nodemedic_protocol::inject::{Fault, InjectRequest};
use nodemedic_protocol::local::LocalResponse;
use tokio::sync::{mpsc, oneshot};

use crate::config::{Inject, Settings};
use crate::life::CGROUPS;

/// Where an answer goes. A client that went away does not need it.
type Answer = oneshot::Sender<LocalResponse>;

const NOT_ALLOWED: &str = "fault injection is not allowed on this host: it breaks things on \
    purpose. Where that is meant, put `[inject] allow = true` into the agent's configuration and \
    reload it (systemctl reload nodemedic-agent)";

/// Who breaks things on purpose; first of all it takes back what an earlier run left.
pub fn injector(settings: &Settings, boot_id: BootId, inputs: mpsc::Sender<Input>) -> Injector {
    let settings = inject::Settings {
        records: settings.state.join("inject"),
        scratch: settings.run.join("inject"),
        boot_id,
        cgroup_root: CGROUPS.into(),
    };
    Injector::start(settings, inputs)
}

/// Bundles: reads the shelf, or takes one.
pub fn diagnose(units: &Units, request: DiagnoseRequest, answer: Answer) {
    let diagnostics = units.diagnostics();
    let shelf = diagnostics.shelf();
    let reading = match request {
        DiagnoseRequest::Take { of } => {
            let subject = units.named(&of);
            tokio::spawn(async move {
                let taken = match subject {
                    Ok(subject) => diagnostics.take(subject).await,
                    Err(error) => Err(error),
                };
                let taken = taken.map(|bundle| LocalResponse::Bundle(Box::new(bundle)));
                let _ = answer.send(taken.unwrap_or_else(LocalResponse::Error));
            });
            return;
        }
        DiagnoseRequest::List { of } => tokio::task::spawn_blocking(move || {
            shelf.list(of.as_deref()).map(LocalResponse::Bundles)
        }),
        DiagnoseRequest::Show { name } => tokio::task::spawn_blocking(move || {
            let found = shelf.get(&name);
            found.map(|bundle| LocalResponse::Bundle(Box::new(bundle)))
        }),
    };
    tokio::spawn(async move {
        let read = reading.await;
        let read = read.unwrap_or_else(|error| Err(format!("the reader broke off: {error}")));
        let _ = answer.send(read.unwrap_or_else(LocalResponse::Error));
    });
}

/// Faults: begun only where the configuration allows it; looked at and taken back everywhere.
pub fn inject(
    units: &Units,
    injector: &Injector,
    allowed: &Inject,
    request: InjectRequest,
    answer: Answer,
) {
    let asked = order(units, allowed, request).and_then(|order| injector.ask(order));
    let answered = match asked {
        Ok(answered) => answered,
        Err(error) => {
            let _ = answer.send(LocalResponse::Error(error));
            return;
        }
    };
    tokio::spawn(async move {
        let done = answered.await;
        let done = done.unwrap_or_else(|_| Err("the agent is ending".to_owned()));
        let done = done.map(LocalResponse::Injections);
        let _ = answer.send(done.unwrap_or_else(LocalResponse::Error));
    });
}

fn order(units: &Units, allowed: &Inject, request: InjectRequest) -> Result<Order, String> {
    let (fault, span) = match request {
        InjectRequest::List => return Ok(Order::List),
        InjectRequest::Undo { id } => return Ok(Order::Undo { id }),
        InjectRequest::Begin { fault, span } => (fault, span),
    };
    if !allowed.allow {
        return Err(NOT_ALLOWED.to_owned());
    }
    let subject = match &fault {
        Fault::Kill { of } | Fault::Hang { of } => Some(Box::new(units.named(of)?)),
        _ => None,
    };
    Ok(Order::Begin {
        fault,
        span,
        subject,
        fill_paths: allowed.fill_paths.clone(),
    })
}
