//! Requests to the kernel's network by netlink (linux/netlink.h), one at a time.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};

const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// A request that makes something, or puts it in the place of what was there.
#[derive(Debug)]
pub struct Message {
    kind: u16,
    /// The header, still empty, and what follows it.
    bytes: Vec<u8>,
}

impl Message {
    /// A request of this kind; `body` is the structure that such requests begin with.
    pub fn new(kind: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes.extend(body);
        Self { kind, bytes }
    }

    /// With one more attribute.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    /// As the kernel wants it.
    pub fn bytes(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[4..6].copy_from_slice(&self.kind.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes
    }

    /// Has the kernel do it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn carry_out(self) -> Result<()> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)
            .context("no netlink socket")?;
        sendto(
            socket.as_raw_fd(),
            &self.bytes(),
            &NetlinkAddr::new(0, 0),
            MsgFlags::empty(),
        )
        .context("netlink")?;
        let mut answer = [0; 4096];
        let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).context("netlink")?;
        outcome(&answer[..length])
    }
}

/// What an answer says: a `struct nlmsgerr`, whose error 0 is success.
fn outcome(answer: &[u8]) -> Result<()> {
    let error = answer
        .get(HEADER..HEADER + 4)
        .and_then(|bytes| Some(i32::from_ne_bytes(bytes.try_into().ok()?)))
        .filter(|_| answer[4..6] == NLMSG_ERROR.to_ne_bytes());
    match error {
        Some(0) => Ok(()),
        Some(error) => Err(nix::errno::Errno::from_raw(error.saturating_neg()).into()),
        None => bail!("the kernel's answer is not understood"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_success_an_error_or_nonsense() {
        let answer = |kind: u16, error: i32| {
            let mut bytes = vec![0; HEADER + 4];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[HEADER..].copy_from_slice(&error.to_ne_bytes());
            outcome(&bytes)
        };
        assert!(answer(NLMSG_ERROR, 0).is_ok());
        let refused = answer(NLMSG_ERROR, -1).expect_err("EPERM");
        assert_eq!(refused.downcast_ref(), Some(&nix::errno::Errno::EPERM));
        assert!(answer(3, 0).is_err());
        assert!(outcome(&[]).is_err());
    }
}
