//! The frame table: for each frame of RAM who owns it, how many references there are, and what it is used as.

use super::layout::FRAME_TABLE;
use super::{directmap, flush, pages, pt, typing};
use crate::arch::x86::cpu;
use crate::domain::Domain;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use xen_abi::Errno;
pub use xen_logic::frame::Type;
use xen_logic::frame::cells::{self, Frame, Word};
use xen_logic::frame::{CountWord, TypeWord};

/// A machine frame number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mfn(pub u64);

impl Mfn {
    /// Machine address of the frame's first byte.
    #[inline]
    pub const fn maddr(self) -> u64 {
        self.0 << 12
    }
}

impl core::fmt::Display for Mfn {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Who owns a frame. Zero, as a fresh frame table has it, is a frame that is no RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Owner(pub u32);

impl Owner {
    /// No RAM: device memory, firmware's tables, holes.
    pub const IO: Owner = Owner(0);
    /// The hypervisor's own, or inside a free block.
    pub const HV: Owner = Owner(1);
    /// The hypervisor's, open to read-only mapping by the privileged domain (`DOMID_XEN`).
    pub const XEN: Owner = Owner(2);
    const DOMAIN: u32 = 1 << 16;
    const FREE: u32 = 1 << 8;
    const DIRTY: u32 = 1 << 7;

    /// The owner of a domain's frames.
    #[inline]
    pub const fn domain(id: u16) -> Owner {
        Owner(Self::DOMAIN | id as u32)
    }

    /// The owning domain's number, if a domain owns it.
    #[inline]
    pub const fn domain_id(self) -> Option<u16> {
        if self.0 & Self::DOMAIN != 0 {
            Some(self.0 as u16)
        } else {
            None
        }
    }

    /// Stands in the first frame of a free block.
    pub(super) const fn free_block(order: u8, dirty: bool) -> Owner {
        Owner(Self::FREE | order as u32 | if dirty { Self::DIRTY } else { 0 })
    }

    /// Order and dirtiness of the free block that starts at a frame with this owner.
    pub(super) const fn as_free_block(self) -> Option<(u8, bool)> {
        if self.0 & (Self::FREE | Self::DOMAIN) == Self::FREE {
            Some(((self.0 & 0x3f) as u8, self.0 & Self::DIRTY != 0))
        } else {
            None
        }
    }
}

/// An atomic word of the frame rules.
#[repr(transparent)]
pub struct Cell(AtomicU64);

impl Word for Cell {
    #[inline(always)]
    fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    #[inline(always)]
    fn exchange(&self, old: u64, new: u64) -> Result<(), u64> {
        self.0
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }
}

/// What the hypervisor knows of a frame; 32 bytes.
#[repr(C)]
pub struct FrameInfo {
    count: Cell,
    typ: Cell,
    owner: AtomicU32,
    /// Low half of the flush epoch when the frame was last unmapped; see [`flush`]. On the pending list: the next frame. In
    /// the heap: what is free in the page.
    epoch: AtomicU32,
    /// Neighbours in a free list, or in the owning domain's list.
    pub(super) link: AtomicU64,
}

const _: () = assert!(size_of::<FrameInfo>() == 32);

/// First frame number beyond the frame table.
static LIMIT: AtomicU64 = AtomicU64::new(0);

/// Bytes of frame table for frames below `limit`.
pub const fn table_bytes(limit: u64) -> u64 {
    limit * size_of::<FrameInfo>() as u64
}

/// Tells how far the frame table goes. Its memory at `FRAME_TABLE` is mapped and zeroed: every frame is no RAM.
pub fn init(limit: u64) {
    LIMIT.store(limit, Ordering::Relaxed);
    pt::set_physical_bits(cpu::cpuid(0x8000_0008, 0).eax & 0xff);
}

/// The first megabyte is the firmware's, whatever the map says: the privileged domain may map it.
const FIRMWARE_END: u64 = 0x100;

/// Notes that the frames from `start` to before `end` are RAM, the hypervisor's for now.
pub fn add_ram(start: u64, end: u64) {
    for mfn in start.max(FIRMWARE_END)..end.min(limit()) {
        entry(Mfn(mfn)).set_owner(Owner::HV);
    }
}

/// First frame number beyond the frame table.
#[inline]
pub fn limit() -> u64 {
    LIMIT.load(Ordering::Relaxed)
}

/// The entry of a frame below [`limit`], RAM or not.
#[inline]
pub(super) fn entry(mfn: Mfn) -> &'static FrameInfo {
    // SAFETY: callers check the limit; the table is mapped up to there for ever, and all its fields are atomic.
    unsafe { &*(FRAME_TABLE as *const FrameInfo).add(mfn.0 as usize) }
}

