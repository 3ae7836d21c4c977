//! What a backend offers.

use crate::Features;

/// How a backend is to be set up.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most queues that a frontend may use.
    pub queues: usize,
    /// Whether frontends may use separate event channels for both directions.
    pub split_channels: bool,
    /// What this end tells frontends to take. What it says here, the user of [`Back`](super::Back) gets from
    /// [`try_receive`](crate::Interface::try_receive).
    pub features: Features,
    /// Most bytes of a frame that is no large segment, without the Ethernet header.
    pub mtu: usize,
}

impl Default for Config {
    /// Four queues, everything taken, Ethernet's usual size.
    fn default() -> Self {
        Self {
            queues: 4,
            split_channels: true,
            features: Features::ALL,
            mtu: 1500,
        }
    }
}

impl Config {
    pub(crate) fn bounded(mut self) -> Self {
        self.queues = self.queues.clamp(1, 64);
        self
    }
}
