//! A frontend's pages: copied from and to, or kept mapped where the frontend uses the same again and again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use pv_hal::{Access, CopyPiece, Direction, DomId, Error, GrantRef, Hal, Memory, PAGE_SIZE};

use super::request::Segment;

/// Pages that one queue keeps mapped at most: a page of ring with all its requests' segments, three times over.
pub(crate) const KEPT: usize = 1056;
/// Pages that are copied at a time.
const STAGED: usize = 16;

/// Which way bytes go.
enum Way<'a> {
    FromGuest(&'a mut [u8]),
    ToGuest(&'a [u8]),
}

/// The pages of one frontend, for one queue.
pub(crate) struct Pages<H: Hal> {
    hal: H,
    peer: DomId,
    persistent: bool,
    kept: BTreeMap<GrantRef, Kept<H>>,
    uses: u64,
    /// Memory of this domain that the hypervisor copies from and to.
    staged: Option<H::Pages>,
}

struct Kept<H: Hal> {
    page: H::Mapping,
    last_use: u64,
}

impl<H: Hal> Pages<H> {
    pub(crate) fn new(hal: &H, peer: DomId, persistent: bool) -> Self {
        Self {
            hal: hal.clone(),
            peer,
            persistent,
            kept: BTreeMap::new(),
            uses: 0,
            staged: None,
        }
    }

    /// Copies what the segments hold; `into` is as long as they are.
    pub(crate) fn read(&mut self, segments: &[Segment], into: &mut [u8]) -> Result<(), Error> {
        self.copy(segments, Way::FromGuest(into))
    }

    /// Copies into the segments; `from` is as long as they are. What fails may be written in part.
    pub(crate) fn write(&mut self, segments: &[Segment], from: &[u8]) -> Result<(), Error> {
        self.copy(segments, Way::ToGuest(from))
    }

    fn copy(&mut self, segments: &[Segment], mut way: Way<'_>) -> Result<(), Error> {
        let mut others = Vec::new();
        let mut at = 0;
        for segment in segments {
            let range = at..at + segment.len;
            at = range.end;
            match (self.keep(segment.grant), &mut way) {
                (Some(page), Way::FromGuest(into)) => page.read(segment.offset, &mut into[range]),
                (Some(page), Way::ToGuest(from)) => page.write(segment.offset, &from[range]),
                (None, _) => others.push((*segment, range.start)),
            }
        }
        others
            .chunks(STAGED)
            .try_for_each(|some| self.copy_staged(some, &mut way))
    }

    /// The page of a grant, mapped; none where it is not to be kept, or cannot be.
    fn keep(&mut self, grant: GrantRef) -> Option<&H::Mapping> {
        if !self.persistent {
            return None;
        }
        self.uses += 1;
        if !self.kept.contains_key(&grant) {
            // Pages that stay will be used both ways. Where the frontend has not granted that, they are copied.
            let page = self.hal.map(self.peer, &[grant], Access::ReadWrite).ok()?;
            self.make_room();
            self.kept.insert(grant, Kept { page, last_use: 0 });
        }
        let kept = self.kept.get_mut(&grant)?;
        kept.last_use = self.uses;
        Some(&kept.page)
    }

    /// Lets go of the eighth that was not used for longest, when no more can be kept.
    fn make_room(&mut self) {
        if self.kept.len() < KEPT {
            return;
        }
        let mut uses: Vec<u64> = self.kept.values().map(|kept| kept.last_use).collect();
        let (_, limit, _) = uses.select_nth_unstable(KEPT / 8);
        let limit = *limit;
        self.kept.retain(|_, kept| kept.last_use >= limit);
    }

    /// Has the hypervisor copy `segments`, each with its place in the bytes, through a page of this domain each.
    fn copy_staged(&mut self, segments: &[(Segment, usize)], way: &mut Way<'_>) -> Result<(), Error> {
        if self.staged.is_none() {
            self.staged = Some(self.hal.allocate(STAGED)?);
        }
        let Some(staged) = &self.staged else {
            return Err(Error::NoMemory);
        };
        let places = || {
            segments
                .iter()
                .enumerate()
                .map(|(page, (segment, at))| (page * PAGE_SIZE, segment, *at))
        };
        let piece = |(own, segment, _): (usize, &Segment, usize)| {
            let offset = segment.offset;
            CopyPiece::new(segment.grant, offset as u16, (own + offset) as u32, segment.len as u16)
        };
        let mut pieces: Vec<CopyPiece> = places().map(piece).collect();
        if let Way::ToGuest(from) = way {
            for (own, segment, at) in places() {
                staged.write(own + segment.offset, &from[at..at + segment.len]);
            }
            self.hal.copy(Direction::ToPeer, self.peer, staged, &mut pieces);
        } else {
            self.hal.copy(Direction::FromPeer, self.peer, staged, &mut pieces);
        }
        pieces.iter().try_for_each(|piece| piece.result)?;
        if let Way::FromGuest(into) = way {
            for (own, segment, at) in places() {
                staged.read(own + segment.offset, &mut into[at..at + segment.len]);
            }
        }
        Ok(())
    }
}
