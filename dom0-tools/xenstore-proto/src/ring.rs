//! The page that a domain shares with the daemon (`struct xenstore_domain_interface`), and the arithmetic of its two
//! rings. Indexes count bytes and run freely; both are written by a party that may lie.

/// Bytes of each ring.
pub const SIZE: u32 = 1024;
/// Offset of the ring of requests.
pub const REQUESTS: usize = 0;
/// Offset of the ring of replies and watch events.
pub const REPLIES: usize = 1024;
/// Offset of the index up to which the daemon has read requests.
pub const REQUEST_CONSUMER: usize = 2048;
/// Offset of the index up to which the domain has written requests.
pub const REQUEST_PRODUCER: usize = 2052;
/// Offset of the index up to which the domain has read replies.
pub const REPLY_CONSUMER: usize = 2056;
/// Offset of the index up to which the daemon has written replies.
pub const REPLY_PRODUCER: usize = 2060;
/// Offset of the daemon's features.
pub const SERVER_FEATURES: usize = 2064;
/// Offset of the connection's state.
pub const CONNECTION: usize = 2068;
/// Offset of the error that the daemon closed the ring with.
pub const ERROR: usize = 2072;

/// Feature: the domain may ask for the ring to be begun anew.
pub const FEATURE_RECONNECTION: u32 = 1;
/// Feature: the error word is kept.
pub const FEATURE_ERROR: u32 = 2;
/// State: in use.
pub const CONNECTED: u32 = 0;
/// State: the domain asks for a new beginning.
pub const RECONNECT: u32 = 1;

/// Why the daemon stopped to serve a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The daemon could not talk to the domain.
    Communication = 1,
    /// An index is out of range.
    Index = 2,
    /// A payload is too long.
    Protocol = 3,
}

/// Bytes between consumer and producer, if the two make sense.
pub fn used(consumer: u32, producer: u32) -> Result<u32, Fault> {
    let bytes = producer.wrapping_sub(consumer);
    if bytes <= SIZE { Ok(bytes) } else { Err(Fault::Index) }
}

/// Bytes that can still be written.
pub fn free(consumer: u32, producer: u32) -> Result<u32, Fault> {
    used(consumer, producer).map(|bytes| SIZE - bytes)
}

/// Where a run of `length` bytes from index `index` lies: one or two stretches of the ring, as offset and length.
pub fn stretches(index: u32, length: u32) -> [(usize, usize); 2] {
    let start = index % SIZE;
    let first = length.min(SIZE - start);
    [(start as usize, first as usize), (0, (length - first) as usize)]
}
