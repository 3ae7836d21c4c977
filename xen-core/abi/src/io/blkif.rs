//! Block devices (`public/io/blkif.h`), in the layout of x86-64 (protocol `x86_64-abi`).
#![allow(missing_docs)]
use crate::grant_table::grant_ref_t;

/// Number of a virtual block device, as xenstore has it.
pub type blkif_vdev_t = u16;
/// Number of a sector of the device's sector size.
pub type blkif_sector_t = u64;

consts! { u8:
    BLKIF_OP_READ = 0;
    BLKIF_OP_WRITE = 1;
    BLKIF_OP_WRITE_BARRIER = 2;
    BLKIF_OP_FLUSH_DISKCACHE = 3;
    BLKIF_OP_RESERVED_1 = 4;
    BLKIF_OP_DISCARD = 5;
    BLKIF_OP_INDIRECT = 6;
    /// In `blkif_request_discard.flag`: every copy of the sectors must be gone.
    BLKIF_DISCARD_SECURE = 1 << 0;
}

consts! { i16:
    BLKIF_RSP_EOPNOTSUPP = -2;
    BLKIF_RSP_ERROR = -1;
    BLKIF_RSP_OKAY = 0;
}

consts! { u32:
    /// Bits of the backend's node `info`.
    VDISK_CDROM = 0x1;
    VDISK_REMOVABLE = 0x2;
    VDISK_READONLY = 0x4;
}

/// Most segments of a request that holds them itself.
pub const BLKIF_MAX_SEGMENTS_PER_REQUEST: usize = 11;
/// Most pages of segments that an indirect request can name.
pub const BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST: usize = 8;

structs! {
    /// A run of sectors in a granted page.
    struct blkif_request_segment {
        gref: grant_ref_t,
        /// First sector in the page.
        first_sect: u8,
        /// Last sector in the page, itself included.
        last_sect: u8,
        _pad: u16,
    }

    struct blkif_request {
        /// `BLKIF_OP_*`.
        operation: u8,
        nr_segments: u8,
        handle: blkif_vdev_t,
        _pad: u32,
        /// The frontend's own, repeated in the response.
        id: u64,
        sector_number: blkif_sector_t,
        seg: [blkif_request_segment; 11],
    }

    struct blkif_request_discard {
        /// `BLKIF_OP_DISCARD`.
        operation: u8,
        /// `BLKIF_DISCARD_*`.
        flag: u8,
        handle: blkif_vdev_t,
        _pad: u32,
        id: u64,
        sector_number: blkif_sector_t,
        nr_sectors: u64,
    }

    struct blkif_request_indirect {
        /// `BLKIF_OP_INDIRECT`.
        operation: u8,
        /// `BLKIF_OP_READ` or `BLKIF_OP_WRITE`.
        indirect_op: u8,
        nr_segments: u16,
        _pad0: u32,
        id: u64,
        sector_number: blkif_sector_t,
        handle: blkif_vdev_t,
        _pad1: u16,
        /// Pages full of `blkif_request_segment`.
        indirect_grefs: [grant_ref_t; 8],
        _pad2: u32,
    }

    struct blkif_response {
        id: u64,
        operation: u8,
        _pad0: u8,
        /// `BLKIF_RSP_*`.
        status: i16,
        _pad1: u32,
    }
}
