//! What a frontend asks for.

use crate::Features;

/// How a frontend is to be set up. The backend's limits apply besides.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Most queues.
    pub queues: usize,
    /// Pages to send from, in each queue: 1 to 256.
    pub send_pages: usize,
    /// Pages to receive into, in each queue: a power of two up to 256.
    pub receive_pages: usize,
    /// Separate event channels for both directions, where the backend knows them.
    pub split_channels: bool,
    /// What this end tells the backend to take. Large segments need at least 32 pages to receive into.
    pub features: Features,
}

impl Default for Config {
    /// One queue, 64 pages each way, everything taken.
    fn default() -> Self {
        Self {
            queues: 1,
            send_pages: 64,
            receive_pages: 64,
            split_channels: true,
            features: Features::ALL,
        }
    }
}

/// Pages to receive into without which the largest segment could not be delivered.
const ENOUGH_FOR_GSO: usize = 32;

impl Config {
    /// The same within the bounds that the rings set.
    pub(crate) fn bounded(mut self) -> Self {
        self.queues = self.queues.clamp(1, 256);
        self.send_pages = self.send_pages.clamp(1, 256);
        self.receive_pages = 1 << self.receive_pages.clamp(1, 256).ilog2();
        if self.receive_pages < ENOUGH_FOR_GSO {
            (self.features.gso_v4, self.features.gso_v6) = (false, false);
        }
        self
    }
}
