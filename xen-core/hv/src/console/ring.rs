//! The last 16 KiB of the console, for `dmesg`.

use crate::sync::Mutex;

/// Bytes kept.
pub const SIZE: usize = 16 << 10;

struct Ring {
    bytes: [u8; SIZE],
    /// Bytes ever written.
    written: u64,
    /// Before this, everything has been cleared.
    cleared: u64,
}

static RING: Mutex<Ring> = Mutex::new(Ring {
    bytes: [0; SIZE],
    written: 0,
    cleared: 0,
});

/// Appends.
pub(super) fn put(bytes: &[u8]) {
    let mut ring = RING.lock();
    for &b in bytes {
        let at = ring.written as usize % SIZE;
        ring.bytes[at] = b;
        ring.written += 1;
    }
}

/// Whether the ring's lock is free; for a panic, which must not wait for it.
pub(super) fn is_free() -> bool {
    !RING.is_locked()
}

/// Takes the lock away from whoever has it.
///
/// # Safety
/// The holder does not go on.
pub(super) unsafe fn break_lock() {
    // SAFETY: the caller vouches for the holder.
    unsafe { RING.force_unlock() };
}

/// Fills `to` with what was written from position `from` on, or from the oldest byte kept if that is gone. Returns how
/// many bytes, and the position after them. Positions count all bytes ever written.
pub fn read(from: u64, to: &mut [u8]) -> (usize, u64) {
    let ring = RING.lock();
    let oldest = ring.written.saturating_sub(SIZE as u64).max(ring.cleared);
    let from = from.clamp(oldest, ring.written);
    let len = to.len().min((ring.written - from) as usize);
    for (i, slot) in to[..len].iter_mut().enumerate() {
        *slot = ring.bytes[(from as usize + i) % SIZE];
    }
    (len, from + len as u64)
}

/// Forgets everything.
pub fn clear() {
    let mut ring = RING.lock();
    ring.cleared = ring.written;
}
