//! Echo requests to whoever is 10.0.0.1, several of them under way, as `dom0-load --echo-requests` makes them in a Linux
//! guest: prints `BENCH KIND nanoseconds` for one request of each kind.
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use guest_rt::{Machine, println};
use pv_hal::Hal;
use pv_net::{Error, Interface, MAX_FRAME, Meta};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv4Packet,
    Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv4Repr,
};

const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const IDENTIFIER: u16 = 0x5056;
/// Bytes of data, and how many requests are under way: Linux's netback queues 32 frames and drops the next.
const KINDS: [(usize, u16); 4] = [(56, 1), (1400, 1), (56, 16), (1400, 16)];
/// Measurements of which the shortest counts.
const BATCHES: u32 = 3;
/// What is lost is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A device, and who asks whom over it.
struct Line<'a, D> {
    device: &'a mut D,
    own: Ipv4Addr,
    peer: EthernetAddress,
    frame: Vec<u8>,
}

/// An Ethernet frame with room for `len` bytes behind its header.
fn frame(own: EthernetAddress, to: EthernetAddress, kind: EthernetProtocol, len: usize) -> Vec<u8> {
    let header = EthernetRepr {
        src_addr: own,
        dst_addr: to,
        ethertype: kind,
    };
    let mut bytes = alloc::vec![0; header.buffer_len() + len];
    header.emit(&mut EthernetFrame::new_unchecked(&mut bytes[..]));
    bytes
}

fn arp_answer(bytes: &[u8]) -> Option<EthernetAddress> {
    let frame = EthernetFrame::new_checked(bytes).ok()?;
    let packet = ArpPacket::new_checked(frame.payload()).ok()?;
    match ArpRepr::parse(&packet).ok()? {
        ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr,
            source_protocol_addr: PEER,
            ..
        } if frame.ethertype() == EthernetProtocol::Arp => Some(source_hardware_addr),
        _ => None,
    }
}

/// The number of the request that a frame answers.
fn echo_answer(bytes: &[u8]) -> Option<u16> {
    let frame = EthernetFrame::new_checked(bytes).ok()?;
    let ip = Ipv4Packet::new_checked(frame.payload()).ok()?;
    let icmp = Icmpv4Packet::new_checked(ip.payload()).ok()?;
    match Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default()).ok()? {
        Icmpv4Repr::EchoReply {
            ident: IDENTIFIER,
            seq_no,
            ..
        } if ip.next_header() == IpProtocol::Icmp => Some(seq_no),
        _ => None,
    }
}

impl<'a, D: Interface> Line<'a, D> {
    /// Asks for the peer's hardware address.
    fn find(device: &'a mut D, own: Ipv4Addr) -> Result<Self, Error> {
        let mac = EthernetAddress(device.mac());
        let request = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: mac,
            source_protocol_addr: own,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: PEER,
        };
        let mut bytes = frame(
            mac,
            EthernetAddress::BROADCAST,
            EthernetProtocol::Arp,
            request.buffer_len(),
        );
        request.emit(&mut ArpPacket::new_unchecked(&mut bytes[14..]));
        let mut line = Self {
            device,
            own,
            peer: EthernetAddress::BROADCAST,
            frame: alloc::vec![0; MAX_FRAME],
        };
        // A bridge may forward nothing at first.
        for _ in 0..10 {
            line.device.send(&bytes, Meta::default())?;
            let deadline = Machine.now() + PATIENCE;
            while let Some(len) = line.receive(deadline)? {
                if let Some(peer) = arp_answer(&line.frame[..len]) {
                    line.peer = peer;
                    return Ok(line);
                }
            }
        }
        Err(Error::Peer("10.0.0.1 does not answer"))
    }

    fn receive(&mut self, deadline: Duration) -> Result<Option<usize>, Error> {
        let received = self.device.receive(&mut self.frame, Some(deadline))?;
        Ok(received.map(|received| received.len))
    }

    fn request(&self, number: u16, bytes: usize) -> Vec<u8> {
        let data = alloc::vec![0x5a; bytes];
        let icmp = Icmpv4Repr::EchoRequest {
            ident: IDENTIFIER,
            seq_no: number,
            data: &data,
        };
        let ip = Ipv4Repr {
            src_addr: self.own,
            dst_addr: PEER,
            next_header: IpProtocol::Icmp,
            payload_len: icmp.buffer_len(),
            hop_limit: 64,
        };
        let mac = EthernetAddress(self.device.mac());
        let len = ip.buffer_len() + icmp.buffer_len();
        let mut bytes = frame(mac, self.peer, EthernetProtocol::Ipv4, len);
        let sums = ChecksumCapabilities::default();
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[14..]);
        ip.emit(&mut packet, &sums);
        icmp.emit(&mut Icmpv4Packet::new_unchecked(packet.payload_mut()), &sums);
        bytes
    }

    /// Makes so many requests, each of `requests` under way once at a time.
    fn run(&mut self, requests: &[Vec<u8>], count: u32) -> Result<(), Error> {
        let mut idle: Vec<u16> = (0..requests.len() as u16).collect();
        let (mut begun, mut ended) = (0, 0);
        while ended < count {
            while begun < count {
                let Some(slot) = idle.pop() else { break };
                let sent = self.device.try_send(&requests[usize::from(slot)], Meta::default());
                sent.map_err(|_| Error::Down)?;
                begun += 1;
            }
            self.device.flush();
            // One answer is waited for, and what else has come is taken with it.
            let mut next = self.receive(Machine.now() + PATIENCE)?;
            if next.is_none() {
                return Err(Error::Peer("10.0.0.1 has lost an echo request"));
            }
            while let Some(len) = next {
                let slot = echo_answer(&self.frame[..len]);
                if let Some(slot) = slot.filter(|slot| usize::from(*slot) < requests.len() && !idle.contains(slot)) {
                    idle.push(slot);
                    ended += 1;
                }
                next = self.device.try_receive(&mut self.frame).map(|received| received.len);
            }
        }
        Ok(())
    }
}

/// Measures all kinds by so many requests.
pub(crate) fn measure(device: &mut impl Interface, own: Ipv4Addr, count: u32) -> Result<(), Error> {
    let mut line = Line::find(device, own)?;
    for (bytes, depth) in KINDS {
        let requests: Vec<Vec<u8>> = (0..depth).map(|number| line.request(number, bytes)).collect();
        line.run(&requests, count / 4)?;
        let mut least = Duration::MAX;
        for _ in 0..BATCHES {
            let begun = Machine.now();
            line.run(&requests, count)?;
            least = least.min(Machine.now() - begun);
        }
        println!(
            "BENCH echo_{bytes}_{depth} {}",
            least.as_nanos() / u128::from(count.max(1))
        );
    }
    Ok(())
}
