//! Leading a guest's packets to where it has moved.
//!
//! Bridges and switches send to the port where they have last heard an address. A guest that came from another host has
//! not spoken yet, and a busy one is slow to: so Dom0 tells its own bridge, and says it to the network in the guest's
//! name, by a reverse ARP request (RFC 903), which nobody need answer.

use std::fs;

use anyhow::{Context, Result};
use privcmd::NetDevices;
use xenstore_client::Store;
use xl_config::MacAddress;

use super::netlink::Message;
use super::{Class, Device, vif};

// Numbers of linux/rtnetlink.h, linux/neighbour.h, linux/if_ether.h and RFC 826, 903.
const RTM_NEWNEIGH: u16 = 28;
const AF_BRIDGE: u8 = 7;
const NUD_REACHABLE: u16 = 2;
const NTF_MASTER: u8 = 4;
const NDA_LLADDR: u16 = 2;
const ETH_P_RARP: u16 = 0x8035;
const ETH_P_IP: u16 = 0x0800;
const ARPHRD_ETHER: u16 = 1;
const REVERSE_REQUEST: u16 = 3;
/// The shortest Ethernet frame, in bytes, without its checksum.
const SHORTEST_FRAME: usize = 60;

/// Leads packets for the guest to `device`, if that is an interface in a bridge of Dom0's.
///
/// # Errors
/// What the store or the kernel refuses. The guest's own packets lead there sooner or later, too.
pub fn lead_to(store: &mut impl Store, device: &Device) -> Result<()> {
    if device.class != Class::Vif || device.backend_domid != 0 {
        return Ok(());
    }
    let mut node = |name: &str| store.read_optional(&format!("{}/{name}", device.backend()));
    let name = vif::name_of(device, node("vifname")?.as_deref());
    let (Some(mac), Some(bridge)) = (node("mac")?.as_deref().and_then(octets), bridge_of(&name)) else {
        return Ok(());
    };
    let devices = NetDevices::open()?;
    heard_at(mac, devices.index(&name)?)
        .carry_out()
        .with_context(|| format!("{bridge} cannot be told that the guest is at {name}"))?;
    devices.send(&bridge, &frame(mac)).context("cannot speak for the guest")
}

/// The bridge that an interface is in.
fn bridge_of(interface: &str) -> Option<String> {
    let master = fs::read_link(format!("/sys/class/net/{interface}/master")).ok()?;
    Some(master.file_name()?.to_str()?.to_owned())
}

fn octets(text: &str) -> Option<[u8; 6]> {
    Some(text.parse::<MacAddress>().ok()?.0)
}

/// Tells a bridge that it has heard `mac` at the interface numbered `index`; it forgets that as it forgets all it heard.
fn heard_at(mac: [u8; 6], index: u32) -> Message {
    // struct ndmsg.
    let mut body = vec![AF_BRIDGE, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend(NUD_REACHABLE.to_ne_bytes());
    body.extend([NTF_MASTER, 0]);
    Message::new(RTM_NEWNEIGH, &body).attribute(NDA_LLADDR, &mac)
}

/// The request, from the guest to all.
fn frame(mac: [u8; 6]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend(ETH_P_RARP.to_be_bytes());
    frame.extend(ARPHRD_ETHER.to_be_bytes());
    frame.extend(ETH_P_IP.to_be_bytes());
    frame.extend([6, 4]);
    frame.extend(REVERSE_REQUEST.to_be_bytes());
    for _ in ["sender", "target"] {
        frame.extend(mac);
        frame.extend([0; 4]);
    }
    frame.resize(SHORTEST_FRAME, 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x00, 0x16, 0x3e, 1, 2, 3];

    #[test]
    fn the_frame_is_a_reverse_request_in_the_guests_name() {
        let frame = frame(MAC);
        assert_eq!(frame.len(), 60);
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[6..12], MAC);
        assert_eq!(frame[12..22], [0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3]);
        assert_eq!((&frame[22..28], &frame[32..38]), (&MAC[..], &MAC[..]));
    }

    #[test]
    fn the_bridge_hears_of_an_address_and_a_port() {
        let message = heard_at(MAC, 7).bytes();
        assert_eq!(message[4..6], RTM_NEWNEIGH.to_ne_bytes());
        assert_eq!(message[16..28], [7, 0, 0, 0, 7, 0, 0, 0, 2, 0, 4, 0]);
        assert_eq!(message[28..38], [10, 0, 2, 0, 0x00, 0x16, 0x3e, 1, 2, 3]);
    }
}
