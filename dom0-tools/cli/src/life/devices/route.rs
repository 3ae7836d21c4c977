//! Routes to guests, by netlink.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;

use super::netlink::Message;

// Numbers of linux/rtnetlink.h.
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

/// Routes packets for `guest` to the interface numbered `index`; Dom0's own have the address `source`.
pub fn add_host(guest: IpAddr, index: u32, source: Ipv4Addr) -> Result<()> {
    host_route(guest, index, source).carry_out()
}

fn host_route(guest: IpAddr, index: u32, source: Ipv4Addr) -> Message {
    let (family, bytes) = match guest {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    };
    let bits = if family == AF_INET { 32 } else { 128 };
    let scope = [RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_LINK, RTN_UNICAST];
    let mut body = vec![family, bits, 0, 0];
    body.extend(scope);
    body.extend([0; 4]);
    let message = Message::new(RTM_NEWROUTE, &body)
        .attribute(RTA_DST, &bytes)
        .attribute(RTA_OIF, &index.to_ne_bytes());
    if family == AF_INET {
        message.attribute(RTA_PREFSRC, &source.octets())
    } else {
        message
    }
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
        let message = host_route(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 7, Ipv4Addr::new(10, 0, 0, 1)).bytes();
        assert_eq!(message.len(), 16 + 12 + 3 * 8);
        assert_eq!(message[0..4], 52u32.to_ne_bytes());
        assert_eq!(message[28..36], [8, 0, 1, 0, 10, 0, 0, 2]);
        assert_eq!(message[36..44], [8, 0, 4, 0, 7, 0, 0, 0]);
    }
}
