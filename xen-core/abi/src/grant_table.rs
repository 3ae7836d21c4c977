//! Grant tables (`public/grant_table.h`): entries shared with the hypervisor, operations, status codes.
#![allow(missing_docs)]
use crate::xen::domid_t;

/// Index of an entry in the granting domain's table.
pub type grant_ref_t = u32;
/// A mapping of a grant, in the mapping domain.
pub type grant_handle_t = u32;
/// A version-2 entry's status word.
pub type grant_status_t = u16;

consts! { u32:
    GNTTABOP_map_grant_ref = 0;
    GNTTABOP_unmap_grant_ref = 1;
    GNTTABOP_setup_table = 2;
    GNTTABOP_dump_table = 3;
    GNTTABOP_transfer = 4;
    GNTTABOP_copy = 5;
    GNTTABOP_query_size = 6;
    GNTTABOP_unmap_and_replace = 7;
    GNTTABOP_set_version = 8;
    GNTTABOP_get_status_frames = 9;
    GNTTABOP_get_version = 10;
    GNTTABOP_swap_grant_ref = 11;
    GNTTABOP_cache_flush = 12;
    GNTTAB_NR_RESERVED_ENTRIES = 8;
    GNTTAB_RESERVED_CONSOLE = 0;
    GNTTAB_RESERVED_XENSTORE = 1;
    GNTMAP_device_map = 1 << 0;
    GNTMAP_host_map = 1 << 1;
    GNTMAP_readonly = 1 << 2;
    GNTMAP_application_map = 1 << 3;
    GNTMAP_contains_pte = 1 << 4;
    /// Shift of the guest's bits for the page-table entry.
    _GNTMAP_guest_avail0 = 16;
    GNTMAP_guest_avail_mask = 0xffff_0000;
    GNTTAB_CACHE_CLEAN = 1 << 0;
    GNTTAB_CACHE_INVAL = 1 << 1;
    GNTTAB_CACHE_SOURCE_GREF = 1 << 31;
}

consts! { u16:
    GTF_invalid = 0;
    GTF_permit_access = 1;
    GTF_accept_transfer = 2;
    GTF_transitive = 3;
    GTF_type_mask = 3;
    GTF_readonly = 1 << 2;
    GTF_reading = 1 << 3;
    GTF_writing = 1 << 4;
    GTF_PWT = 1 << 5;
    GTF_PCD = 1 << 6;
    GTF_PAT = 1 << 7;
    GTF_sub_page = 1 << 8;
    GTF_transfer_committed = 1 << 2;
    GTF_transfer_completed = 1 << 3;
    GNTCOPY_source_gref = 1 << 0;
    GNTCOPY_dest_gref = 1 << 1;
}

consts! { i16:
    GNTST_okay = 0;
    GNTST_general_error = -1;
    GNTST_bad_domain = -2;
    GNTST_bad_gntref = -3;
    GNTST_bad_handle = -4;
    GNTST_bad_virt_addr = -5;
    GNTST_bad_dev_addr = -6;
    GNTST_no_device_space = -7;
    GNTST_permission_denied = -8;
    GNTST_bad_page = -9;
    GNTST_bad_copy_arg = -10;
    GNTST_address_too_big = -11;
    GNTST_eagain = -12;
    GNTST_no_space = -13;
}

structs! {
    /// A version-1 entry; granter and hypervisor both write it: use atomics.
    struct grant_entry_v1 {
        flags: u16,
        domid: domid_t,
        frame: u32,
    }

    struct grant_entry_header {
        flags: u16,
        domid: domid_t,
    }

    /// A version-2 entry; the union's arms in words.
    struct grant_entry_v2 {
        hdr: grant_entry_header,
        /// `sub_page`: `page_off` (low) and `length` (high); `transitive`: `trans_domid` (low).
        word: u32,
        /// `full_page.frame`, `sub_page.frame`; `transitive.gref` in the low half.
        frame: u64,
    }

    struct gnttab_map_grant_ref {
        host_addr: u64,
        flags: u32,
        grant_ref: grant_ref_t,
        dom: domid_t,
        /// Out: `GNTST_*`.
        status: i16,
        /// Out.
        handle: grant_handle_t,
        /// Out.
        dev_bus_addr: u64,
    }

    struct gnttab_unmap_grant_ref {
        host_addr: u64,
        dev_bus_addr: u64,
        handle: grant_handle_t,
        /// Out: `GNTST_*`.
        status: i16,
        _pad: u16,
    }

    struct gnttab_setup_table {
        dom: domid_t,
        _pad0: u16,
        nr_frames: u32,
        /// Out: `GNTST_*`.
        status: i16,
        _pad1: [u16; 3],
        /// Handle of `nr_frames` frame numbers, written.
        frame_list: u64,
    }

    struct gnttab_dump_table {
        dom: domid_t,
        status: i16,
    }

    struct gnttab_transfer {
        mfn: u64,
        domid: domid_t,
        _pad0: u16,
        grant_ref: grant_ref_t,
        status: i16,
        _pad1: [u16; 3],
    }

    /// One end of a copy.
    struct gnttab_copy_ptr {
        /// The union `u`: `ref` (low 32 bits) or `gmfn`.
        u: u64,
        domid: domid_t,
        offset: u16,
        _pad: u32,
    }

    struct gnttab_copy {
        source: gnttab_copy_ptr,
        dest: gnttab_copy_ptr,
        len: u16,
        flags: u16,
        status: i16,
        _pad: u16,
    }

    struct gnttab_query_size {
        dom: domid_t,
        _pad0: u16,
        nr_frames: u32,
        max_nr_frames: u32,
        status: i16,
        _pad1: u16,
    }

    struct gnttab_unmap_and_replace {
        host_addr: u64,
        new_addr: u64,
        handle: grant_handle_t,
        status: i16,
        _pad: u16,
    }

    struct gnttab_set_version {
        version: u32,
    }

    struct gnttab_get_status_frames {
        nr_frames: u32,
        dom: domid_t,
        status: i16,
        frame_list: u64,
    }

    struct gnttab_get_version {
        dom: domid_t,
        pad: u16,
        version: u32,
    }

    struct gnttab_swap_grant_ref {
        ref_a: grant_ref_t,
        ref_b: grant_ref_t,
        status: i16,
        _pad: u16,
    }

    struct gnttab_cache_flush {
        /// The union `a`: `dev_bus_addr` or `ref`.
        a: u64,
        offset: u16,
        length: u16,
        op: u32,
    }
}
