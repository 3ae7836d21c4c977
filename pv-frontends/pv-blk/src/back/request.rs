//! A frontend's requests, out of copies of bytes that it wrote and may have written badly.

use alloc::vec::Vec;

use pv_hal::{GrantRef, PAGE_SIZE};
use xen_abi::{
    BLKIF_DISCARD_SECURE, BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST, BLKIF_MAX_SEGMENTS_PER_REQUEST, BLKIF_OP_DISCARD,
    BLKIF_OP_FLUSH_DISKCACHE, BLKIF_OP_INDIRECT, BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_OP_WRITE_BARRIER, blkif_request,
    blkif_request_discard, blkif_request_indirect, blkif_request_segment, blkif_response,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::{SECTOR_SIZE, SECTORS_PER_PAGE, Status};

/// Segments that a page holds.
const SEGMENTS_PER_PAGE: usize = PAGE_SIZE / size_of::<blkif_request_segment>();

/// A run of sectors in a granted page, checked to lie within it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub(crate) grant: GrantRef,
    /// First byte in the page.
    pub(crate) offset: usize,
    /// Bytes, a sector at least.
    pub(crate) len: usize,
}

impl Segment {
    /// None where the segment leaves its page or has no sector.
    fn check(raw: &blkif_request_segment) -> Option<Self> {
        let (first, last) = (usize::from(raw.first_sect), usize::from(raw.last_sect));
        (first <= last && last < SECTORS_PER_PAGE).then(|| Self {
            grant: GrantRef(raw.gref),
            offset: first * SECTOR_SIZE,
            len: (last - first + 1) * SECTOR_SIZE,
        })
    }
}

/// Bytes of all segments.
pub(crate) fn total(segments: &[Segment]) -> usize {
    segments.iter().map(|segment| segment.len).sum()
}

/// Pages that hold the segments of an indirect request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct IndirectPages {
    grants: [u32; BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST],
    /// Segments, not more than the backend has offered.
    pub(crate) count: usize,
}

impl IndirectPages {
    /// The pages, each with the number of segments in it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (GrantRef, usize)> + '_ {
        let left = |page: usize| (self.count - page * SEGMENTS_PER_PAGE).min(SEGMENTS_PER_PAGE);
        let pages = self.count.div_ceil(SEGMENTS_PER_PAGE);
        (0..pages).map(move |page| (GrantRef(self.grants[page]), left(page)))
    }
}

/// Reads segments from a copy of their bytes.
///
/// # Errors
/// One of them is no good.
pub(crate) fn parse_segments(bytes: &[u8], into: &mut Vec<Segment>) -> Result<(), Status> {
    for chunk in bytes.chunks_exact(size_of::<blkif_request_segment>()) {
        let raw = blkif_request_segment::read_from_bytes(chunk).map_err(|_| Status::Error)?;
        into.push(Segment::check(&raw).ok_or(Status::Error)?);
    }
    Ok(())
}

/// What a frontend asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// Move sectors between disk and memory.
    Transfer {
        write: bool,
        /// What came before is to be on stable storage first, and this before what comes.
        barrier: bool,
        /// In 512 bytes.
        sector: u64,
        segments: Vec<Segment>,
    },
    /// The same, with the segments in pages of their own.
    Indirect {
        write: bool,
        sector: u64,
        pages: IndirectPages,
    },
    /// Put on stable storage what was written.
    Flush,
    /// Give up sectors.
    Discard { sector: u64, count: u64, secure: bool },
}

/// What a response repeats of its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Name {
    id: u64,
    operation: u8,
}

impl Name {
    /// The response.
    pub(crate) fn response(self, status: Status) -> blkif_response {
        blkif_response {
            id: self.id,
            operation: self.operation,
            status: status.code(),
            ..Default::default()
        }
    }
}

