//! A domain's mappings of others' grants, by the handles it is given.
//!
//! A mapping's part for the CPU is an entry in the domain's page tables. While a CPU takes that entry away the part is
//! *leaving*: the handle stays taken, and nobody else takes the same part away. So what a handle stands for does not
//! change between the look at it and the end of the mapping.

use alloc::vec::Vec;
use xen_abi::{GNTST_bad_handle, GNTST_general_error, GNTST_no_device_space};

/// Mappings for which memory is taken at once; a limit is given in as many.
pub const CHUNK: u32 = 256;

/// The state of the part for the CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Host {
    Absent,
    Present,
    /// A CPU takes the page-table entry away.
    Leaving,
}

/// What is mapped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lent<G> {
    /// Whose grant it is.
    pub granter: G,
    /// The entry.
    pub gref: u32,
    /// To write, or just to read.
    pub write: bool,
}

/// A mapping.
#[derive(Debug)]
pub struct Mapping<G, D> {
    lent: Lent<G>,
    frame: u32,
    by_entry: bool,
    host: Host,
    device: Option<D>,
}

impl<G, D> Mapping<G, D> {
    /// A mapping of `frame`: for the CPU (`host`), by the page-table entry's own address or not, and for a device.
    pub const fn new(lent: Lent<G>, frame: u32, host: Option<ByEntry>, device: Option<D>) -> Self {
        let (by_entry, host) = match host {
            Some(ByEntry(by_entry)) => (by_entry, Host::Present),
            None => (false, Host::Absent),
        };
        Self {
            lent,
            frame,
            by_entry,
            host,
            device,
        }
    }

    /// What it maps.
    pub const fn lent(&self) -> &Lent<G> {
        &self.lent
    }

    /// The frame.
    pub const fn frame(&self) -> u32 {
        self.frame
    }

    /// Ends it: what it mapped, and what keeps the frame for a device.
    pub fn into_parts(self) -> (Lent<G>, Option<D>) {
        (self.lent, self.device)
    }

    fn is_over(&self) -> bool {
        self.host == Host::Absent && self.device.is_none()
    }
}

/// Does the domain name the page-table entry by its own machine address, or by the address it maps?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByEntry(pub bool);

/// A page-table entry that is to be taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaving {
    /// The frame it must map.
    pub frame: u32,
    /// Whether it must be writable.
    pub write: bool,
    /// How it is named.
    pub by_entry: bool,
}

/// A handle's slot.
#[derive(Debug)]
enum Slot<G, D> {
    /// Not in use; the next such slot, or the end of the chunks.
    Free(u32),
    /// Given to a CPU that is about to map.
    Reserved,
    Used(Mapping<G, D>),
}

/// The mappings of a domain.
#[derive(Debug)]
pub struct Maptrack<G, D> {
    chunks: Vec<Vec<Slot<G, D>>>,
    /// The slot that was freed last; [`NONE`] where there is none.
    free: u32,
    /// Slots that are not free.
    used: u32,
    /// Most chunks.
    limit: u32,
}

const NONE: u32 = u32::MAX;

impl<G, D> Maptrack<G, D> {
    /// No mappings, and room for `limit` times [`CHUNK`].
    pub const fn new(limit: u32) -> Self {
        Self {
            chunks: Vec::new(),
            free: NONE,
            used: 0,
            limit,
        }
    }

    /// Handles in use.
    pub const fn used(&self) -> u32 {
        self.used
    }

    fn slot(&mut self, handle: u32) -> Option<&mut Slot<G, D>> {
        self.chunks
            .get_mut((handle / CHUNK) as usize)?
            .get_mut((handle % CHUNK) as usize)
    }

    fn mapping(&mut self, handle: u32) -> Result<&mut Mapping<G, D>, i16> {
        match self.slot(handle) {
            Some(Slot::Used(mapping)) => Ok(mapping),
            _ => Err(GNTST_bad_handle),
        }
    }

    /// Puts `slot` in place of a handle's, and answers what stood there.
    fn replace(&mut self, handle: u32, slot: Slot<G, D>) -> Option<Slot<G, D>> {
        self.slot(handle).map(|place| core::mem::replace(place, slot))
    }

