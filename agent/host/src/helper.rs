//! Who does what needs root: the helper behind its socket, or, for an agent that is root itself,
//! the same code in this process.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use nodemedic_helper::hands::Allowed;
use nodemedic_helper::{Allow, Answer, Hands, Places, Request};
use nodemedic_protocol::Millis;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The helper ends an act by itself before this.
const ANSWER_WAIT: Millis = Millis::from_secs(30);

/// An answer is a line for people.
const ANSWER_MAX_BYTES: u64 = 64 << 10;

/// Where acts are asked for.
#[derive(Clone, Debug)]
pub struct Helper(Way);

#[derive(Clone, Debug)]
enum Way {
    Socket(PathBuf),
    Here(Arc<Hands>),
}

impl Helper {
    /// By the packaged helper's socket.
    #[must_use]
    pub fn behind(socket: PathBuf) -> Helper {
        Helper(Way::Socket(socket))
    }

    /// In this process, which is root. What must survive a reboot is kept in `state`.
    #[must_use]
    pub fn here(state: PathBuf, cgroup_root: PathBuf, allow: Allow) -> Helper {
        let places = Places {
            cgroups: cgroup_root,
            ..Places::of_host(state)
        };
        let allowed = Allowed::Given(Mutex::new(allow));
        Helper(Way::Here(Arc::new(Hands::new(places, allowed))))
    }

    /// What may be touched from now on. The packaged helper is told by root.
    pub fn allow(&self, allow: Allow) {
        if let Way::Here(hands) = &self.0 {
            hands.allow(allow);
        }
    }

    /// Has one thing done; gives what was done.
    ///
    /// # Errors
    /// Why it was not.
    pub async fn ask(&self, request: Request) -> Result<String, String> {
        let path = match &self.0 {
            Way::Here(hands) => return hands.act(&request).await.into_result(),
            Way::Socket(path) => path,
        };
        let asked = timeout(ANSWER_WAIT.to_duration(), talk(path, &request)).await;
        let asked = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let answer = asked.map_err(|error| {
            format!(
                "cannot {request}: the helper at {} does not answer: {error}; see systemctl status \
                 nodemedic-helper.socket nodemedic-helper.service",
                path.display()
            )
        });
        answer?.into_result()
    }
}

async fn talk(path: &PathBuf, request: &Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(path).await?;
    let mut line = serde_json::to_vec(request).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream.take(ANSWER_MAX_BYTES));
    reader.read_line(&mut answer).await?;
    serde_json::from_str(&answer).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kill() -> Request {
        Request::Kill {
            unit: "web.service".to_owned(),
            cgroup: "/system.slice/web.service".to_owned(),
        }
    }

    #[tokio::test]
    async fn without_a_helper_the_error_says_where_to_look() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("helper.sock");
        let error = Helper::behind(path).ask(kill()).await.unwrap_err();
        assert!(error.starts_with("cannot kill web.service in "), "{error}");
        assert!(
            error.contains("systemctl status nodemedic-helper.socket"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn in_process_the_same_list_decides() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("cgroup");
        std::fs::create_dir(&root).unwrap();
        std::fs::File::create(root.join("cgroup.procs")).unwrap();
        let state = dir.path().join("state");
        let none = Allow {
            templates: Some(Default::default()),
            ..Allow::default()
        };
        let helper = Helper::here(state, root, none);
        let error = helper.ask(kill()).await.unwrap_err();
        assert!(
            error.starts_with("refused: web.service is neither "),
            "{error}"
        );
        // Root itself may kill any unit; this one is gone already.
        helper.allow(Allow::default());
        let done = helper.ask(kill()).await.unwrap();
        assert_eq!(done, "0 processes killed, and none is left");
    }
}
