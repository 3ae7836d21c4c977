//! Memory that devices reach: they know machine addresses only, and there is no IOMMU.
//!
//! Rings and buffers lie in memory whose machine frames follow each other, which is exchanged for as it is needed. What
//! lies elsewhere in the linear mapping and crosses to a frame that is elsewhere in the machine takes a way round by a
//! copy.
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ptr::NonNull;

use guest_rt::contiguous::{self, Contiguous};
use guest_rt::{frames, pages};
use spin::Mutex;
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

/// Memory is taken in pieces of so many pages, as an order: 2 MiB.
const ORDER: u32 = 9;
const PAGES: usize = 1 << ORDER;
const PAGE: u64 = 4096;
const PAGE_BYTES: usize = PAGE as usize;

/// What the virtio crate asks for.
pub(crate) struct DmaHal;

/// A piece of memory and which of its pages are taken.
struct Piece {
    memory: Contiguous,
    used: Vec<bool>,
}

struct Pool {
    pieces: Vec<Piece>,
    /// How many pieces it may have.
    most: usize,
}

/// For rings, and for copies of what lies badly.
static RINGS: Mutex<Pool> = Mutex::new(Pool::new(1));
/// For what is read and written.
static BUFFERS: Mutex<Pool> = Mutex::new(Pool::new(4));

impl Piece {
    fn take(&mut self, count: usize) -> Option<(u64, u64)> {
        let mut free = 0;
        for page in 0..self.used.len() {
            free = if self.used[page] { 0 } else { free + 1 };
            if free == count {
                let first = page + 1 - count;
                self.used[first..=page].fill(true);
                let offset = first as u64 * PAGE;
                return Some((self.memory.address + offset, self.memory.machine + offset));
            }
        }
        None
    }

    /// The page's number in the piece.
    fn index_of(&self, machine: u64) -> Option<usize> {
        let offset = machine.checked_sub(self.memory.machine)?;
        (offset < self.memory.count * PAGE).then_some((offset / PAGE) as usize)
    }
}

impl Pool {
    const fn new(most: usize) -> Self {
        Self {
            pieces: Vec::new(),
            most,
        }
    }

    /// `count` pages in a row: address here and in the machine. They hold what they last held.
    fn take(&mut self, count: usize) -> Option<(u64, u64)> {
        if count == 0 || count > PAGES {
            return None;
        }
        let found = self.pieces.iter_mut().find_map(|piece| piece.take(count));
        if found.is_some() || self.pieces.len() == self.most {
            return found;
        }
        let memory = contiguous::take(ORDER)?;
        let mut piece = Piece {
            memory,
            used: alloc::vec![false; PAGES],
        };
        let taken = piece.take(count);
        self.pieces.push(piece);
        taken
    }

    fn give(&mut self, machine: u64, count: usize) {
        for piece in &mut self.pieces {
            if let Some(first) = piece.index_of(machine) {
                piece.used[first..first + count].fill(false);
            }
        }
    }

    /// The address here of a machine address in the pool.
    fn address_of(&self, machine: u64) -> Option<u64> {
        let in_piece = |piece: &Piece| Some(piece.memory.address + piece.index_of(machine)? as u64 * PAGE);
        self.pieces.iter().find_map(in_piece)
    }
}

/// The machine address of a byte of the linear mapping.
fn machine_of(address: u64) -> u64 {
    pages::mfn_of_pfn(frames::pfn_at(address)) << 12 | address & (PAGE - 1)
}

/// Where a buffer lies in the machine, if it lies there in one piece.
fn in_one_piece(address: u64, length: u64) -> Option<u64> {
    let start = machine_of(address);
    let first = address & !(PAGE - 1);
    let mut others = (first..address + length).step_by(PAGE_BYTES).skip(1);
    others
        .all(|page| machine_of(page) == (start & !(PAGE - 1)) + (page - first))
        .then_some(start)
}

/// Bytes of buffers that disks' users may have together: what network cards leave.
pub(crate) const SHARED: usize = 3 * PAGES * PAGE_BYTES;

