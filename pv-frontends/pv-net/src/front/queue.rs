//! A frontend's queue: two rings and their event channels.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use pv_hal::{Channel, DomId, Hal, Port};

use super::config::Config;
use super::receive::Receive;
use super::transmit::Transmit;
use crate::channels::Channels;
use crate::queues::{self, Trouble};
use crate::{Error, Meta, Received, SendError, Statistics};

pub(crate) struct Queue<H: Hal> {
    transmit: Transmit<H>,
    receive: Receive<H>,
    channels: Channels<H>,
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
}

impl<H: Hal> queues::Queue for Queue<H> {
    fn try_send(&mut self, frame: &[u8], meta: Meta) -> Result<(), SendError> {
        match self.transmit.try_send(frame, meta) {
            Err(SendError::Full) if self.transmit.reap().map_err(|_| SendError::Down)? => {
                self.transmit.try_send(frame, meta)
            }
            other => other,
        }
    }

    fn has_room(&mut self, len: usize) -> bool {
        self.transmit.has_room(len)
    }

    fn try_receive(&mut self, into: &mut [u8]) -> Result<Option<Received>, Trouble> {
        self.receive.try_receive(into).map_err(|_| Trouble)
    }

    fn flush(&mut self) {
        if self.transmit.flush() {
            self.channels.notify_transmit();
        }
        if self.receive.flush() {
            self.channels.notify_receive();
        }
    }

    fn arm(&mut self, wants_room: bool) -> Result<bool, Trouble> {
        self.channels.take_events();
        let has_frames = self.receive.arm().map_err(|_| Trouble)?;
        Ok(has_frames || (wants_room && self.transmit.arm().map_err(|_| Trouble)?))
    }

    fn ports(&self) -> impl Iterator<Item = Port> {
        self.channels.ports()
    }

    fn count(&self, sum: &mut Statistics) {
        sum.send_errors += self.transmit.errors;
        sum.dropped += self.receive.dropped;
        sum.notifications += self.channels.sent();
    }

    fn in_flight(&self) -> u64 {
        self.transmit.in_flight() as u64
    }
}
