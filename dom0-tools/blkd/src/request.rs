//! Requests of a frontend, from bytes that it wrote and may have written badly (`public/io/blkif.h`, x86-64 layout).

/// Bytes of a sector, in requests and towards the guest.
pub(crate) const SECTOR: u64 = 512;
/// Bytes of a request that matter: those of the ring's slot.
pub(crate) const REQUEST: usize = 112;
/// Bytes of a response.
pub(crate) const RESPONSE: usize = 16;
/// Most segments of a request without indirection.
const DIRECT_SEGMENTS: usize = 11;
/// Most segments that an indirect request may have: one page of them would be 512.
pub(crate) const INDIRECT_SEGMENTS: usize = 256;
/// Bytes of a segment.
const SEGMENT: usize = 8;
/// Last sector of a page.
const LAST_SECTOR: u8 = 7;

const READ: u8 = 0;
const WRITE: u8 = 1;
const WRITE_BARRIER: u8 = 2;
const FLUSH_DISKCACHE: u8 = 3;
const DISCARD: u8 = 5;
const INDIRECT: u8 = 6;

/// What a request answers with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// Done.
    Okay,
    /// Failed.
    Error,
    /// Not an operation of this disk.
    Unsupported,
}

impl Status {
    fn code(self) -> i16 {
        match self {
            Self::Okay => 0,
            Self::Error => -1,
            Self::Unsupported => -2,
        }
    }
}

/// A run of sectors in a granted page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    /// The page.
    pub(crate) gref: u32,
    /// First sector in it, 0 to 7.
    pub(crate) first: u8,
    /// Last sector in it, not before `first`.
    pub(crate) last: u8,
}

impl Segment {
    /// Reads a segment; none where it leaves its page.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let segment = Self {
            gref: u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?),
            first: *bytes.get(4)?,
            last: *bytes.get(5)?,
        };
        (segment.first <= segment.last && segment.last <= LAST_SECTOR).then_some(segment)
    }

    /// First byte in the page.
    pub(crate) fn offset(self) -> usize {
        usize::from(self.first) * SECTOR as usize
    }

    /// Bytes.
    pub(crate) fn len(self) -> usize {
        usize::from(self.last - self.first + 1) * SECTOR as usize
    }
}

/// What a frontend asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    /// Move sectors between disk and memory.
    Transfer {
        /// To the disk?
        write: bool,
        /// First sector.
        sector: u64,
        /// Where in memory.
        segments: Vec<Segment>,
        /// The disk's cache is to be flushed before and after.
        barrier: bool,
    },
    /// The same, with the segments in pages of their own.
    Indirect {
        /// To the disk?
        write: bool,
        /// First sector.
        sector: u64,
        /// Number of segments.
        count: usize,
        /// Pages that hold them, each up to 512.
        pages: Vec<u32>,
    },
    /// Put on stable storage what was written.
    Flush,
    /// The contents of sectors are no longer needed.
    Discard {
        /// First sector.
        sector: u64,
        /// Number of sectors.
        count: u64,
    },
    /// Nothing that can be done; how to answer.
    Refuse(Status),
}

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    /// The frontend's name for it.
    id: u64,
    /// Its operation, as it is repeated in the response.
    code: u8,
    /// What it asks for.
    pub(crate) operation: Operation,
}