    /// Takes a handle, to be [filled](Self::fill) or given back.
    ///
    /// # Errors
    /// `GNTST_no_device_space` at the limit, or without memory.
    pub fn reserve(&mut self) -> Result<u32, i16> {
        if self.free == NONE {
            self.add_chunk().ok_or(GNTST_no_device_space)?;
        }
        let handle = self.free;
        let place = self.slot(handle).ok_or(GNTST_no_device_space)?;
        let Slot::Free(next) = *place else {
            return Err(GNTST_no_device_space);
        };
        *place = Slot::Reserved;
        self.free = next;
        self.used += 1;
        Ok(handle)
    }

    /// Adds a chunk of free slots, chained in order.
    fn add_chunk(&mut self) -> Option<()> {
        let count = self.chunks.len() as u32;
        if count >= self.limit {
            return None;
        }
        let mut chunk = Vec::new();
        chunk.try_reserve_exact(CHUNK as usize).ok()?;
        self.chunks.try_reserve(1).ok()?;
        let first = count * CHUNK;
        chunk.extend((first + 1..first + CHUNK).map(Slot::Free));
        chunk.push(Slot::Free(self.free));
        self.chunks.push(chunk);
        self.free = first;
        Some(())
    }

    /// Makes a reserved handle stand for a mapping.
    pub fn fill(&mut self, handle: u32, mapping: Mapping<G, D>) {
        debug_assert!(matches!(self.slot(handle), Some(Slot::Reserved)));
        self.replace(handle, Slot::Used(mapping));
    }

    /// Frees a handle; answers the mapping, if it stood for one. A free one stays so.
    pub fn remove(&mut self, handle: u32) -> Option<Mapping<G, D>> {
        if matches!(self.slot(handle)?, Slot::Free(_)) {
            return None;
        }
        let was = self.replace(handle, Slot::Free(self.free));
        self.free = handle;
        self.used -= 1;
        match was {
            Some(Slot::Used(mapping)) => Some(mapping),
            _ => None,
        }
    }

    /// Begins to end parts of a mapping: the one for the CPU (`host`), the one for devices at `device`. Answers what
    /// page-table entry is to be taken away, which is followed by [`Self::finish`]; and what kept the frame for a
    /// device, to be dropped.
    ///
    /// # Errors
    /// `GNTST_bad_handle` for none, or one that another CPU is about to end; `GNTST_general_error` for another frame's
    /// device address.
    pub fn begin(&mut self, handle: u32, host: bool, device: Option<u64>) -> Result<(Option<Leaving>, Option<D>), i16> {
        let mapping = self.mapping(handle)?;
        if device.is_some_and(|frame| frame != mapping.frame as u64) {
            return Err(GNTST_general_error);
        }
        if mapping.host == Host::Leaving {
            return Err(GNTST_bad_handle);
        }
        let leaving = (host && mapping.host == Host::Present).then(|| {
            mapping.host = Host::Leaving;
            Leaving {
                frame: mapping.frame,
                write: mapping.lent.write,
                by_entry: mapping.by_entry,
            }
        });
        let held = if device.is_some() { mapping.device.take() } else { None };
        Ok((leaving, held))
    }

    /// Ends what [`Self::begin`] began: the page-table entry is gone (`left`), or stays since it was not the mapping's.
    /// Answers the mapping if nothing is left of it; its handle is free then.
    pub fn finish(&mut self, handle: u32, left: bool) -> Option<Mapping<G, D>> {
        let mapping = self.mapping(handle).ok()?;
        if mapping.host == Host::Leaving {
            mapping.host = if left { Host::Absent } else { Host::Present };
        }
        if mapping.is_over() { self.remove(handle) } else { None }
    }

    /// The mapping of the lowest handle from `from` on; at most `look` handles are looked at.
    pub fn next(&self, from: u32, look: u32) -> Next<'_, G, D> {
        let end = self.chunks.len() as u32 * CHUNK;
        let stop = from.saturating_add(look).min(end);
        for handle in from..stop {
            if let Slot::Used(mapping) = &self.chunks[(handle / CHUNK) as usize][(handle % CHUNK) as usize] {
                return Next::Found(handle, mapping);
            }
        }
        if stop < end { Next::Later(stop) } else { Next::End }
    }
}

/// What [`Maptrack::next`] found.
#[derive(Debug)]
pub enum Next<'a, G, D> {
    /// A mapping, with its handle.
    Found(u32, &'a Mapping<G, D>),
    /// None so far; go on from here.
    Later(u32),
    /// There are no more.
    End,
}
