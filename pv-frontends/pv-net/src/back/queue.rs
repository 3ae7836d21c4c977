//! A backend's queue: two rings of a guest and their event channels.

use pv_hal::{Access, Channel, DomId, GrantRef, Hal, Port};

use super::receive::Receive;
use super::transmit::Transmit;
use crate::channels::Channels;
use crate::queues::{self, Trouble};
use crate::{Error, Meta, Received, SendError, Statistics};

/// What a frontend says of one queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) transmit_ring: GrantRef,
    pub(crate) receive_ring: GrantRef,
    pub(crate) transmit_port: Port,
    /// None where one channel serves both.
    pub(crate) receive_port: Option<Port>,
}

pub(crate) struct Queue<H: Hal> {
    hal: H,
    transmit: Transmit<H>,
    receive: Receive<H>,
    channels: Channels<H>,
}

impl<H: Hal> Queue<H> {
    pub(crate) fn new(hal: &H, peer: DomId, place: &Place) -> Result<Self, Error> {
        let map = |ring| hal.map(peer, &[ring], Access::ReadWrite);
        let bind = |port| Channel::bind(hal, peer, port);
        Ok(Self {
            hal: hal.clone(),
            transmit: Transmit::new(hal, peer, map(place.transmit_ring)?)?,
            receive: Receive::new(hal, peer, map(place.receive_ring)?)?,
            channels: Channels::new(bind(place.transmit_port)?, place.receive_port.map(bind).transpose()?),
        })
    }
}

impl<H: Hal> queues::Queue for Queue<H> {
    fn try_send(&mut self, frame: &[u8], meta: Meta) -> Result<(), SendError> {
        let channels = &mut self.channels;
        self.receive
            .try_send(&self.hal, frame, meta, || channels.notify_receive())
    }

    fn flush(&mut self) {
        let channels = &mut self.channels;
        self.receive.flush(&self.hal, || channels.notify_receive());
    }

    fn try_receive(&mut self, into: &mut [u8]) -> Result<Option<Received>, Trouble> {
        let channels = &mut self.channels;
        self.transmit
            .try_receive(&self.hal, into, || channels.notify_transmit())
    }

    fn arm(&mut self, wants_room: bool) -> Result<bool, Trouble> {
        self.channels.take_events();
        let has_frames = self.transmit.arm()?;
        Ok(has_frames || (wants_room && self.receive.arm()?))
    }
    fn has_room(&mut self, len: usize) -> bool {
        self.receive.has_room(len)
    }

    fn ports(&self) -> impl Iterator<Item = Port> {
        self.channels.ports()
    }

    fn count(&self, sum: &mut Statistics) {
        sum.send_errors += self.receive.errors;
        sum.dropped += self.transmit.dropped;
        sum.notifications += self.channels.sent();
    }

    /// A backend answers; it waits for nothing.
    fn in_flight(&self) -> u64 {
        0
    }
}