/// The entry of a frame, if the frame table goes so far; RAM or not. A frame that is no RAM has no count, no type and
/// no domain as its owner, so no reference to it can be got.
#[inline]
pub(super) fn any(mfn: Mfn) -> Option<&'static FrameInfo> {
    if mfn.0 < limit() { Some(entry(mfn)) } else { None }
}

/// The entry of a frame, if it is RAM.
#[inline]
pub fn info(mfn: Mfn) -> Option<&'static FrameInfo> {
    if mfn.0 >= limit() {
        return None;
    }
    let info = entry(mfn);
    if info.owner() == Owner::IO { None } else { Some(info) }
}

impl FrameInfo {
    /// The frame this entry is about.
    #[inline]
    pub fn mfn(&self) -> Mfn {
        Mfn((core::ptr::from_ref(self) as u64).wrapping_sub(FRAME_TABLE) / size_of::<Self>() as u64)
    }

    /// The frame's contents in the direct map.
    #[inline]
    pub fn contents(&self) -> *mut u64 {
        directmap(self.mfn().maddr()).cast()
    }

    /// Entry `index` of the page table in this frame. Also fit for any frame of RAM: it is an atomic word of it.
    #[inline]
    pub fn word(&self, index: usize) -> &'static AtomicU64 {
        // SAFETY: the direct map covers all RAM for ever; every access to guest frames' words is atomic.
        unsafe { AtomicU64::from_ptr(self.contents().add(index & 511)) }
    }

    /// The frame as a page table. Fit for any frame of RAM, as [`Self::word`] is.
    #[inline]
    pub fn words(&self) -> &'static [AtomicU64; 512] {
        // SAFETY: as in `word`.
        unsafe { &*self.contents().cast() }
    }

    /// The owner; stable while a reference is held.
    #[inline]
    pub fn owner(&self) -> Owner {
        Owner(self.owner.load(Ordering::Acquire))
    }

    #[inline]
    pub(super) fn set_owner(&self, owner: Owner) {
        self.owner.store(owner.0, Ordering::Release);
    }

    /// Is the frame the domain's? Stable while a reference is held.
    #[inline]
    pub fn is_owned_by(&self, domain: &Domain) -> bool {
        self.owner() == Owner::domain(domain.id)
    }

    /// The type word as it is now.
    #[inline]
    pub fn type_word(&self) -> TypeWord {
        TypeWord(self.typ.load())
    }

    /// The count word as it is now.
    #[inline]
    pub fn count_word(&self) -> CountWord {
        CountWord(self.count.load())
    }

    /// Flush epoch of the last unmapping.
    #[inline]
    pub(super) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn set_epoch(&self, epoch: u32) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    /// Gives a frame with no references to `owner`: the count word is what makes it visible, so it goes last.
    pub(super) fn assign(&self, owner: Owner, typ: TypeWord, count: CountWord) {
        self.set_owner(owner);
        self.typ.0.store(typ.0, Ordering::Relaxed);
        self.count.0.store(count.0, Ordering::Release);
    }

    /// Takes back a frame whose references are gone.
    pub(super) fn unassign(&self) {
        self.typ.0.store(TypeWord::UNUSED.0, Ordering::Relaxed);
        self.count.0.store(0, Ordering::Relaxed);
        self.set_owner(Owner::HV);
    }
}

impl Frame for FrameInfo {
    type Cell = Cell;

    #[inline(always)]
    fn count(&self) -> &Cell {
        &self.count
    }

