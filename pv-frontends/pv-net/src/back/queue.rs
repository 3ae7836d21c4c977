//! A backend's queue: two rings of a guest and their event channels.

use pv_hal::{Access, Channel, DomId, GrantRef, Hal, Port};

use super::receive::Receive;
use super::transmit::{Transmit, Trouble};
use crate::{Error, Meta, Received, SendError};

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
    pub(crate) transmit: Transmit<H>,
    pub(crate) receive: Receive<H>,
    channel: Channel<H>,
    receive_channel: Option<Channel<H>>,
    pub(crate) notifications: u64,
}

impl<H: Hal> Queue<H> {
    pub(crate) fn new(hal: &H, peer: DomId, place: &Place) -> Result<Self, Error> {
        let map = |ring| hal.map(peer, &[ring], Access::ReadWrite);
        Ok(Self {
            hal: hal.clone(),
            transmit: Transmit::new(hal, peer, map(place.transmit_ring)?)?,
            receive: Receive::new(hal, peer, map(place.receive_ring)?)?,
            channel: Channel::bind(hal, peer, place.transmit_port)?,
            receive_channel: place
                .receive_port
                .map(|port| Channel::bind(hal, peer, port))
                .transpose()?,
            notifications: 0,
        })
    }

    pub(crate) fn ports(&self) -> impl Iterator<Item = Port> {
        let receive = self.receive_channel.as_ref().map(Channel::port);
        core::iter::once(self.channel.port()).chain(receive)
    }

    pub(crate) fn try_send(&mut self, frame: &[u8], meta: Meta) -> Result<(), SendError> {
        let (channel, count) = (
            self.receive_channel.as_ref().unwrap_or(&self.channel),
            &mut self.notifications,
        );
        self.receive.try_send(&self.hal, frame, meta, || {
            channel.notify();
            *count += 1;
        })
    }

    pub(crate) fn flush(&mut self) {
        let (channel, count) = (
            self.receive_channel.as_ref().unwrap_or(&self.channel),
            &mut self.notifications,
        );
        self.receive.flush(&self.hal, || {
            channel.notify();
            *count += 1;
        });
    }

    pub(crate) fn try_receive(&mut self, into: &mut [u8]) -> Result<Option<Received>, Trouble> {
        let (channel, count) = (&self.channel, &mut self.notifications);
        self.transmit.try_receive(&self.hal, into, || {
            channel.notify();
            *count += 1;
        })
    }

    pub(crate) fn arm(&mut self, wants_room: bool) -> Result<bool, Trouble> {
        self.channel.take_event();
        if let Some(receive) = &self.receive_channel {
            receive.take_event();
        }
        let has_frames = self.transmit.arm()?;
        Ok(has_frames || (wants_room && self.receive.arm()?))
    }
}
