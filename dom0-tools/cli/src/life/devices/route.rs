//! Routes to guests, by netlink.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, bail};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};

// Numbers of linux/netlink.h and linux/rtnetlink.h.
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const RTM_NEWROUTE: u16 = 24;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Routes packets for `guest` to the interface numbered `index`; Dom0's own have the address `source`.
pub fn add_host(guest: IpAddr, index: u32, source: Ipv4Addr) -> Result<()> {
    let message = host_route(guest, index, source);
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)
        .context("no netlink socket")?;
    sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).context("netlink")?;
    let mut answer = [0; 4096];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty()).context("netlink")?;
    let number = |at: usize| {
        answer
            .get(at..at + 4)
            .and_then(|bytes| Some(i32::from_ne_bytes(bytes.try_into().ok()?)))
    };
    match (
        length >= HEADER + 4 && answer[4..6] == NLMSG_ERROR.to_ne_bytes(),
        number(HEADER),
    ) {
        (true, Some(0)) => Ok(()),
        (true, Some(error)) => Err(nix::errno::Errno::from_raw(error.saturating_neg()).into()),
        _ => bail!("the kernel's answer is not understood"),
    }
}

fn host_route(guest: IpAddr, index: u32, source: Ipv4Addr) -> Vec<u8> {
    let (family, bytes) = match guest {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    };
    let bits = if family == AF_INET { 32 } else { 128 };
    let mut message = vec![0; HEADER];
    message.extend([
        family,
        bits,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_STATIC,
        RT_SCOPE_LINK,
        RTN_UNICAST,
        0,
        0,
        0,
        0,
    ]);
    attribute(&mut message, RTA_DST, &bytes);
    attribute(&mut message, RTA_OIF, &index.to_ne_bytes());
    if family == AF_INET {
        attribute(&mut message, RTA_PREFSRC, &source.octets());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message[0..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_NEWROUTE.to_ne_bytes());
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    message[6..8].copy_from_slice(&flags.to_ne_bytes());
    message
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// Dom0's IPv4 address on `device`, or on the device of its default route.
pub fn own_address(device: Option<&str>) -> Result<Ipv4Addr> {
    let name = match device {
        Some(name) => name.to_owned(),
        None => default_device().context("there is no default route; name Dom0's interface with gatewaydev=")?,
    };
    let found = getifaddrs()
        .context("cannot list network interfaces")?
        .find_map(|entry| {
            let address = entry.address?;
            (entry.interface_name == name).then(|| address.as_sockaddr_in().map(|address| address.ip()))?
        });
    found.with_context(|| format!("{name} has no IPv4 address; give it one, or name another with gatewaydev="))
}

fn default_device() -> Option<String> {
    let table = fs::read_to_string("/proc/net/route").ok()?;
    table.lines().skip(1).find_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        (words.next()? == "00000000").then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_route_is_what_the_kernel_expects() {
        let message = host_route(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 7, Ipv4Addr::new(10, 0, 0, 1));
        assert_eq!(message.len(), HEADER + 12 + 3 * 8);
        assert_eq!(message[0..4], 52u32.to_ne_bytes());
        assert_eq!(message[28..36], [8, 0, 1, 0, 10, 0, 0, 2]);
        assert_eq!(message[36..44], [8, 0, 4, 0, 7, 0, 0, 0]);
    }
}
