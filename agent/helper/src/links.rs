//! Network interfaces over rtnetlink(7): whether one is up, and down and up again.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use nodemedic_protocol::Millis;
use tokio::time::sleep;

/// So long it stays down: enough for a switch to see that the carrier is gone.
const DOWN_FOR: Millis = Millis(1000);

/// The kernel answers at once; a driver that hangs must not hold us.
const ANSWER_S: i64 = 5;

/// One answer names one interface.
const ANSWER_MAX_BYTES: usize = 32 << 10;

const NEW_LINK: u16 = 16;
const GET_LINK: u16 = 18;
const ERROR: u16 = 2;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const IFF_UP: u32 = 1;

/// `nlmsghdr` and `ifinfomsg`, each of 16 bytes.
fn message(kind: u16, flags: u16, index: u32, set: u32, which: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    bytes.extend(32u32.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(1u32.to_ne_bytes());
    // The end of the header, then family, padding and type.
    bytes.extend([0; 8]);
    bytes.extend(index.to_ne_bytes());
    bytes.extend(set.to_ne_bytes());
    bytes.extend(which.to_ne_bytes());
    bytes
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

struct Netlink(OwnedFd);

impl Netlink {
    fn open() -> nix::Result<Netlink> {
        let protocol = SockProtocol::NetlinkRoute;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_S, 0))?;
        Ok(Netlink(socket))
    }

    /// Asks the kernel; gives its answer.
    fn ask(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let kernel = NetlinkAddr::new(0, 0);
        sendto(self.0.as_raw_fd(), message, &kernel, MsgFlags::empty())?;
        let mut answer = vec![0; ANSWER_MAX_BYTES];
        let length = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        answer.truncate(length);
        let kind = answer
            .get(4..6)
            .map(|two| u16::from_ne_bytes([two[0], two[1]]));
        if kind == Some(ERROR) {
            let code = number(&answer, 16).unwrap_or(0).cast_signed();
            if code != 0 {
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
        }
        Ok(answer)
    }

    fn is_up(&self, index: u32) -> io::Result<bool> {
        let answer = self.ask(&message(GET_LINK, REQUEST, index, 0, 0))?;
        let flags = number(&answer, 24);
        let flags = flags.ok_or_else(|| io::Error::other("a short answer of the kernel"))?;
        Ok(flags & IFF_UP != 0)
    }

    fn set(&self, index: u32, up: bool) -> io::Result<()> {
        let set = if up { IFF_UP } else { 0 };
        self.ask(&message(NEW_LINK, REQUEST | ACK, index, set, IFF_UP))
            .map(drop)
    }
}

/// Down, and up again a moment later, and seen to be up. One that an administrator has taken down
/// stays so.
///
/// # Errors
/// When there is no such interface, or it does not come up.
pub async fn bounce(interface: &str) -> Result<String, String> {
    let fail = |what: &str, error: io::Error| format!("cannot {what} {interface}: {error}");
    let index = nix::net::if_::if_nametoindex(interface)
        .map_err(|error| fail("find the interface", error.into()))?;
    let netlink = Netlink::open().map_err(|error| fail("ask the kernel for", error.into()))?;
    if !netlink
        .is_up(index)
        .map_err(|error| fail("look at", error))?
    {
        return Err(format!(
            "{interface} was taken down by somebody: it is left as it is"
        ));
    }
    netlink
        .set(index, false)
        .map_err(|error| fail("take down", error))?;
    sleep(DOWN_FOR.to_duration()).await;
    netlink
        .set(index, true)
        .map_err(|error| fail("take up", error))?;
    match netlink
        .is_up(index)
        .map_err(|error| fail("look at", error))?
    {
        true => Ok(format!("{interface} was down for {DOWN_FOR} and is up")),
        false => Err(format!("{interface} did not come up")),
    }
}
