//! The process's other ends: lines to stderr, the service manager, and the socket of beats.
//! Nothing here blocks, and nothing but what opens allocates.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::{env, fs};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, ControlMessageOwned, MsgFlags, UnixAddr, UnixCredentials, sockopt};

use crate::beat::{BEAT_MAX, HEADER};

/// Levels of lines, as sd-daemon(3) numbers them: somebody must act.
pub const ALERT: u8 = 1;
/// Something is wrong.
pub const WARNING: u8 = 4;
/// For the record.
pub const INFO: u8 = 6;
/// The longest text, of last words; a line is shorter.
pub const TEXT_MAX: usize = 2048;

/// Uses a text that is formatted in place; what does not fit is cut.
pub fn written<R>(text: Arguments<'_>, with: impl FnOnce(&[u8]) -> R) -> R {
    let mut room = [0; TEXT_MAX];
    let mut rest = &mut room[..];
    let _whole_or_cut = rest.write_fmt(text);
    let length = TEXT_MAX - rest.len();
    with(&room[..length])
}

/// True when the file is ready now.
pub fn is_ready(file: impl AsFd, for_what: PollFlags) -> bool {
    poll(&mut [PollFd::new(file.as_fd(), for_what)], PollTimeout::ZERO) == Ok(1)
}

/// Writes to a pipe, or drops the text when the reader is not keeping up: a full pipe must not
/// stop the feeding of a device. One that is ready takes a text below PIPE_BUF (4096) at once.
pub fn offer(pipe: impl AsFd, text: Arguments<'_>) -> bool {
    let all = |text: &[u8]| nix::unistd::write(&pipe, text).is_ok();
    is_ready(&pipe, PollFlags::POLLOUT) && written(text, all)
}

/// Writes one line to stderr, with its level.
pub fn say(level: u8, line: Arguments<'_>) {
    let _nobody_is_left_to_tell = offer(io::stderr(), format_args!("<{level}>{line}\n"));
}

/// The socket that beats come in by, with the kernel's word on who sent each.
#[derive(Debug)]
pub struct Socket {
    /// For poll.
    pub inner: UnixDatagram,
    control: Vec<u8>,
    manager: Option<UnixAddr>,
}

impl Socket {
    /// Binds a path, in place of one that a dead watchdog left. `shared`: others than the owner may
    /// send; the credentials of each datagram are checked all the same.
    ///
    /// # Errors
    /// With the path, the cause and a remedy.
    pub fn bind(path: &str, shared: bool) -> Result<Socket, String> {
        let error = |e| format!("cannot listen at {path}: {e}; its directory must be writable");
        let left = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
        match UnixDatagram::unbound().and_then(|probe| probe.connect(path)) {
            Ok(()) => return Err(format!("{path}: another watchdog is listening; stop it first")),
            Err(e) if left && e.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(error)?;
            }
            Err(_) => {}
        }
        let inner = UnixDatagram::bind(path).map_err(error)?;
        let mode = fs::Permissions::from_mode(if shared { 0o666 } else { 0o600 });
        fs::set_permissions(path, mode).map_err(error)?;
        socket::setsockopt(&inner, sockopt::PassCred, &true).map_err(|e| error(e.into()))?;
        // sd_notify(3) without a library.
        let manager =
            env::var("NOTIFY_SOCKET").ok().and_then(|name| match name.strip_prefix('@') {
                Some(name) => UnixAddr::new_abstract(name.as_bytes()).ok(),
                None => UnixAddr::new(name.as_str()).ok(),
            });
        // No room for more: descriptors that a sender adds are closed by the kernel.
        Ok(Socket { inner, control: nix::cmsg_space!(UnixCredentials), manager })
    }

    /// Tells the service manager; one that does not read will act by its own timeout.
    pub fn tell(&self, text: Arguments<'_>) {
        if let Some(to) = &self.manager {
            written(text, |text| self.send(text, to));
        }
    }

    /// Who is gone or does not read will ask again.
    fn send(&self, bytes: &[u8], to: &UnixAddr) {
        let _sent = socket::sendto(self.inner.as_raw_fd(), bytes, to, MsgFlags::MSG_DONTWAIT);
    }

    /// Answers the next datagram, if one waits, with what `answer` makes of its sender's pid and
    /// uid and its bytes.
    ///
    /// # Errors
    /// When the kernel says so.
    pub fn receive<F>(&mut self, answer: F) -> nix::Result<bool>
    where
        F: FnOnce(u32, u32, &[u8]) -> [u8; HEADER],
    {
        let (fd, now) = (self.inner.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        // One more than a beat can have, so that a longer one shows.
        let mut room = [0; BEAT_MAX + 1];
        let mut parts = [IoSliceMut::new(&mut room)];
        let message = match socket::recvmsg(fd, &mut parts, Some(&mut self.control), now) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
            message => message?,
        };
        let sender = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmCredentials(who) => Some((who.pid(), who.uid())),
            _ => None,
        });
        let (pid, uid) = sender.unwrap_or((0, u32::MAX));
        let (length, from) = (message.bytes, message.address);
        let bytes = answer(pid.cast_unsigned(), uid, &room[..length]);
        if let Some(from) = from.filter(|from: &UnixAddr| from.path_len() > 0) {
            self.send(&bytes, &from);
        }
        Ok(true)
    }
}
