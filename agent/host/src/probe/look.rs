//! Looks at files of the host away from the event loop: one that hangs in the kernel, on a dead
//! disk or a dead server, keeps its own thread and nothing else.

use std::sync::{Arc, LazyLock};

use nodemedic_protocol::Millis;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Looks at once, of all probes together. A look takes far below a millisecond, so many at once
/// hang; more threads would hang too.
const AT_ONCE: usize = 16;

static THREADS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(AT_ONCE)));

/// The looks of one probe, which never overlap.
#[derive(Debug)]
pub struct Looks<T> {
    hanging: Option<JoinHandle<T>>,
}

impl<T> Default for Looks<T> {
    fn default() -> Looks<T> {
        Looks { hanging: None }
    }
}

impl<T: Send + 'static> Looks<T> {
    /// Looks once. The deadline counts from where a thread is free.
    ///
    /// # Errors
    /// Why there is nothing to judge: that look, or an earlier one, has not come back.
    pub async fn look(
        &mut self,
        within: Millis,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        if self.hanging.as_ref().is_some_and(|h| !h.is_finished()) {
            return Err("an earlier look still hangs in the kernel".to_owned());
        }
        self.hanging = None;
        let Ok(thread) = Arc::clone(&THREADS).try_acquire_owned() else {
            return Err(format!("{AT_ONCE} looks of probes hang in the kernel"));
        };
        let mut task = tokio::task::spawn_blocking(move || {
            let _thread = thread;
            look()
        });
        match timeout(within.to_duration(), &mut task).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(format!("the look broke off: {error}")),
            Err(_) => {
                self.hanging = Some(task);
                Err(format!("the look hangs in the kernel for {within}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_is_not_repeated_before_it_comes_back() {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let mut looks = Looks::default();
        let hung = looks.look(Millis(20), move || released.recv().unwrap_or_default());
        let hung = hung.await;
        assert!(hung.unwrap_err().contains("hangs in the kernel"));
        let next = looks.look(Millis(20_000), || ()).await;
        assert!(next.unwrap_err().contains("earlier look"));
        release.send(()).unwrap();
        if let Some(hanging) = &mut looks.hanging {
            hanging.await.unwrap();
        }
        assert_eq!(looks.look(Millis(20_000), || ()).await, Ok(()));
    }
}
