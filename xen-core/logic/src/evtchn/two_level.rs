//! The two-level layout: a pending and a mask bit for each port in the shared page, and in each vcpu's
//! `vcpu_info` a selector with one bit for each word of them.

use super::Raised;
use core::sync::atomic::{AtomicU64, Ordering};

/// Ports of the layout.
pub const PORTS: u32 = 4096;

/// A bitmap of the shared page.
pub type Bits = [AtomicU64; 64];

#[inline]
fn bit(port: u32) -> (usize, u64) {
    ((port / 64) as usize % 64, 1 << (port % 64))
}

#[inline]
fn set(bits: &Bits, port: u32) -> bool {
    let (word, bit) = bit(port);
    bits[word].fetch_or(bit, Ordering::SeqCst) & bit != 0
}

#[inline]
fn clear(bits: &Bits, port: u32) -> bool {
    let (word, bit) = bit(port);
    bits[word].fetch_and(!bit, Ordering::SeqCst) & bit != 0
}

/// Reads one port's bit.
#[inline]
pub fn test(bits: &Bits, port: u32) -> bool {
    let (word, bit) = bit(port);
    bits[word].load(Ordering::SeqCst) & bit != 0
}

#[inline]
fn select(selector: &AtomicU64, port: u32) -> bool {
    let bit = 1u64 << (port / 64 % 64);
    selector.fetch_or(bit, Ordering::SeqCst) & bit == 0
}

/// Marks `port` pending; `selector` is that of the vcpu it notifies.
#[inline]
pub fn set_pending(pending: &Bits, mask: &Bits, selector: &AtomicU64, port: u32) -> Raised {
    if set(pending, port) {
        return Raised::Already;
    }
    if !test(mask, port) && select(selector, port) {
        Raised::Upcall
    } else {
        Raised::Quiet
    }
}

/// Clears `port`'s mask; true where a pending event makes an upcall due now.
#[inline]
pub fn unmask(pending: &Bits, mask: &Bits, selector: &AtomicU64, port: u32) -> bool {
    clear(mask, port) && test(pending, port) && select(selector, port)
}

/// Forgets a pending event, for a port that closes.
pub fn clear_pending(pending: &Bits, port: u32) {
    clear(pending, port);
}
