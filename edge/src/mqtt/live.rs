//! One connection of a link: what it has asked the broker, and what the broker answered.

use std::pin::Pin;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use rumqttc::{
    AsyncClient, ClientError, ConnAck, PubAckReason, PublishNoticeError, PublishOptions,
    PublishProperties, PublishResult, QoS, SubAck, SubscribeFilterInput, SubscribeNoticeError,
    SubscribeReasonCode,
};

use super::session::{self, MAX_PACKET_BYTES};
use super::{MAX_PAYLOAD_BYTES, Outgoing, Token, describe};

/// A broker that accepted us but does not answer a subscription for this long is not working.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// MQTT's own overhead beside topic and payload: header, length, packet id, expiry.
const PUBLISH_OVERHEAD_BYTES: usize = 32;

/// What became of one publish; `None` = never answered, so the owner keeps it.
pub(super) type Answer = (Option<Token>, Option<Result<(), String>>);
type Answers = FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>;
type Subscribed = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What one connection knows.
pub(super) struct Live {
    pub(super) number: u64,
    pub(super) client: AsyncClient,
    /// Up was said (or is in the backlog): the owner's messages are taken.
    pub(super) announced: bool,
    /// The broker accepted the connection.
    pub(super) accepted: bool,
    pub(super) session_present: bool,
    pub(super) subscribed: Option<Subscribed>,
    pub(super) answers: Answers,
    pub(super) held_bytes: usize,
    /// The broker's own limit.
    pub(super) packet_max_bytes: usize,
    /// It has lasted long enough to count as good.
    pub(super) stable: bool,
    /// The goodbye is being said: the DISCONNECT is on its way.
    pub(super) leaving: bool,
}

impl Live {
    pub(super) fn new(number: u64, client: AsyncClient) -> Live {
        Live {
            number,
            client,
            announced: false,
            accepted: false,
            session_present: false,
            subscribed: None,
            answers: FuturesUnordered::new(),
            held_bytes: 0,
            packet_max_bytes: MAX_PACKET_BYTES,
            stable: false,
            leaving: false,
        }
    }

    /// The broker took the connection: now the subscriptions, ahead of anything else. False when
    /// there is none to wait for.
    pub(super) fn accepted(&mut self, connack: &ConnAck, filters: &[String], peer: &str) -> bool {
        self.accepted = true;
        self.session_present = connack.session_present;
        let limit = connack
            .properties
            .as_ref()
            .and_then(|properties| properties.max_packet_size);
        if let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) {
            self.packet_max_bytes = self.packet_max_bytes.min(limit);
        }
        if filters.is_empty() {
            return false;
        }
        let inputs: Vec<_> = filters
            .iter()
            .map(|filter| SubscribeFilterInput::new(filter, QoS::AtLeastOnce))
            .collect();
        let asked = self.client.try_subscribe_many_tracked(inputs);
        let (filters, peer) = (filters.to_vec(), peer.to_owned());
        self.subscribed = Some(Box::pin(async move {
            let notice =
                asked.map_err(|_| format!("one of the filters {filters:?} is not valid"))?;
            match tokio::time::timeout(SUBSCRIBE_TIMEOUT, notice.wait_async()).await {
                Ok(answer) => subscription_answer(answer, &filters, &peer),
                Err(_) => Err(format!(
                    "the broker {peer} did not confirm the subscriptions within {} s",
                    SUBSCRIBE_TIMEOUT.as_secs()
                )),
            }
        }));
        true
    }

    /// Gives the message to the client and keeps its answer; the error is why it can never go.
    pub(super) fn hand_over(&mut self, message: Outgoing) -> Result<(), String> {
        let bytes = message.topic.len() + message.payload.len() + PUBLISH_OVERHEAD_BYTES;
        if message.payload.len() > MAX_PAYLOAD_BYTES || bytes > self.packet_max_bytes {
            return Err(format!(
                "the message is too large: {} bytes; the limit is {MAX_PAYLOAD_BYTES}, and {} for \
                 a whole packet of this broker",
                message.payload.len(),
                self.packet_max_bytes
            ));
        }
        let token = message.token;
        let mut options =
            PublishOptions::new(session::qos(message.at_least_once)).retain(message.retain);
        if message.expiry_s.is_some() {
            options = options.properties(PublishProperties {
                message_expiry_interval: message.expiry_s,
                ..PublishProperties::default()
            });
        }
        match self
            .client
            .try_publish_tracked(message.topic, message.payload, options)
        {
            Ok(notice) => {
                let answer = async move { (token, publish_answer(notice.wait_async().await)) };
                self.answers.push(Box::pin(answer));
                Ok(())
            }
            Err(ClientError::InvalidRequest(_)) => Err("the topic is not a valid one".to_owned()),
            Err(error) => Err(format!("the client did not take it: {error}")),
        }
    }
}

/// Resolves when the broker has answered the subscription; never, while none is asked for.
pub(super) async fn confirmation(subscribed: &mut Option<Subscribed>) -> Result<(), String> {
    match subscribed {
        Some(pending) => {
            let answer = pending.await;
            *subscribed = None;
            answer
        }
        None => std::future::pending().await,
    }
}

/// What the broker made of a publish; `None` = the connection ended first.
fn publish_answer(answer: Result<PublishResult, PublishNoticeError>) -> Option<Result<(), String>> {
    match answer {
        Ok(PublishResult::Qos1(ack)) => Some(match ack.reason {
            // Nobody listens: still, the broker has taken it.
            PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Ok(()),
            reason => {
                let words = ack
                    .properties
                    .and_then(|properties| properties.reason_string);
                Err(describe::rejected(reason, words.as_deref()))
            }
        }),
        Ok(_) => Some(Ok(())),
        Err(PublishNoticeError::V5PubAck(reason)) => Some(Err(describe::rejected(reason, None))),
        Err(PublishNoticeError::RetainNotSupported) => Some(Err(
            "the broker does not support retained messages".to_owned(),
        )),
        Err(_) => None,
    }
}

/// Every filter must have been granted: a link that is deaf on one of them is not up.
fn subscription_answer(
    answer: Result<SubAck, SubscribeNoticeError>,
    filters: &[String],
    peer: &str,
) -> Result<(), String> {
    let granted = |code: &SubscribeReasonCode| matches!(code, SubscribeReasonCode::Success(_));
    match answer {
        Ok(ack) => match ack
            .return_codes
            .iter()
            .zip(filters)
            .find(|(code, _)| !granted(code))
        {
            None => Ok(()),
            Some((code, filter)) => Err(format!(
                "the broker {peer} refuses the subscription to {filter} ({code:?}); check its \
                 access rules"
            )),
        },
        Err(error) => Err(format!(
            "the broker {peer} refuses the subscriptions: {error}"
        )),
    }
}
