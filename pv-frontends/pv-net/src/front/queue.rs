//! A frontend's queue: two rings and their event channels.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use pv_hal::{Channel, DomId, Hal};
use pv_ring::Broken;

use super::config::Config;
use super::receive::Receive;
use super::transmit::Transmit;
use crate::Error;
use crate::channels::Channels;

pub(crate) struct Queue<H: Hal> {
    pub(crate) transmit: Transmit<H>,
    pub(crate) receive: Receive<H>,
    pub(crate) channels: Channels<H>,
}

impl<H: Hal> Queue<H> {
    pub(crate) fn new(hal: &H, peer: DomId, config: &Config, is_split: bool) -> Result<Self, Error> {
        Ok(Self {
            transmit: Transmit::new(hal, peer, config.send_pages)?,
            receive: Receive::new(hal, peer, config.receive_pages)?,
            channels: Channels::new(
                Channel::offer(hal, peer)?,
                is_split.then(|| Channel::offer(hal, peer)).transpose()?,
            ),
        })
    }

    /// The keys that tell the backend of this queue, with `prefix` before each.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<(String, String)> {
        let mut keys = alloc::vec![
            (format!("{prefix}tx-ring-ref"), self.transmit.ring_ref().to_string()),
            (format!("{prefix}rx-ring-ref"), self.receive.ring_ref().to_string()),
        ];
        match self.channels.pair() {
            (both, None) => keys.push((format!("{prefix}event-channel"), both.to_string())),
            (transmit, Some(receive)) => {
                keys.push((format!("{prefix}event-channel-tx"), transmit.to_string()));
                keys.push((format!("{prefix}event-channel-rx"), receive.to_string()));
            }
        }
        keys
    }

    /// Publishes both rings' requests.
    pub(crate) fn flush(&mut self) {
        if self.transmit.flush() {
            self.channels.notify_transmit();
        }
        if self.receive.flush() {
            self.channels.notify_receive();
        }
    }

    /// Forgets events and asks for new ones; true if there is something to do already.
    pub(crate) fn arm(&mut self, wants_room: bool) -> Result<bool, Broken> {
        self.channels.take_events();
        let has_frames = self.receive.arm()?;
        Ok(has_frames || (wants_room && self.transmit.arm()?))
    }
}
