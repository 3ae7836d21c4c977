//! The grant table: entries for pages of this guest, pages of other domains mapped and copied.
use crate::pages::PTE_DATA;
use crate::{hypercall, window};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use spin::Mutex;
use xen_abi::*;

/// Entries of a frame of the table.
const PER_FRAME: u32 = 512;
/// Frames of the table at most; the hypervisor allows 64 unless told otherwise.
const MOST_FRAMES: u32 = 64;

/// The table of this guest; `T` is what a granted page belongs to and what keeps it from reuse.
pub(crate) struct Table<T> {
    /// Where its frames are mapped.
    address: u64,
    frames: u32,
    most_frames: u32,
    free: Vec<grant_ref_t>,
    /// What each entry in use keeps.
    kept: Vec<Option<T>>,
    /// Entries that were taken back while the peer had the page mapped.
    lingering: Vec<grant_ref_t>,
}

/// A hypercall with an array of requests.
pub(crate) fn operate<T>(operation: u32, requests: &mut [T]) -> i64 {
    let [list, count] = [requests.as_mut_ptr() as u64, requests.len() as u64];
    let arguments = [operation.into(), list, count, 0, 0, 0];
    // SAFETY: the requests are exclusively borrowed; what they name is the caller's, which this module alone is.
    unsafe { hypercall::hypercall(__HYPERVISOR_grant_table_op, arguments) }
}

impl<T> Table<T> {
    pub(crate) const fn new() -> Table<T> {
        Table {
            address: 0,
            frames: 0,
            most_frames: 0,
            free: Vec::new(),
            kept: Vec::new(),
            lingering: Vec::new(),
        }
    }

    fn flags(&self, grant: grant_ref_t) -> &AtomicU16 {
        // SAFETY: an aligned word of the table, which stays mapped and which both sides write with atomics.
        unsafe { AtomicU16::from_ptr((self.address + u64::from(grant) * 8) as *mut u16) }
    }

    fn domain(&self, grant: grant_ref_t) -> &AtomicU16 {
        // SAFETY: as for `flags`.
        unsafe { AtomicU16::from_ptr((self.address + u64::from(grant) * 8 + 2) as *mut u16) }
    }

    fn frame(&self, grant: grant_ref_t) -> &AtomicU32 {
        // SAFETY: as for `flags`.
        unsafe { AtomicU32::from_ptr((self.address + u64::from(grant) * 8 + 4) as *mut u32) }
    }

    /// Asks for the size and reserves addresses for the largest table.
    fn prepare(&mut self) -> Option<()> {
        let mut size = [gnttab_query_size {
            dom: DOMID_SELF,
            ..Default::default()
        }];
        let answer = operate(GNTTABOP_query_size, &mut size);
        let known = answer == 0 && size[0].status == GNTST_okay;
        self.most_frames = if known {
            size[0].max_nr_frames.clamp(1, MOST_FRAMES)
        } else {
            1
        };
        self.address = window::reserve(self.most_frames.into())?;
        Some(())
    }

    /// Another frame of entries.
    fn grow(&mut self) -> Option<()> {
        if self.address == 0 {
            self.prepare()?;
        }
        if self.frames == self.most_frames {
            return None;
        }
        let mut list = [0u64; MOST_FRAMES as usize];
        let mut setup = [gnttab_setup_table {
            dom: DOMID_SELF,
            nr_frames: self.frames + 1,
            frame_list: list.as_mut_ptr() as u64,
            ..Default::default()
        }];
        if operate(GNTTABOP_setup_table, &mut setup) != 0 || setup[0].status != GNTST_okay {
            return None;
        }
        // SAFETY: within the list; the hypervisor wrote the word behind the compiler's back.
        let frame = unsafe { list.as_ptr().add(self.frames as usize).read_volatile() };
        let address = self.address + u64::from(self.frames) * 4096;
        // SAFETY: a reserved address that nobody has used yet.
        let answer = unsafe { hypercall::update_va_mapping(address, frame << 12 | PTE_DATA, UVMF_INVLPG | UVMF_ALL) };
        if answer < 0 {
            return None;
        }
        let first = (self.frames * PER_FRAME).max(GNTTAB_NR_RESERVED_ENTRIES);
        self.frames += 1;
        let end = self.frames * PER_FRAME;
        self.kept.resize_with(end as usize, || None);
        // The lowest number is taken first.
        self.free.extend((first..end).rev());
        Some(())
    }

