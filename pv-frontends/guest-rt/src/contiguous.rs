//! Memory whose machine frames follow each other, which devices need that know machine addresses only.
use crate::pages::{self, PTE_DATA};
use crate::{frames, hypercall};
use alloc::vec::Vec;
use xen_abi::*;

/// Pages that follow each other in the linear mapping and in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contiguous {
    /// Address of the first byte.
    pub address: u64,
    /// Machine address of the first byte.
    pub machine: u64,
    /// Pages.
    pub count: u64,
}

/// Takes `2^order` pages of zeros, never given back; `None` where the hypervisor has none that follow each other, and
/// the guest neither. It exchanges pages of the guest for others (`XENMEM_exchange`).
pub fn take(order: u32) -> Option<Contiguous> {
    let count = 1 << order;
    let address = frames::take_run(count)?;
    let first = frames::pfn_at(address);
    let before: Vec<u64> = (first..first + count).map(pages::mfn_of_pfn).collect();
    let given = exchange(first, order, &before);
    let starts_at = match given {
        Some(mfn) => mfn,
        // The guest's own may do, by chance or since it was built of large pieces.
        None if before.windows(2).all(|pair| pair[0] + 1 == pair[1]) => before[0],
        None => return None,
    };
    // SAFETY: pages that nobody else has, mapped writable again.
    unsafe { core::ptr::write_bytes(address as *mut u8, 0, (count as usize) << 12) };
    Some(Contiguous {
        address,
        machine: starts_at << 12,
        count,
    })
}

/// Gives the frames behind `first` and following up for as many that follow each other; the first of these. Either way
/// all pages are mapped afterwards.
fn exchange(first: u64, order: u32, before: &[u64]) -> Option<u64> {
    for pfn in first..first + before.len() as u64 {
        pages::map(frames::address_of(pfn), 0, 0);
    }
    let (input, mut output) = (before.to_vec(), [first]);
    let reservation = |start: u64, count: u64, order: u32| xen_memory_reservation {
        extent_start: start,
        nr_extents: count,
        extent_order: order,
        domid: DOMID_SELF,
        ..Default::default()
    };
    let mut ask = xen_memory_exchange {
        r#in: reservation(input.as_ptr() as u64, input.len() as u64, 0),
        out: reservation(output.as_mut_ptr() as u64, 1, order),
        nr_exchanged: 0,
    };
    // SAFETY: the lists are as long as the request says, and the frames given up are mapped nowhere.
    let answer = unsafe { hypercall::memory_op(XENMEM_exchange, &mut ask) };
    // The hypervisor has written there.
    let output = core::hint::black_box(output)[0];
    let is_done = answer == 0 && ask.nr_exchanged == input.len() as u64;
    for (index, &old) in before.iter().enumerate() {
        let pfn = first + index as u64;
        let mfn = if is_done { output + index as u64 } else { old };
        pages::set_mfn_of_pfn(pfn, mfn);
        pages::map(frames::address_of(pfn), mfn, PTE_DATA);
    }
    is_done.then_some(output)
}
