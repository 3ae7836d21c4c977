//! Any [`Interface`] as the device that the TCP stack smoltcp runs over.
//!
//! The stack neither computes nor checks TCP and UDP checksums, and hands over large segments whole: what the peer does
//! not take is done in software on the way.
//!
//! ```no_run
//! # use pv_net::{Interface, phy::Phy};
//! # use smoltcp::iface::{Config, Interface as Stack, SocketSet};
//! # use smoltcp::time::Instant;
//! # use smoltcp::wire::EthernetAddress;
//! # fn run<D: Interface>(device: D) -> Result<(), pv_net::Error> {
//! let mut phy = Phy::new(device);
//! let config = Config::new(EthernetAddress(phy.device().mac()).into());
//! let now = phy.time();
//! let mut stack = Stack::new(config, &mut phy, now);
//! let mut sockets = SocketSet::new(vec![]);
//! loop {
//!     phy.device_mut().poll()?;
//!     let now = phy.time();
//!     stack.poll(now, &mut phy, &mut sockets);
//!     let delay = stack.poll_delay(phy.time(), &sockets);
//!     phy.wait(delay);
//! }
//! # }
//! ```

use alloc::vec::Vec;
use core::num::NonZeroUsize;
use core::time::Duration;

use smoltcp::phy::{self, Checksum as Who, DeviceCapabilities, Medium, PacketMeta};
use smoltcp::time::{Duration as StackDuration, Instant};

use crate::checksum::{self, Transport};
use crate::{Checksum, Gso, GsoKind, Interface, MAX_FRAME, Meta, Received};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// Most bytes of a large segment: what 16 pages hold, which every backend that takes several pages takes.
const LARGEST: NonZeroUsize = NonZeroUsize::new(16 * pv_hal::PAGE_SIZE - 1).unwrap();

/// A device for smoltcp.
pub struct Phy<D> {
    device: D,
    received: Vec<u8>,
    to_send: Vec<u8>,
    bad_checksums: u64,
    lost: u64,
    /// The largest segments that the stack was told it may hand over, over IPv4 and IPv6.
    largest: [Option<NonZeroUsize>; 2],
    /// The stack had something to send and no room was left.
    is_starved: bool,
}

impl<D: Interface> Phy<D> {
    /// Takes a device. The stack asks once what it may leave to the device; so if large segments are to be, the device
    /// is up by now. Should it connect anew to a peer that takes less, that is done in software.
    pub fn new(device: D) -> Self {
        let peer = device.peer_features();
        Self {
            device,
            largest: [peer.gso_v4.then_some(LARGEST), peer.gso_v6.then_some(LARGEST)],
            received: alloc::vec![0; MAX_FRAME],
            to_send: Vec::new(),
            bad_checksums: 0,
            lost: 0,
            is_starved: false,
        }
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device, for polling it.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Gives the device back.
    pub fn into_device(self) -> D {
        self.device
    }

    /// Frames that were dropped because their checksum was wrong.
    pub fn bad_checksums(&self) -> u64 {
        self.bad_checksums
    }

    /// Frames that the stack has sent and the device had no room for: to the stack they are lost on the way.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The machine's time, as smoltcp counts it.
    pub fn time(&self) -> Instant {
        Instant::from_micros(i64::try_from(self.device.now().as_micros()).unwrap_or(i64::MAX))
    }

    /// Sends what the stack has left to send, and sleeps until the device has something, at most `delay`.
    pub fn wait(&mut self, delay: Option<StackDuration>) {
        let deadline = delay.map(|delay| self.device.now() + Duration::from_micros(delay.total_micros()));
        self.device.wait(self.is_starved, deadline);
    }

    /// Whether whatever the stack may send now would be taken.
    fn has_room(&mut self) -> bool {
        let largest = self
            .largest
            .into_iter()
            .flatten()
            .max()
            .map_or(self.device.mtu() + ETHERNET, NonZeroUsize::get);
        self.is_starved = !self.device.has_room(largest);
        !self.is_starved
    }

    /// The next frame whose checksum is right, in `self.received`.
    fn take_frame(&mut self) -> Option<Received> {
        loop {
            let received = self.device.try_receive(&mut self.received)?;
            if received.meta.checksum != Checksum::Unknown || checksum::is_right(&self.received[..received.len]) {
                return Some(received);
            }
            self.bad_checksums += 1;
        }
    }
}

impl<D: Interface> phy::Device for Phy<D> {
    type RxToken<'a>
        = RxToken<'a>
    where
        D: 'a;
    type TxToken<'a>
        = TxToken<'a, D>
    where
        D: 'a;

    /// Also where there is no room to send: an answer may be lost then, as on any link that is full. A peer that neither
    /// reads nor is read from would be stuck otherwise.
    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_, D>)> {
        let received = self.take_frame()?;
        let frame = &self.received[..received.len];
        Some((
            RxToken(frame),
            TxToken::new(&mut self.device, &mut self.to_send, &mut self.lost),
        ))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_, D>> {
        if !self.has_room() {
            return None;
        }
        Some(TxToken::new(&mut self.device, &mut self.to_send, &mut self.lost))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.device.mtu() + ETHERNET;
        capabilities.checksum.tcp = Who::None;
        capabilities.checksum.udp = Who::None;
        [capabilities.segmentation.tcpv4, capabilities.segmentation.tcpv6] = self.largest;
        capabilities
    }
}

/// A frame for the stack.
#[derive(Debug)]
pub struct RxToken<'a>(&'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Leave to send a frame.
pub struct TxToken<'a, D> {
    device: &'a mut D,
    buffer: &'a mut Vec<u8>,
    lost: &'a mut u64,
    segment_size: Option<core::num::NonZeroU16>,
}

impl<'a, D> TxToken<'a, D> {
    fn new(device: &'a mut D, buffer: &'a mut Vec<u8>, lost: &'a mut u64) -> Self {
        Self {
            device,
            buffer,
            lost,
            segment_size: None,
        }
    }
}

impl<D: Interface> phy::TxToken for TxToken<'_, D> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        let frame = &mut self.buffer[..len];
        let result = f(frame);
        let meta = blank(frame, self.segment_size);
        if self.device.try_send(frame, meta).is_err() {
            *self.lost += 1;
        }
        self.device.flush();
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment_size = meta.segmentation_offload_size;
    }
}

/// Prepares a frame whose TCP or UDP checksum the stack has not computed.
fn blank(frame: &mut [u8], segment_size: Option<core::num::NonZeroU16>) -> Meta {
    if !checksum::blank(frame) {
        return Meta::default();
    }
    let kind = |is_v6| if is_v6 { GsoKind::TcpV6 } else { GsoKind::TcpV4 };
    let gso = segment_size.and_then(|size| {
        let found = Transport::find(frame)?;
        Some(Gso {
            kind: kind(found.is_v6),
            size,
        })
    });
    Meta {
        checksum: Checksum::Blank,
        gso,
    }
}
