//! Buddy allocator for machine frames.
//!
//! Free memory is kept as blocks of 2^order frames, aligned to their size. The free lists run through the frames'
//! own entries, reached by the trait [`Frames`], so the allocator itself is a few hundred bytes of list heads.
//!
//! Lists are split by *zone*: the number of bits in a block's frame number. A request for memory below an address
//! looks in the zones that lie below, the highest first, so that low memory is left for those who need it.

/// Largest block: 2^18 frames, 1 GiB.
pub const MAX_ORDER: u8 = 18;
const ORDERS: usize = MAX_ORDER as usize + 1;
/// Zones: frame numbers of up to 32 bits, which is 16 TiB.
const ZONES: usize = 33;

/// Frame numbers that no frame has: the end of a list.
pub const NIL: u32 = u32::MAX;

/// Marks that a free block carries; they survive splitting, and add up in merging.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Marks {
    /// The block holds somebody's data: it must be scrubbed before another domain sees it.
    pub dirty: bool,
    /// Flush epoch of the newest stamp within: translations made until then may still be cached.
    pub epoch: u32,
}

/// Where the allocator keeps what it knows of a free block: in the entry of the block's first frame.
pub trait Frames {
    /// The order and marks of the free block that starts here; `None` if none starts here.
    fn block(&self, frame: u32) -> Option<(u8, Marks)>;
    /// Notes that a free block starts here, or that none does any more.
    fn set_block(&mut self, frame: u32, block: Option<(u8, Marks)>);
    /// Neighbours in the free list: previous and next.
    fn links(&self, frame: u32) -> (u32, u32);
    /// Sets the neighbours.
    fn set_links(&mut self, frame: u32, links: (u32, u32));
    /// The newer of two epochs.
    fn newer(&self, a: u32, b: u32) -> u32;
}

/// List heads and counts; the caller serialises access.
pub struct Buddy {
    heads: [[u32; ORDERS]; ZONES],
    /// Bit `order` of `orders[zone]`: that list is not empty.
    orders: [u32; ZONES],
    free_frames: u64,
}

impl Default for Buddy {
    fn default() -> Self {
        Self::new()
    }
}

/// The zone of a block: the bits of its first frame's number. A block is aligned, so all its frames share them;
/// frame 0 is never given to the allocator.
const fn zone_of(frame: u32) -> usize {
    (u32::BITS - frame.leading_zeros()) as usize
}

impl Buddy {
    /// An allocator with nothing in it.
    pub const fn new() -> Self {
        Self {
            heads: [[NIL; ORDERS]; ZONES],
            orders: [0; ZONES],
            free_frames: 0,
        }
    }

    /// How many frames are free.
    pub fn free_frames(&self) -> u64 {
        self.free_frames
    }

    /// Gives the frames from `start` to before `end` to the allocator, in the largest blocks that fit.
    pub fn add_region(&mut self, frames: &mut impl Frames, start: u32, end: u32, marks: Marks) {
        // Frame 0 has no zone, and a null machine address is best left alone.
        let mut at = start.max(1);
        while at < end {
            let by_alignment = at.trailing_zeros() as u8;
            let by_length = (end - at).ilog2() as u8;
            let order = by_alignment.min(by_length).min(MAX_ORDER);
            self.free(frames, at, order, marks);
            at += 1 << order;
        }
    }

    /// Takes a block of 2^`order` frames whose numbers have at most `frame_bits` bits.
    pub fn alloc(&mut self, frames: &mut impl Frames, order: u8, frame_bits: u32) -> Option<(u32, Marks)> {
        if order > MAX_ORDER {
            return None;
        }
        let top = (frame_bits as usize).min(ZONES - 1);
        let wanted = u32::MAX << order;
        let zone = (0..=top).rev().find(|&zone| self.orders[zone] & wanted != 0)?;
        let found = (self.orders[zone] & wanted).trailing_zeros() as u8;
        let frame = self.heads[zone][found as usize];
        let marks = self.unlink(frames, frame, found);
        self.free_frames -= 1 << order;
        // Halves go back until the piece has the wanted size. The upper half is the piece: its zone is no lower.
        let mut piece = frame;
        for smaller in (order..found).rev() {
            self.link(frames, piece, smaller, marks);
            piece += 1 << smaller;
        }
        Some((piece, marks))
    }

    /// Gives a block back, and merges it with its free buddies.
    pub fn free(&mut self, frames: &mut impl Frames, frame: u32, order: u8, marks: Marks) {
        self.free_frames += 1 << order;
        let (mut frame, mut order, mut marks) = (frame, order, marks);
        while order < MAX_ORDER {
            let buddy = frame ^ 1 << order;
            // Frame 0 is never free, so blocks around it do not merge, and a block never spans two zones.
            match frames.block(buddy) {
                Some((its_order, its)) if its_order == order && buddy != 0 => {
                    self.unlink(frames, buddy, order);
                    let epoch = frames.newer(marks.epoch, its.epoch);
                    marks = Marks {
                        dirty: marks.dirty | its.dirty,
                        epoch,
                    };
                    frame = frame.min(buddy);
                    order += 1;
                }
                _ => break,
            }
        }
        self.link(frames, frame, order, marks);
    }

    fn link(&mut self, frames: &mut impl Frames, frame: u32, order: u8, marks: Marks) {
        let zone = zone_of(frame);
        let head = &mut self.heads[zone][order as usize];
        frames.set_block(frame, Some((order, marks)));
        frames.set_links(frame, (NIL, *head));
        if *head != NIL {
            let (_, next) = frames.links(*head);
            frames.set_links(*head, (frame, next));
        }
        *head = frame;
        self.orders[zone] |= 1 << order;
    }

    fn unlink(&mut self, frames: &mut impl Frames, frame: u32, order: u8) -> Marks {
        let zone = zone_of(frame);
        let marks = frames.block(frame).map(|(_, marks)| marks).unwrap_or_default();
        let (prev, next) = frames.links(frame);
        if prev == NIL {
            self.heads[zone][order as usize] = next;
            if next == NIL {
                self.orders[zone] &= !(1 << order);
            }
        } else {
            let (before, _) = frames.links(prev);
            frames.set_links(prev, (before, next));
        }
        if next != NIL {
            let (_, after) = frames.links(next);
            frames.set_links(next, (prev, after));
        }
        frames.set_block(frame, None);
        marks
    }
}

#[cfg(all(test, not(loom)))]
#[path = "buddy_tests.rs"]
mod tests;
