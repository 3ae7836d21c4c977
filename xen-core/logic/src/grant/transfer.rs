//! Entries that offer a place for a page: a domain says from whom it takes one, and is told its frame.

use super::TRIES;
use xen_abi::{GTF_accept_transfer, GTF_transfer_committed, GTF_transfer_completed};

/// The head after a transfer from domain `giver` has been promised; `None` where the entry does not wait for one.
pub const fn committed(head: u32, giver: u16) -> Option<u32> {
    let (flags, from) = (head as u16, (head >> 16) as u16);
    if flags == GTF_accept_transfer && from == giver {
        Some(head | GTF_transfer_committed as u32)
    } else {
        None
    }
}

/// The flag that says that the frame stands in the entry.
pub const COMPLETED: u32 = GTF_transfer_completed as u32;

/// Promises a transfer in an entry whose head is read and exchanged by these; false where it does not wait for one.
pub fn commit(giver: u16, load: impl Fn() -> u32, exchange: impl Fn(u32, u32) -> Result<(), u32>) -> bool {
    let mut head = load();
    for _ in 0..TRIES {
        let Some(new) = committed(head, giver) else {
            return false;
        };
        match exchange(head, new) {
            Ok(()) => return true,
            Err(now) => head = now,
        }
    }
    false
}