fn word(bytes: &[u8; REQUEST], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn long(bytes: &[u8; REQUEST], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

impl Request {
    /// Reads a request from a copy of its slot.
    pub(crate) fn parse(bytes: &[u8; REQUEST]) -> Self {
        let (id, sector) = (long(bytes, 8), long(bytes, 16));
        let code = bytes[0];
        let operation = match code {
            READ => direct(bytes, false, sector, false),
            WRITE => direct(bytes, true, sector, false),
            WRITE_BARRIER => direct(bytes, true, sector, true),
            FLUSH_DISKCACHE => Operation::Flush,
            DISCARD => Operation::Discard {
                sector,
                count: long(bytes, 24),
            },
            INDIRECT => indirect(bytes, sector),
            _ => Operation::Refuse(Status::Unsupported),
        };
        // An indirect request is answered as what it moves; Linux disables a disk that answers otherwise.
        let code = if code == INDIRECT { bytes[1] } else { code };
        Self { id, code, operation }
    }

    /// The response.
    pub(crate) fn response(&self, status: Status) -> [u8; RESPONSE] {
        let mut bytes = [0; RESPONSE];
        bytes[..8].copy_from_slice(&self.id.to_le_bytes());
        bytes[8] = self.code;
        bytes[10..12].copy_from_slice(&status.code().to_le_bytes());
        bytes
    }
}

fn direct(bytes: &[u8; REQUEST], write: bool, sector: u64, barrier: bool) -> Operation {
    let count = usize::from(bytes[1]);
    // A barrier without segments is a mere flush, as Linux sends it.
    if count == 0 && barrier {
        return Operation::Flush;
    }
    if count == 0 || count > DIRECT_SEGMENTS {
        return Operation::Refuse(Status::Error);
    }
    match parse_segments(&bytes[24..24 + count * SEGMENT]) {
        Some(segments) => Operation::Transfer {
            write,
            sector,
            segments,
            barrier,
        },
        None => Operation::Refuse(Status::Error),
    }
}

fn indirect(bytes: &[u8; REQUEST], sector: u64) -> Operation {
    let count = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
    let write = match bytes[1] {
        READ => false,
        WRITE => true,
        _ => return Operation::Refuse(Status::Unsupported),
    };
    if count == 0 || count > INDIRECT_SEGMENTS {
        return Operation::Refuse(Status::Error);
    }
    let pages = count.div_ceil(privcmd::PAGE_SIZE / SEGMENT);
    Operation::Indirect {
        write,
        sector,
        count,
        pages: (0..pages).map(|index| word(bytes, 28 + 4 * index)).collect(),
    }
}

/// Reads a list of segments; none where one leaves its page.
pub(crate) fn parse_segments(bytes: &[u8]) -> Option<Vec<Segment>> {
    bytes.chunks_exact(SEGMENT).map(Segment::parse).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(code: u8, count: u8) -> [u8; REQUEST] {
        let mut bytes = [0; REQUEST];
        (bytes[0], bytes[1]) = (code, count);
        bytes[8..16].copy_from_slice(&77u64.to_le_bytes());
        bytes[16..24].copy_from_slice(&1000u64.to_le_bytes());
        for index in 0..DIRECT_SEGMENTS {
            let at = 24 + index * SEGMENT;
            bytes[at] = index as u8 + 1;
            bytes[at + 5] = 7;
        }
        bytes
    }

    #[test]
    fn a_read_has_its_segments() {
        let request = Request::parse(&slot(READ, 2));
        let segment = |gref| Segment {
            gref,
            first: 0,
            last: 7,
        };
        assert_eq!(
            request.operation,
            Operation::Transfer {
                write: false,
                sector: 1000,
                segments: vec![segment(1), segment(2)],
                barrier: false
            }
        );
        let response = request.response(Status::Error);
        assert_eq!(response[..8], 77u64.to_le_bytes());
        assert_eq!(response[10..12], (-1i16).to_le_bytes());
    }

    #[test]
    fn what_leaves_a_page_or_the_request_is_refused() {
        let refused = Operation::Refuse(Status::Error);
        assert_eq!(Request::parse(&slot(READ, 0)).operation, refused);
        assert_eq!(Request::parse(&slot(WRITE, 12)).operation, refused);
        let mut bad = slot(WRITE, 1);
        bad[24 + 5] = 8;
        assert_eq!(Request::parse(&bad).operation, refused);
        bad[24 + 4] = 7;
        bad[24 + 5] = 6;
        assert_eq!(Request::parse(&bad).operation, refused);
        assert_eq!(
            Request::parse(&slot(9, 1)).operation,
            Operation::Refuse(Status::Unsupported)
        );
    }

    #[test]
    fn indirect_requests_are_limited() {
        let mut bytes = slot(INDIRECT, WRITE);
        bytes[2..4].copy_from_slice(&256u16.to_le_bytes());
        bytes[28..32].copy_from_slice(&5u32.to_le_bytes());
        let Operation::Indirect {
            write, count, pages, ..
        } = Request::parse(&bytes).operation
        else {
            panic!("not indirect");
        };
        assert_eq!((write, count, pages), (true, 256, vec![5]));
        assert_eq!(
            Request::parse(&bytes).response(Status::Okay)[8],
            WRITE,
            "answered as what it moves"
        );
        bytes[2..4].copy_from_slice(&257u16.to_le_bytes());
        assert_eq!(Request::parse(&bytes).operation, Operation::Refuse(Status::Error));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_leave_a_page(bytes in proptest::collection::vec(any::<u8>(), REQUEST)) {
            let request = Request::parse(&bytes.try_into().unwrap());
            if let Operation::Transfer { segments, .. } = request.operation {
                prop_assert!(!segments.is_empty() && segments.len() <= DIRECT_SEGMENTS);
                for segment in segments {
                    prop_assert!(segment.offset() + segment.len() <= privcmd::PAGE_SIZE);
                }
            }
        }
    }
}
