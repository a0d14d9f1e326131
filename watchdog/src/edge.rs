//! The process's other ends: lines to stderr, the service manager, and the socket of beats.
//! Nothing here blocks, and nothing but what opens allocates.

use std::fmt::Arguments;
use std::io::{self, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::{env, fs};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials, sockopt};

use crate::beat::{BEAT_MAX, HEADER};

/// The longest text, of last words; a line is shorter.
const TEXT_MAX: usize = 2048;

/// Uses a text that is formatted in place; what does not fit is cut.
pub fn written<R>(text: Arguments<'_>, with: impl FnOnce(&[u8]) -> R) -> R {
    let mut room = [0; TEXT_MAX];
    let mut rest = &mut room[..];
    let _whole_or_cut = rest.write_fmt(text);
    let length = TEXT_MAX - rest.len();
    with(&room[..length])
}

/// True when the file is ready within this time.
pub fn is_ready(file: impl AsFd, for_what: PollFlags, wait_ms: u16) -> bool {
    poll(&mut [PollFd::new(file.as_fd(), for_what)], PollTimeout::from(wait_ms)) == Ok(1)
}

/// Writes one line to stderr, with its level as sd-daemon(3) has it, or drops it when the reader is
/// not keeping up: a full pipe must not stop the feeding of a device.
pub fn say(level: u8, line: Arguments<'_>) {
    let stderr = io::stderr();
    // A pipe that is ready takes a whole line below PIPE_BUF (4096) without blocking.
    if is_ready(&stderr, PollFlags::POLLOUT, 0) {
        let to_stderr = |bytes: &[u8]| nix::unistd::write(&stderr, bytes);
        let _nobody_is_left_to_tell = written(format_args!("<{level}>{line}\n"), to_stderr);
    }
}

/// The service manager, where there is one: sd_notify(3) without a library.
#[derive(Debug)]
pub struct Manager(Option<(UnixDatagram, SocketAddr)>);

impl Manager {
    /// From `NOTIFY_SOCKET`.
    #[must_use]
    pub fn from_env() -> Manager {
        let address =
            env::var("NOTIFY_SOCKET").ok().and_then(|name| match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name).ok(),
                None => SocketAddr::from_pathname(name).ok(),
            });
        let socket = UnixDatagram::unbound().ok().filter(|s| s.set_nonblocking(true).is_ok());
        Manager(socket.zip(address))
    }

    /// Tells it; one that does not read will act by its own timeout.
    pub fn tell(&self, text: Arguments<'_>) {
        if let Some((socket, address)) = &self.0 {
            let _by_its_timeout = written(text, |bytes| socket.send_to_addr(bytes, address));
        }
    }
}

/// The socket that beats come in by, with the kernel's word on who sent each.
#[derive(Debug)]
pub struct Socket {
    /// For poll.
    pub inner: UnixDatagram,
    control: Vec<u8>,
}

impl Socket {
    /// Binds a path, in place of one that a dead watchdog left. `shared`: others than the owner may
    /// send; the credentials of each datagram are checked all the same.
    ///
    /// # Errors
    /// With the path, the cause and a remedy.
    pub fn bind(path: &str, shared: bool) -> Result<Socket, String> {
        let error = |e: io::Error| {
            format!("cannot listen at {path}: {e}; its directory must exist and be writable")
        };
        match UnixDatagram::unbound().and_then(|probe| probe.connect(path)) {
            Ok(()) => return Err(format!("{path}: another watchdog is listening; stop it first")),
            Err(e) if e.kind() != io::ErrorKind::ConnectionRefused => {}
            Err(_) if !fs::symlink_metadata(path).map_err(error)?.file_type().is_socket() => {}
            Err(_) => fs::remove_file(path).map_err(error)?,
        }
        let inner = UnixDatagram::bind(path).map_err(error)?;
        let mode = fs::Permissions::from_mode(if shared { 0o666 } else { 0o600 });
        fs::set_permissions(path, mode).map_err(error)?;
        socket::setsockopt(&inner, sockopt::PassCred, &true).map_err(|e| error(e.into()))?;
        // No room for more: descriptors that a sender adds are closed by the kernel.
        Ok(Socket { inner, control: nix::cmsg_space!(UnixCredentials) })
    }

    /// Answers the next datagram, if one waits, with what `answer` makes of its sender's pid and
    /// uid and its bytes. An asker that is gone or does not read will ask again.
    ///
    /// # Errors
    /// When the kernel says so.
    pub fn receive(
        &mut self,
        answer: impl FnOnce(u32, u32, &[u8]) -> [u8; HEADER],
    ) -> nix::Result<bool> {
        let (fd, now) = (self.inner.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        // One more than a beat can have, so that a longer one shows.
        let mut room = [0; BEAT_MAX + 1];
        let mut parts = [IoSliceMut::new(&mut room)];
        let message = socket::recvmsg::<UnixAddr>(fd, &mut parts, Some(&mut self.control), now);
        if matches!(message, Err(Errno::EAGAIN | Errno::EINTR)) {
            return Ok(false);
        }
        let message = message?;
        let sender = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmCredentials(who) => Some((who.pid(), who.uid())),
            _ => None,
        });
        let (pid, uid) = sender.unwrap_or((0, u32::MAX));
        let (length, from) = (message.bytes, message.address.filter(|from| from.path_len() > 0));
        let bytes = answer(u32::try_from(pid).unwrap_or(0), uid, &room[..length]);
        let _asks_again = from.map(|to| socket::sendto(fd, &bytes, &to, now));
        Ok(true)
    }
}
