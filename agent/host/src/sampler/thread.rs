//! The sampler on a thread of its own: a read that hangs in the kernel then delays samples and
//! nothing else.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use nodemedic_edge::clock;
use nodemedic_protocol::sample::Sample;
use nodemedic_protocol::time::Millis;
use tokio::sync::mpsc;

use super::{Roots, Sampler};

/// Samples that nobody has taken yet. A receiver that is behind by more is not helped by old ones:
/// they are dropped.
const QUEUE_MAX: usize = 4;

enum Order {
    Watch(Vec<(String, u32)>),
}

/// Tells the thread what to watch. The thread ends when this is dropped.
#[derive(Debug)]
pub struct SamplerThread {
    orders: Sender<Order>,
}

impl SamplerThread {
    /// Starts sampling, first at once, then on each `interval`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        roots: Roots,
        top: usize,
        interval: Millis,
    ) -> std::io::Result<(SamplerThread, mpsc::Receiver<Sample>)> {
        let (orders, inbox) = channel();
        let (samples, receiver) = mpsc::channel(QUEUE_MAX);
        let interval_us = interval.0.max(1).saturating_mul(1000);
        std::thread::Builder::new()
            .name("sampler".into())
            .spawn(move || {
                let mut sampler = Sampler::new(roots, top);
                let mut due_us = clock::boottime_us();
                loop {
                    let left = due_us.saturating_sub(clock::boottime_us());
                    match inbox.recv_timeout(Duration::from_micros(left)) {
                        Ok(Order::Watch(wanted)) => sampler.watch(&wanted),
                        Err(RecvTimeoutError::Disconnected) => return,
                        Err(RecvTimeoutError::Timeout) => {
                            let began_us = clock::boottime_us();
                            let mut sample = sampler.sample(clock::now(), began_us);
                            let ended_us = clock::boottime_us();
                            sample.took_us = ended_us.saturating_sub(began_us);
                            if let Err(mpsc::error::TrySendError::Closed(_)) =
                                samples.try_send(sample)
                            {
                                return;
                            }
                            // Keeps its grid; a tick that was missed is not made up for.
                            while due_us <= ended_us {
                                due_us = due_us.saturating_add(interval_us);
                            }
                        }
                    }
                }
            })?;
        Ok((SamplerThread { orders }, receiver))
    }

    /// Which processes to read on each tick: the component's text, and the number.
    pub fn watch(&self, wanted: Vec<(String, u32)>) {
        if self.orders.send(Order::Watch(wanted)).is_err() {
            tracing::error!("the sampler has ended: this agent must be restarted to sample again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn samples_come_by_themselves_and_end_with_the_handle() {
        let (thread, mut samples) = SamplerThread::start(Roots::default(), 3, Millis(20)).unwrap();
        let own = std::process::id();
        thread.watch(vec![("service self".to_owned(), own)]);
        let first = samples.recv().await.unwrap();
        let second = samples.recv().await.unwrap();
        assert!(second.at > first.at);
        let watched = loop {
            let sample = samples.recv().await.unwrap();
            if let Some(watched) = sample.watched.first() {
                break watched.clone();
            }
        };
        assert_eq!(
            (watched.process.pid, watched.unit.as_str()),
            (own, "service self")
        );
        drop(thread);
        while samples.recv().await.is_some() {}
    }
}