    #[inline(always)]
    fn typ(&self) -> &Cell {
        &self.typ
    }

    #[inline(always)]
    fn stamp(&self) {
        self.set_epoch(flush::epoch_now());
    }

    fn free(&self) {
        pages::free_frame(self);
    }
}

impl core::fmt::Debug for FrameInfo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "frame {}: owner ", self.mfn())?;
        match self.owner().domain_id() {
            Some(id) => write!(f, "d{id}")?,
            None => write!(f, "{:?}", self.owner())?,
        }
        write!(f, ", count {:?}, type {:?}", self.count_word(), self.type_word())
    }
}

/// A reference to a frame; the frame keeps its owner while it lives.
#[derive(Debug)]
pub struct PageRef(&'static FrameInfo);

/// One use of a frame as a type, which keeps the frame alive too.
#[derive(Debug)]
pub struct TypedRef(&'static FrameInfo);

/// Takes a reference to a frame of `domain`.
///
/// # Errors
/// `EINVAL` if there is no such frame, or it is not the domain's.
#[inline]
pub fn get_page(mfn: Mfn, domain: &Domain) -> Result<PageRef, Errno> {
    get_page_of(mfn, Owner::domain(domain.id))
}

/// Takes a reference to a frame of `owner`.
///
/// # Errors
/// As [`get_page`].
#[inline]
pub fn get_page_of(mfn: Mfn, owner: Owner) -> Result<PageRef, Errno> {
    let info = info(mfn).ok_or(Errno::EINVAL)?;
    if !cells::get_reference(info) {
        return Err(Errno::EINVAL);
    }
    let page = PageRef(info);
    if info.owner() == owner {
        Ok(page)
    } else {
        Err(Errno::EINVAL)
    }
}

/// Takes a use of a frame of `domain` as `typ`, which is no page table.
///
/// # Errors
/// `EINVAL` if there is no such frame, or it is not the domain's, or it is in use as another type, or its contents do
/// not fit the type; `EAGAIN` if it was being made a page table, and that is not undone in one portion of work.
#[inline]
pub fn get_page_type(mfn: Mfn, domain: &Domain, typ: Type) -> Result<TypedRef, Errno> {
    let info = info(mfn).ok_or(Errno::EINVAL)?;
    typing::acquire(info, typ, domain, false, &mut typing::Budget::portion()).map_err(typing::Fail::errno)?;
    Ok(TypedRef(info))
}

/// Takes a use of a frame of `domain` as the page table `typ`, which may take a long check.
///
/// # Errors
/// `EINVAL` as [`get_page_type`]; `Again`.
pub fn get_table(mfn: Mfn, domain: &Domain, typ: Type, budget: &mut typing::Budget) -> Result<TypedRef, typing::Fail> {
    let info = typing::ram(mfn.0)?;
    typing::acquire(info, typ, domain, false, budget)?;
    Ok(TypedRef(info))
}

impl TypedRef {
    /// Gives the use to whoever keeps the frame number.
    #[inline]
    pub fn into_raw(self) -> Mfn {
        ManuallyDrop::new(self).0.mfn()
    }

    /// Takes back what [`Self::into_raw`] gave, once.
    #[inline]
    pub fn from_raw(mfn: Mfn) -> Self {
        Self(entry(mfn))
    }
}

macro_rules! reference {
    ($name:ident, $drop:expr) => {
        impl $name {
            /// The frame.
            #[inline]
            pub fn mfn(&self) -> Mfn {
                self.0.mfn()
            }

            /// The frame's entry.
            #[inline]
            pub fn info(&self) -> &'static FrameInfo {
                self.0
            }
        }

        impl Drop for $name {
            #[inline]
            fn drop(&mut self) {
                let drop_it: fn(&'static FrameInfo) = $drop;
                drop_it(self.0);
            }
        }
    };
}

reference!(PageRef, |info| cells::put_reference(info));
// Most are no page table's; what is left of one's undoing is pending.
reference!(TypedRef, |info| typing::release(info, &mut typing::Budget::portion()));
