//! A virtio network card: the bridge's wire.
use alloc::vec::Vec;

use bitflags::bitflags;
use iodom_core::bridge::Uplink;
use virtio_drivers::transport::Transport;
use xen_abi::evtchn_port_t;

use super::dma::DmaBuffer;
use super::queue::{Chain, Queue};
use super::transport::MsixTransport;

bitflags! {
    /// Features of virtio network cards (virtio 1.2, 5.1.3) and of all devices (6).
    #[derive(Clone, Copy, Debug)]
    struct Features: u64 {
        const MAC = 1 << 5;
        const INDIRECT = 1 << 28;
        const VERSION_1 = 1 << 32;
    }
}

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
const QUEUE_SIZE: usize = 256;
/// `struct virtio_net_hdr` with the number of buffers (5.1.6).
const HEADER: usize = 12;
/// A frame of ordinary size with a VLAN tag, behind its header; two of them in a page.
const ROOM: usize = 2048;

/// The card.
pub(crate) struct Nic {
    transport: MsixTransport,
    receive: Queue<(), QUEUE_SIZE>,
    transmit: Queue<(), QUEUE_SIZE>,
    /// Buffers of sent frames, to be used again.
    free: Vec<DmaBuffer>,
    /// How many buffers were made for sending.
    made: usize,
}

impl Nic {
    /// Sets the device up.
    ///
    /// # Errors
    /// As the virtio crate says.
    pub(crate) fn new(mut transport: MsixTransport) -> virtio_drivers::Result<Self> {
        let features = transport.begin_init(Features::all());
        let indirect = features.contains(Features::INDIRECT);
        let receive = Queue::new(&mut transport, RECEIVE, indirect)?;
        let transmit = Queue::new(&mut transport, TRANSMIT, indirect)?;
        transport.finish_init();
        let mut nic = Self {
            transport,
            receive,
            transmit,
            free: Vec::new(),
            made: 0,
        };
        for _ in 0..QUEUE_SIZE {
            let Some(buffer) = DmaBuffer::new(ROOM) else { break };
            nic.offer(buffer);
        }
        Ok(nic)
    }

    /// The event channel of its interrupt.
    pub(crate) fn port(&self) -> evtchn_port_t {
        self.transport.port()
    }

    /// Gives the device a buffer to receive into.
    fn offer(&mut self, buffer: DmaBuffer) {
        let chain = Chain {
            header: Vec::new(),
            data: Some((buffer, ROOM)),
            is_inbound: true,
            answer: Vec::new(),
            tag: (),
        };
        // A full queue has buffers enough; this one is let go.
        let _ = self.receive.submit(&mut self.transport, chain);
    }

    /// A buffer to send from.
    fn free_buffer(&mut self) -> Option<DmaBuffer> {
        while let Some((chain, _)) = self.transmit.complete() {
            self.free.extend(chain.data.map(|(buffer, _)| buffer));
        }
        if self.free.is_empty() && self.made < QUEUE_SIZE {
            let buffer = DmaBuffer::new(ROOM)?;
            self.made += 1;
            return Some(buffer);
        }
        self.free.pop()
    }
}

impl Uplink for Nic {
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        loop {
            let (chain, written) = self.receive.complete()?;
            let (buffer, _) = chain.data?;
            let frame = buffer.as_ref().get(HEADER..written);
            let length = frame.filter(|frame| frame.len() <= into.len()).map(|frame| {
                into[..frame.len()].copy_from_slice(frame);
                frame.len()
            });
            self.offer(buffer);
            if length.is_some_and(|length| length > 0) {
                return length;
            }
        }
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        if frame.len() > ROOM - HEADER {
            return false;
        }
        let Some(mut buffer) = self.free_buffer() else {
            return false;
        };
        let length = HEADER + frame.len();
        let bytes = buffer.as_mut();
        bytes[..HEADER].fill(0);
        bytes[HEADER..length].copy_from_slice(frame);
        let chain = Chain {
            header: Vec::new(),
            data: Some((buffer, length)),
            is_inbound: false,
            answer: Vec::new(),
            tag: (),
        };
        match self.transmit.submit(&mut self.transport, chain) {
            Ok(()) => true,
            Err(chain) => {
                self.free.extend(chain.data.map(|(buffer, _)| buffer));
                false
            }
        }
    }
}