/// Bytes of the buffers that somebody holds.
pub(crate) type Account = Rc<Cell<usize>>;

/// A buffer in memory that devices reach in one piece; its pages are free again at its end.
#[derive(Debug)]
pub(crate) struct DmaBuffer {
    address: u64,
    machine: u64,
    length: usize,
    account: Option<Account>,
}

impl DmaBuffer {
    /// Takes a buffer of `length` bytes, which hold anything; none while there is no room.
    pub(crate) fn new(length: usize) -> Option<Self> {
        let (address, machine) = BUFFERS.lock().take(length.div_ceil(PAGE_BYTES))?;
        Some(Self {
            address,
            machine,
            length,
            account: None,
        })
    }

    /// The same, counted in somebody's account for as long as it lasts.
    pub(crate) fn of(account: &Account, length: usize) -> Option<Self> {
        let mut buffer = Self::new(length)?;
        account.set(account.get() + length);
        buffer.account = Some(Rc::clone(account));
        Some(buffer)
    }
}

impl AsRef<[u8]> for DmaBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: pages of the pool that are this buffer's alone; a device has them only while the queue owns it.
        unsafe { core::slice::from_raw_parts(self.address as *const u8, self.length) }
    }
}

impl AsMut<[u8]> for DmaBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`, borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(self.address as *mut u8, self.length) }
    }
}

impl Drop for DmaBuffer {
    fn drop(&mut self) {
        if let Some(account) = &self.account {
            account.set(account.get() - self.length);
        }
        BUFFERS.lock().give(self.machine, self.length.div_ceil(PAGE_BYTES));
    }
}

// SAFETY: pages of the pool belong to whoever took them, and they are cleared; the registers' mapping is new at each
// call; a buffer's machine address is that of the frames behind it, or of a copy.
unsafe impl Hal for DmaHal {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let taken = RINGS.lock().take(pages);
        let place = taken.and_then(|(address, machine)| Some((machine, NonNull::new(address as *mut u8)?)));
        let Some((machine, pointer)) = place else {
            return (0, NonNull::dangling());
        };
        // SAFETY: just taken from the pool, mapped writable.
        unsafe { pointer.write_bytes(0, pages * PAGE_BYTES) };
        (machine, pointer)
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, _vaddr: NonNull<u8>, pages: usize) -> i32 {
        RINGS.lock().give(paddr, pages);
        0
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, size: usize) -> NonNull<u8> {
        let address = guest_rt::window::map_device(paddr, size as u64).expect("registers of a virtio device");
        NonNull::new(address as *mut u8).expect("an address of the window")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        let (address, length) = (buffer.cast::<u8>().as_ptr() as u64, buffer.len());
        if let Some(machine) = in_one_piece(address, length as u64) {
            return machine;
        }
        let taken = RINGS.lock().take(length.div_ceil(PAGE_BYTES));
        let (copy, machine) = taken.expect("room for a copy of what lies badly");
        if direction != BufferDirection::DeviceToDriver {
            // SAFETY: the caller's buffer, and pages just taken.
            unsafe { core::ptr::copy_nonoverlapping(address as *const u8, copy as *mut u8, length) };
        }
        machine
    }

    unsafe fn unshare(paddr: PhysAddr, buffer: NonNull<[u8]>, direction: BufferDirection) {
        let (address, length) = (buffer.cast::<u8>().as_ptr() as u64, buffer.len());
        if in_one_piece(address, length as u64).is_some() {
            return;
        }
        let mut pool = RINGS.lock();
        let Some(copy) = pool.address_of(paddr) else { return };
        if direction != BufferDirection::DriverToDevice {
            // SAFETY: the caller's buffer, and the pages that `share` took for it.
            unsafe { core::ptr::copy_nonoverlapping(copy as *const u8, address as *mut u8, length) };
        }
        pool.give(paddr, length.div_ceil(PAGE_BYTES));
    }
}