/// Reads a request from a copy of its slot; where it is no good, how to answer it. `most_indirect` is what the backend
/// has offered.
pub(crate) fn parse(slot: &blkif_request, most_indirect: u32) -> (Name, Result<Request, Status>) {
    let indirect = blkif_request_indirect::read_from_prefix(slot.as_bytes()).map(|(request, _)| request);
    let discard = blkif_request_discard::read_from_prefix(slot.as_bytes()).map(|(request, _)| request);
    let mut name = Name {
        id: slot.id,
        operation: slot.operation,
    };
    let request = match (slot.operation, indirect, discard) {
        (BLKIF_OP_READ | BLKIF_OP_WRITE | BLKIF_OP_WRITE_BARRIER, ..) => parse_direct(slot),
        (BLKIF_OP_FLUSH_DISKCACHE, ..) => Ok(Request::Flush),
        (BLKIF_OP_INDIRECT, Ok(indirect), _) => {
            // It is answered as what it moves: a frontend like Linux's takes anything else for a broken backend.
            name.operation = indirect.indirect_op;
            parse_indirect(&indirect, most_indirect)
        }
        (BLKIF_OP_DISCARD, _, Ok(discard)) => Ok(Request::Discard {
            sector: discard.sector_number,
            count: discard.nr_sectors,
            secure: discard.flag & BLKIF_DISCARD_SECURE != 0,
        }),
        _ => Err(Status::Unsupported),
    };
    (name, request)
}

fn parse_direct(slot: &blkif_request) -> Result<Request, Status> {
    let barrier = slot.operation == BLKIF_OP_WRITE_BARRIER;
    let count = usize::from(slot.nr_segments);
    // A barrier without segments is a mere flush, as Linux sends it.
    if count == 0 && barrier {
        return Ok(Request::Flush);
    }
    if count == 0 || count > BLKIF_MAX_SEGMENTS_PER_REQUEST {
        return Err(Status::Error);
    }
    let mut segments = Vec::with_capacity(count);
    for raw in &slot.seg[..count] {
        segments.push(Segment::check(raw).ok_or(Status::Error)?);
    }
    Ok(Request::Transfer {
        write: slot.operation != BLKIF_OP_READ,
        barrier,
        sector: slot.sector_number,
        segments,
    })
}

