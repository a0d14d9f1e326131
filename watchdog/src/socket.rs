//! The socket that beats come in by, with the kernel's word on who sent each.

use std::fs;
use std::io::{IoSliceMut, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendto, setsockopt, sockopt,
};

use crate::beat::BEAT_MAX;

/// One datagram.
#[derive(Debug)]
pub struct Received {
    /// Bytes of it in the buffer; one more than a beat can have when it was longer.
    pub length: usize,
    /// Who sent it.
    pub uid: Option<u32>,
    /// Where the answer goes.
    pub from: Option<UnixAddr>,
}

/// The bound socket. Its file goes with it.
#[derive(Debug)]
pub struct Socket {
    inner: UnixDatagram,
    path: PathBuf,
}

impl Socket {
    /// Binds `path`, in place of one that a dead watchdog left. `shared`: others than the owner may
    /// send; the credentials of each datagram are checked all the same.
    ///
    /// # Errors
    /// With the path, the cause and a remedy.
    pub fn bind(path: &Path, shared: bool) -> std::result::Result<Socket, String> {
        let name = path.display();
        let alive = UnixDatagram::unbound().and_then(|probe| probe.connect(path));
        let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
        match alive {
            Ok(()) => {
                return Err(format!(
                    "{name}: another watchdog is listening; stop it first"
                ));
            }
            Err(e) if is_socket && e.kind() == std::io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(|e| format!("cannot remove the old {name}: {e}"))?;
            }
            Err(_) => {}
        }
        let error = |e: std::io::Error| {
            format!("cannot listen at {name}: {e}; its directory must exist and be writable")
        };
        let inner = UnixDatagram::bind(path).map_err(error)?;
        inner.set_nonblocking(true).map_err(error)?;
        let mode = fs::Permissions::from_mode(if shared { 0o666 } else { 0o600 });
        fs::set_permissions(path, mode).map_err(error)?;
        setsockopt(&inner, sockopt::PassCred, &true).map_err(|e| error(e.into()))?;
        Ok(Socket {
            inner,
            path: path.to_path_buf(),
        })
    }

    /// The next datagram, if one waits.
    ///
    /// # Errors
    /// When the kernel says so.
    pub fn receive(&self, buffer: &mut [u8; BEAT_MAX + 1]) -> Result<Option<Received>> {
        let mut control = nix::cmsg_space!(nix::sys::socket::UnixCredentials);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let fd = self.inner.as_raw_fd();
        match recvmsg::<UnixAddr>(fd, &mut parts, Some(&mut control), flags) {
            Ok(message) => {
                let uid = message.cmsgs()?.find_map(|control| match control {
                    ControlMessageOwned::ScmCredentials(who) => Some(who.uid()),
                    _ => None,
                });
                let from = message.address.filter(|a| a.path_len() > 0);
                Ok(Some(Received {
                    length: message.bytes,
                    uid,
                    from,
                }))
            }
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Sends an answer. An asker that is gone or does not read will ask again.
    pub fn answer(&self, to: &UnixAddr, bytes: &[u8]) {
        let _ = sendto(self.inner.as_raw_fd(), bytes, to, MsgFlags::MSG_DONTWAIT);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
