//! Addresses for frames that are not the guest's own: granted pages, other domains' frames, devices' registers.
//! The part of the address space has its own page tables, made as they are needed and kept.
use crate::{frames, hypercall, pages};
use spin::Mutex;
use xen_abi::*;

/// Where the window begins: an L4 slot that nothing else uses.
const BASE: u64 = 0xffff_c900_0000_0000;
/// 256 MiB.
const PAGES: u64 = 65536;
const WORDS: usize = (PAGES / 64) as usize;

static USED: Mutex<[u64; WORDS]> = Mutex::new([0; WORDS]);

fn is_used(map: &[u64; WORDS], page: u64) -> bool {
    map[(page / 64) as usize] & 1 << (page % 64) != 0
}

/// The first `count` free pages in a row.
fn find(map: &[u64; WORDS], count: u64) -> Option<u64> {
    let mut length = 0;
    let mut page = 0;
    while page < PAGES {
        if length == 0 && page.is_multiple_of(64) && map[(page / 64) as usize] == u64::MAX {
            page += 64;
            continue;
        }
        length = if is_used(map, page) { 0 } else { length + 1 };
        page += 1;
        if length == count {
            return Some(page - count);
        }
    }
    None
}

/// Addresses for `count` pages, which have page tables and map nothing; `None` where the window is full.
pub fn reserve(count: u64) -> Option<u64> {
    if count == 0 || count > PAGES {
        return None;
    }
    let mut map = USED.lock();
    let first = find(&map, count)?;
    for page in first..first + count {
        if page == first || page.is_multiple_of(512) {
            pages::ensure_table(BASE + (page << 12), 1, &mut frames::take)?;
        }
    }
    for page in first..first + count {
        map[(page / 64) as usize] |= 1 << (page % 64);
    }
    Some(BASE + (first << 12))
}

/// Gives addresses of [`reserve`] back.
///
/// # Safety
/// Nothing is mapped there any more, and nobody uses the addresses.
pub unsafe fn release(address: u64, count: u64) {
    let first = (address - BASE) >> 12;
    let mut map = USED.lock();
    for page in first..first + count {
        map[(page / 64) as usize] &= !(1 << (page % 64));
    }
}

/// Maps machine frames of domain `owner` (DOMID_SELF for the guest's own and for a device's) with these entry bits;
/// the error is the hypervisor's.
pub fn map_frames(owner: domid_t, frames: &[u64], bits: u64) -> Result<u64, i64> {
    let count = frames.len() as u64;
    let address = reserve(count).ok_or(-i64::from(Errno::ENOMEM.0))?;
    for (index, &frame) in frames.iter().enumerate() {
        let at = address + (index as u64) * 4096;
        let answer = set(owner, at, frame << 12 | bits);
        if answer < 0 {
            // SAFETY: nobody has been given the addresses yet.
            unsafe { unmap_frames(address, index as u64, count) };
            return Err(answer);
        }
    }
    Ok(address)
}

/// Maps a device's registers, `length` bytes from machine address `address` on, uncached; the address is that of the
/// first byte.
pub fn map_device(address: u64, length: u64) -> Result<u64, i64> {
    /// Present, writable, accessed, dirty, cache disabled.
    const PTE_DEVICE: u64 = pages::PTE_DATA | 0x18;
    let first = address >> 12;
    let count = (address + length).div_ceil(4096) - first;
    let at = reserve(count).ok_or(-i64::from(Errno::ENOMEM.0))?;
    for index in 0..count {
        let answer = set(DOMID_IO, at + index * 4096, (first + index) << 12 | PTE_DEVICE);
        if answer < 0 {
            // SAFETY: nobody has been given the addresses yet.
            unsafe { unmap_frames(at, index, count) };
            return Err(answer);
        }
    }
    Ok(at + (address & 4095))
}

/// Unmaps what [`map_frames`] mapped, `count` pages.
///
/// # Safety
/// Nobody uses the addresses any more.
pub unsafe fn unmap(address: u64, count: u64) {
    // SAFETY: the caller's promise.
    unsafe { unmap_frames(address, count, count) };
}

/// Unmaps `mapped` pages of `reserved` and gives the addresses back.
unsafe fn unmap_frames(address: u64, mapped: u64, reserved: u64) {
    for index in 0..mapped {
        set(DOMID_SELF, address + index * 4096, 0);
    }
    // SAFETY: the entries are empty now; the rest is the caller's promise.
    unsafe { release(address, reserved) };
}

fn set(owner: domid_t, address: u64, entry: u64) -> i64 {
    if owner == DOMID_SELF || entry == 0 {
        // SAFETY: an address of the window, which only its holder uses.
        return unsafe { hypercall::update_va_mapping(address, entry, UVMF_INVLPG | UVMF_ALL) };
    }
    let Some(ptr) = pages::entry_address(pages::boot_root(), address, 1) else {
        return -i64::from(Errno::EFAULT.0);
    };
    let request = mmu_update { ptr, val: entry };
    // SAFETY: as above; the entry was empty, so there is nothing to flush.
    unsafe { hypercall::mmu_update_of(owner, &[request]) }
}
