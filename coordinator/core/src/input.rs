//! Everything that can happen to a coordinator, as one closed enum.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use nodemedic_protocol::api::FenceAnswer;
use nodemedic_protocol::message::Message;
use nodemedic_protocol::work::WorkSpec;
use nodemedic_protocol::{DeviceName, Millis, NodeId, WorkName};

use crate::fencing::FenceCallId;
pub use crate::fencing::requests::FenceWish;

/// Names a request until it is answered; the edge chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Names one try to tell one receiver about one alert; the core chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotifyId(pub u64);

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The moment of `poll_timeout` has come. Harmless at any other moment.
    Timer,
    /// A message of a node arrived.
    Message {
        /// From its topic; the broker has checked that the sender is this node.
        node: NodeId,
        /// What it says.
        message: Box<Message>,
        /// True when the broker kept it from before.
        retained: bool,
    },
    /// A message on the coordinator's own topic arrived: maybe another one leads.
    OtherCoordinator(nodemedic_protocol::message::CoordinatorState),
    /// Messages can be sent and received.
    LinkUp,
    /// They cannot.
    LinkDown,
    /// A person or a program asks for something.
    Request {
        /// Given back with the answer.
        id: RequestId,
        /// What is asked.
        request: Request,
    },
    /// A try to tell a receiver has ended.
    Notified {
        /// Which try.
        id: NotifyId,
        /// Taken by the receiver, or why not.
        result: Result<(), NotifyFailure>,
    },
    /// A question to a fence device has ended.
    Fenced {
        /// Which question.
        id: FenceCallId,
        /// What it said, or why it said nothing.
        answer: FenceAnswer,
    },
}

/// Why a receiver did not take an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyFailure {
    /// True when the answer will be the same until somebody changes a configuration.
    pub permanent: bool,
    /// What happened, for people; no secrets.
    pub text: String,
}

/// What can be asked of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Empty a node and keep it empty.
    Drain {
        /// Which.
        node: NodeId,
        /// Why.
        reason: String,
        /// So long after it has begun what is left is stopped.
        deadline: Option<Millis>,
        /// Begin at once, however many hosts are out.
        override_budget: bool,
    },
    /// A person's word that a mass loss is real: for a while silence counts again.
    ReleaseBrake {
        /// For so long.
        span: Millis,
        /// How the person knows.
        reason: String,
    },
    /// Take back any drain of a node, and let work that was fenced there return.
    Undrain {
        /// Which.
        node: NodeId,
    },
    /// Give a node no new work.
    Cordon {
        /// Which.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// Take a cordon back.
    Uncordon {
        /// Which.
        node: NodeId,
    },
    /// A node is gone for good.
    Forget {
        /// Which.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// Declare works, or change those of the same name. All or none.
    PutWork {
        /// Which.
        works: Vec<WorkSpec>,
    },
    /// Stop a work everywhere and forget it.
    RemoveWork {
        /// Which.
        work: WorkName,
    },
    /// Switch a host off, and prove it.
    Fence(FenceWish),
    /// Ask the fence devices of a node nothing more.
    CancelFence {
        /// Which node.
        node: NodeId,
        /// Why.
        reason: String,
        /// Who says so.
        by: String,
    },
    /// A person's word that a fence device which was wrong may be believed again.
    TrustDevice {
        /// Which.
        device: DeviceName,
        /// What was wrong and how it was repaired.
        reason: String,
        /// Who says so.
        by: String,
    },
    /// A person's word that nothing runs on a node any more.
    ConfirmDown {
        /// Which.
        node: NodeId,
        /// How the person knows.
        reason: String,
        /// Who says so.
        by: String,
    },
}