fn parse_indirect(slot: &blkif_request_indirect, most: u32) -> Result<Request, Status> {
    if most == 0 {
        return Err(Status::Unsupported);
    }
    let write = match slot.indirect_op {
        BLKIF_OP_READ => false,
        BLKIF_OP_WRITE => true,
        _ => return Err(Status::Unsupported),
    };
    let count = usize::from(slot.nr_segments);
    let room = SEGMENTS_PER_PAGE * BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST;
    if count == 0 || count > room.min(most as usize) {
        return Err(Status::Error);
    }
    let pages = IndirectPages {
        grants: slot.indirect_grefs,
        count,
    };
    Ok(Request::Indirect {
        write,
        sector: slot.sector_number,
        pages,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(operation: u8, count: u8) -> blkif_request {
        let mut slot = blkif_request {
            operation,
            nr_segments: count,
            id: 77,
            sector_number: 1000,
            ..Default::default()
        };
        for (index, segment) in slot.seg.iter_mut().enumerate() {
            (segment.gref, segment.last_sect) = (index as u32 + 1, 7);
        }
        slot
    }

    fn parsed(slot: &blkif_request) -> Result<Request, Status> {
        parse(slot, 256).1
    }

    fn indirect(operation: u8, count: u16) -> blkif_request {
        let mut request = blkif_request_indirect {
            operation: BLKIF_OP_INDIRECT,
            indirect_op: operation,
            nr_segments: count,
            ..Default::default()
        };
        request.indirect_grefs = [5, 6, 7, 8, 9, 10, 11, 12];
        let mut slot = blkif_request::default();
        slot.as_mut_bytes()[..size_of::<blkif_request_indirect>()].copy_from_slice(request.as_bytes());
        slot
    }

    #[test]
    fn a_read_has_its_segments() {
        let Ok(Request::Transfer {
            write,
            barrier,
            sector,
            segments,
        }) = parsed(&slot(BLKIF_OP_READ, 2))
        else {
            panic!("refused");
        };
        assert_eq!((write, barrier, sector), (false, false, 1000));
        assert_eq!(total(&segments), 2 * PAGE_SIZE);
        assert_eq!(segments[1].grant, GrantRef(2));
        let response = parse(&slot(BLKIF_OP_READ, 2), 0).0.response(Status::Error);
        assert_eq!((response.id, response.operation, response.status), (77, 0, -1));
    }

    #[test]
    fn what_leaves_a_page_or_the_request_is_refused() {
        for (operation, count) in [(BLKIF_OP_READ, 0), (BLKIF_OP_WRITE, 12), (BLKIF_OP_WRITE, 255)] {
            assert_eq!(parsed(&slot(operation, count)), Err(Status::Error));
        }
        let mut bad = slot(BLKIF_OP_WRITE, 11);
        (bad.seg[10].first_sect, bad.seg[10].last_sect) = (0, 8);
        assert_eq!(parsed(&bad), Err(Status::Error));
        (bad.seg[10].first_sect, bad.seg[10].last_sect) = (7, 6);
        assert_eq!(parsed(&bad), Err(Status::Error));
        bad.nr_segments = 10;
        assert!(parsed(&bad).is_ok(), "segments beyond the count do not matter");
        for operation in [4, 7, 255] {
            assert_eq!(parsed(&slot(operation, 1)), Err(Status::Unsupported));
        }
    }

    #[test]
    fn a_barrier_without_segments_is_a_flush() {
        assert_eq!(parsed(&slot(BLKIF_OP_WRITE_BARRIER, 0)), Ok(Request::Flush));
        assert_eq!(parsed(&slot(BLKIF_OP_FLUSH_DISKCACHE, 0)), Ok(Request::Flush));
    }

    #[test]
    fn indirect_requests_are_limited_to_the_offer() {
        let Ok(Request::Indirect { write, pages, .. }) = parsed(&indirect(BLKIF_OP_WRITE, 256)) else {
            panic!("refused");
        };
        assert!(write);
        assert_eq!(pages.iter().collect::<Vec<_>>(), [(GrantRef(5), 256)]);
        assert_eq!(parse(&indirect(BLKIF_OP_WRITE, 1), 256).0.operation, BLKIF_OP_WRITE);
        for count in [0, 257, u16::MAX] {
            assert_eq!(parsed(&indirect(BLKIF_OP_READ, count)), Err(Status::Error));
        }
        for operation in [BLKIF_OP_WRITE_BARRIER, BLKIF_OP_DISCARD, BLKIF_OP_INDIRECT, 255] {
            assert_eq!(parsed(&indirect(operation, 1)), Err(Status::Unsupported));
        }
        assert_eq!(parse(&indirect(BLKIF_OP_READ, 1), 0).1, Err(Status::Unsupported));
        let Ok(Request::Indirect { pages, .. }) = parse(&indirect(BLKIF_OP_READ, 4096), u32::MAX).1 else {
            panic!("eight pages of segments are refused");
        };
        assert_eq!(pages.iter().map(|(_, count)| count).sum::<usize>(), 4096);
        assert_eq!(parse(&indirect(BLKIF_OP_READ, 4097), u32::MAX).1, Err(Status::Error));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_leave_a_page(bytes: [u8; 16], rest in proptest::collection::vec(any::<u8>(), 96)) {
            let bytes = [&bytes[..], &rest].concat();
            let slot = blkif_request::read_from_bytes(&bytes).unwrap();
            let (name, request) = parse(&slot, 256);
            prop_assert_eq!(name.response(Status::Okay).id, slot.id);
            match request {
                Ok(Request::Transfer { segments, .. }) => {
                    prop_assert!((1..=11).contains(&segments.len()));
                    prop_assert!(segments.iter().all(|s| s.len > 0 && s.offset + s.len <= PAGE_SIZE));
                }
                Ok(Request::Indirect { pages, .. }) => prop_assert!((1..=256).contains(&pages.count)),
                _ => {}
            }
        }
    }
}