    /// Lets domain `peer` reach a machine frame; `keep` is kept until it cannot any more.
    pub(crate) fn grant(&mut self, mfn: u64, peer: domid_t, read_only: bool, keep: T) -> Option<grant_ref_t> {
        self.reclaim();
        if self.free.is_empty() {
            self.grow()?;
        }
        let frame = u32::try_from(mfn).ok()?;
        let grant = self.free.pop()?;
        self.kept[grant as usize] = Some(keep);
        self.domain(grant).store(peer, Ordering::Relaxed);
        self.frame(grant).store(frame, Ordering::Relaxed);
        let flags = GTF_permit_access | if read_only { GTF_readonly } else { 0 };
        self.flags(grant).store(flags, Ordering::Release);
        Some(grant)
    }

    /// Takes a grant back; false if the peer still has it in use, which is then tried again from time to time.
    pub(crate) fn end(&mut self, grant: grant_ref_t) -> bool {
        self.reclaim();
        if self.kept.get(grant as usize).is_none_or(Option::is_none) || self.lingering.contains(&grant) {
            return true;
        }
        if !self.clear(grant) {
            self.lingering.push(grant);
            return false;
        }
        self.forget(grant);
        true
    }

    /// Empties the entry, unless it is in use.
    fn clear(&self, grant: grant_ref_t) -> bool {
        let no_user = |flags: u16| (flags & (GTF_reading | GTF_writing) == 0).then_some(GTF_invalid);
        self.flags(grant)
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, no_user)
            .is_ok()
    }

    fn forget(&mut self, grant: grant_ref_t) {
        self.kept[grant as usize] = None;
        self.free.push(grant);
    }

    /// Tries the lingering entries again.
    pub(crate) fn reclaim(&mut self) {
        let mut index = 0;
        while index < self.lingering.len() {
            if self.clear(self.lingering[index]) {
                let grant = self.lingering.swap_remove(index);
                self.forget(grant);
            } else {
                index += 1;
            }
        }
    }
}

/// Pages of another domain, mapped in the window.
pub(crate) struct Mapped {
    pub(crate) address: u64,
    handles: Vec<grant_handle_t>,
}

impl Mapped {
    pub(crate) fn count(&self) -> usize {
        self.handles.len()
    }

    /// Maps all of the grants or none; the error is a `GNTST_*`, or 0 where this guest has no room.
    pub(crate) fn new(
        peer: domid_t,
        grants: impl Iterator<Item = grant_ref_t> + Clone,
        ro: bool,
    ) -> Result<Mapped, i16> {
        let count = grants.clone().count();
        let address = window::reserve(count as u64).ok_or(0i16)?;
        let flags = GNTMAP_host_map | if ro { GNTMAP_readonly } else { 0 };
        let mut requests: Vec<gnttab_map_grant_ref> = grants
            .enumerate()
            .map(|(index, grant_ref)| gnttab_map_grant_ref {
                host_addr: address + index as u64 * 4096,
                flags,
                grant_ref,
                dom: peer,
                ..Default::default()
            })
            .collect();
        let answer = operate(GNTTABOP_map_grant_ref, &mut requests);
        let mut mapped = Mapped {
            address,
            handles: Vec::with_capacity(count),
        };
        let good = |request: &&gnttab_map_grant_ref| request.status == GNTST_okay && answer == 0;
        if requests.iter().filter(good).count() == count {
            mapped.handles.extend(requests.iter().map(|request| request.handle));
            return Ok(mapped);
        }
        let bad = requests
            .iter()
            .map(|request| request.status)
            .find(|&status| status != GNTST_okay);
        let mapped_here: Vec<_> = requests
            .iter()
            .filter(good)
            .map(|request| (request.host_addr, request.handle))
            .collect();
        if unmap(mapped_here.into_iter()) {
            // SAFETY: nothing is mapped there, and nobody has been given the addresses.
            unsafe { window::release(address, count as u64) };
        }
        Err(bad.unwrap_or(GNTST_general_error))
    }
}

/// Unmaps grants; whether all of them went.
fn unmap(list: impl Iterator<Item = (u64, grant_handle_t)>) -> bool {
    let mut requests: Vec<gnttab_unmap_grant_ref> = list
        .map(|(host_addr, handle)| gnttab_unmap_grant_ref {
            host_addr,
            handle,
            ..Default::default()
        })
        .collect();
    requests.is_empty()
        || operate(GNTTABOP_unmap_grant_ref, &mut requests) == 0
            && requests.iter().all(|request| request.status == GNTST_okay)
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let address = self.address;
        let list = self.handles.iter().enumerate();
        let all_went = unmap(list.map(|(index, &handle)| (address + index as u64 * 4096, handle)));
        if all_went {
            // SAFETY: nothing is mapped there any more, and the addresses' holder is gone.
            unsafe { window::release(address, self.handles.len() as u64) };
        }
    }
}

/// A table that all vcpus use.
pub(crate) type SharedTable<T> = Mutex<Table<T>>;
