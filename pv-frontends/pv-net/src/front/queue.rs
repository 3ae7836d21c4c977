//! A frontend's queue: two rings and their event channels.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use pv_hal::{Channel, DomId, Hal, Port};
use pv_ring::Broken;

use super::config::Config;
use super::receive::Receive;
use super::transmit::Transmit;
use crate::Error;

pub(crate) struct Queue<H: Hal> {
    pub(crate) transmit: Transmit<H>,
    pub(crate) receive: Receive<H>,
    channel: Channel<H>,
    /// The receiving half's own, where they are separate.
    receive_channel: Option<Channel<H>>,
    pub(crate) notifications: u64,
}

impl<H: Hal> Queue<H> {
    pub(crate) fn new(hal: &H, peer: DomId, config: &Config, is_split: bool) -> Result<Self, Error> {
        Ok(Self {
            transmit: Transmit::new(hal, peer, config.send_pages)?,
            receive: Receive::new(hal, peer, config.receive_pages)?,
            channel: Channel::offer(hal, peer)?,
            receive_channel: is_split.then(|| Channel::offer(hal, peer)).transpose()?,
            notifications: 0,
        })
    }

    /// The keys that tell the backend of this queue, with `prefix` before each.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<(String, String)> {
        let mut keys = alloc::vec![
            (format!("{prefix}tx-ring-ref"), self.transmit.ring_ref().to_string()),
            (format!("{prefix}rx-ring-ref"), self.receive.ring_ref().to_string()),
        ];
        match &self.receive_channel {
            None => keys.push((format!("{prefix}event-channel"), self.channel.port().to_string())),
            Some(receive) => {
                keys.push((format!("{prefix}event-channel-tx"), self.channel.port().to_string()));
                keys.push((format!("{prefix}event-channel-rx"), receive.port().to_string()));
            }
        }
        keys
    }

    pub(crate) fn ports(&self) -> impl Iterator<Item = Port> {
        let receive = self.receive_channel.as_ref().map(Channel::port);
        core::iter::once(self.channel.port()).chain(receive)
    }

    /// Publishes both rings' requests.
    pub(crate) fn flush(&mut self) {
        if self.transmit.flush() {
            self.channel.notify();
            self.notifications += 1;
        }
        if self.receive.flush() {
            self.receive_channel.as_ref().unwrap_or(&self.channel).notify();
            self.notifications += 1;
        }
    }

    /// Forgets events and asks for new ones; true if there is something to do already.
    pub(crate) fn arm(&mut self, wants_room: bool) -> Result<bool, Broken> {
        self.channel.take_event();
        if let Some(receive) = &self.receive_channel {
            receive.take_event();
        }
        let has_frames = self.receive.arm()?;
        Ok(has_frames || (wants_room && self.transmit.arm()?))
    }
}
