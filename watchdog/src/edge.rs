//! The process's other ends: lines to stderr, the service manager, and the socket of beats.
//! Nothing here blocks, and nothing but what opens allocates.

use std::fmt::{self, Arguments, Write};
use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::OnceLock;
use std::{env, fs, io, process};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendto, setsockopt, sockopt,
};

use crate::beat::BEAT_MAX;

/// Text in a buffer of a fixed size; what does not fit is cut.
#[derive(Debug)]
pub struct Text<const N: usize>([u8; N], usize);

impl<const N: usize> Text<N> {
    /// Formats.
    #[must_use]
    pub fn new(text: Arguments<'_>) -> Text<N> {
        let mut new = Text([0; N], 0);
        let _whole_or_cut = new.write_fmt(text);
        new
    }

    /// What was written.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let length = text.len().min(N - self.1);
        self.0[self.1..self.1 + length].copy_from_slice(&text.as_bytes()[..length]);
        self.1 += length;
        Ok(())
    }
}

/// Writes one line to stderr, or drops it when the reader is not keeping up: a full pipe must not
/// stop the feeding of a device.
pub fn say(level: u8, line: Arguments<'_>) {
    static JOURNAL: OnceLock<bool> = OnceLock::new();
    let stderr = io::stderr();
    let line = match JOURNAL.get_or_init(|| env::var_os("JOURNAL_STREAM").is_some()) {
        true => Text::<1024>::new(format_args!("<{level}>{line}\n")),
        false => Text::<1024>::new(format_args!("nodemedic-watchdog: {line}\n")),
    };
    // A pipe that is ready takes a whole line below PIPE_BUF (4096) without blocking.
    let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(&stderr), PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0) {
        let _nobody_is_left_to_tell = nix::unistd::write(&stderr, line.bytes());
    }
}

/// The service manager, where there is one: sd_notify(3) without a library.
#[derive(Debug)]
pub struct Manager {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear `WATCHDOG=1`: half of its patience, as sd_watchdog_enabled(3)
    /// advises.
    pub every_ms: Option<u64>,
}

impl Manager {
    /// From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    #[must_use]
    pub fn from_env() -> Manager {
        let var = |name| env::var(name).ok();
        let address = var("NOTIFY_SOCKET").and_then(|name| match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name).ok(),
            None => SocketAddr::from_pathname(name).ok(),
        });
        let socket = UnixDatagram::unbound().ok().filter(|s| s.set_nonblocking(true).is_ok());
        let for_us = var("WATCHDOG_PID").is_none_or(|pid| pid == process::id().to_string());
        let usec = var("WATCHDOG_USEC").and_then(|usec| usec.parse::<u64>().ok());
        let every_ms = usec.filter(|_| for_us).map(|usec| (usec / 2000).max(1));
        Manager { to: socket.zip(address), every_ms }
    }

    /// Tells it; one that does not read will act by its own timeout.
    pub fn tell(&self, text: Arguments<'_>) {
        if let Some((socket, address)) = &self.to {
            let _ = socket.send_to_addr(Text::<256>::new(text).bytes(), address);
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
    /// Binds `path`, in place of one that a dead watchdog left. `shared`: others than the owner may
    /// send; the credentials of each datagram are checked all the same.
    ///
    /// # Errors
    /// With the path, the cause and a remedy.
    pub fn bind(path: &Path, shared: bool) -> Result<Socket, String> {
        let name = path.display();
        let alive = UnixDatagram::unbound().and_then(|probe| probe.connect(path));
        let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        if alive.is_ok() {
            return Err(format!("{name}: another watchdog is listening; stop it first"));
        }
        let error = |e: io::Error| {
            format!("cannot listen at {name}: {e}; its directory must exist and be writable")
        };
        if is_socket && alive.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
            fs::remove_file(path).map_err(error)?;
        }
        let inner = UnixDatagram::bind(path).map_err(error)?;
        let mode = fs::Permissions::from_mode(if shared { 0o666 } else { 0o600 });
        fs::set_permissions(path, mode).map_err(error)?;
        setsockopt(&inner, sockopt::PassCred, &true).map_err(|e| error(e.into()))?;
        // No room for more: descriptors that a sender adds are closed by the kernel.
        Ok(Socket { inner, control: nix::cmsg_space!(nix::sys::socket::UnixCredentials) })
    }

    /// Answers the next datagram, if one waits, with what `answer` makes of its sender's pid and
    /// uid and its bytes. An asker that is gone or does not read will ask again.
    ///
    /// # Errors
    /// When the kernel says so.
    pub fn receive(
        &mut self,
        answer: impl FnOnce(u32, u32, &[u8]) -> [u8; 64],
    ) -> nix::Result<bool> {
        let (fd, now) = (self.inner.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        // One more than a beat can have, so that a longer one shows.
        let mut buffer = [0; BEAT_MAX + 1];
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let message = match recvmsg::<UnixAddr>(fd, &mut parts, Some(&mut self.control), now) {
            Ok(message) => message,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(false),
            Err(e) => return Err(e),
        };
        let sender = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmCredentials(who) => Some((who.pid(), who.uid())),
            _ => None,
        });
        let (pid, uid) = sender.unwrap_or((0, u32::MAX));
        let (length, from) = (message.bytes, message.address.filter(|from| from.path_len() > 0));
        let bytes = answer(u32::try_from(pid).unwrap_or(0), uid, &buffer[..length]);
        let _ = from.map(|to| sendto(fd, &bytes, &to, now));
        Ok(true)
    }
}
