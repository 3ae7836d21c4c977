//! Choosing a queue: frames of one connection stay in order, so they take the same one.

use crate::checksum::Transport;

/// A queue below `count` for a frame.
pub(crate) fn choose_queue(frame: &[u8], count: usize) -> usize {
    if count <= 1 {
        return 0;
    }
    let hash = match Transport::find(frame) {
        Some(found) => {
            let addresses = if found.is_v6 {
                found.ip + 8..found.ip + 40
            } else {
                found.ip + 12..found.ip + 20
            };
            hash(
                hash(0, &frame[addresses]),
                &frame[found.body.start..found.body.start + 4],
            )
        }
        None => hash(0, frame.get(..14).unwrap_or_default()),
    };
    hash as usize % count
}

/// Fowler, Noll and Vo's hash, which is enough to spread connections that nobody has chosen to collide: a peer that does
/// slows down its own frames.
fn hash(start: u32, bytes: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = bytes.iter().fold(start ^ 0x811c_9dc5, step);
    hash ^ (hash >> 16)
}
