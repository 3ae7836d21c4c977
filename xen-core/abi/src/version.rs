//! Version queries, features, ELF notes (`public/version.h`, `public/features.h`, `public/elfnote.h`).
#![allow(missing_docs)]

consts! { u32:
    XENVER_version = 0;
    XENVER_extraversion = 1;
    XENVER_compile_info = 2;
    XENVER_capabilities = 3;
    XENVER_changeset = 4;
    XENVER_platform_parameters = 5;
    XENVER_get_features = 6;
    XENVER_pagesize = 7;
    XENVER_guest_handle = 8;
    XENVER_commandline = 9;
    XENVER_build_id = 10;
    /// Bit numbers in the feature words.
    XENFEAT_writable_page_tables = 0;
    XENFEAT_writable_descriptor_tables = 1;
    XENFEAT_auto_translated_physmap = 2;
    XENFEAT_supervisor_mode_kernel = 3;
    XENFEAT_pae_pgdir_above_4gb = 4;
    XENFEAT_mmu_pt_update_preserve_ad = 5;
    XENFEAT_highmem_assist = 6;
    XENFEAT_gnttab_map_avail_bits = 7;
    XENFEAT_hvm_callback_vector = 8;
    XENFEAT_hvm_safe_pvclock = 9;
    XENFEAT_hvm_pirqs = 10;
    XENFEAT_dom0 = 11;
    XENFEAT_memory_op_vnode_supported = 13;
    XENFEAT_ARM_SMCCC_supported = 14;
    XENFEAT_linux_rsdp_unrestricted = 15;
    XENFEAT_not_direct_mapped = 16;
    XENFEAT_direct_mapped = 17;
    XENFEAT_NR_SUBMAPS = 1;
    XEN_ELFNOTE_INFO = 0;
    XEN_ELFNOTE_ENTRY = 1;
    XEN_ELFNOTE_HYPERCALL_PAGE = 2;
    XEN_ELFNOTE_VIRT_BASE = 3;
    XEN_ELFNOTE_PADDR_OFFSET = 4;
    XEN_ELFNOTE_XEN_VERSION = 5;
    XEN_ELFNOTE_GUEST_OS = 6;
    XEN_ELFNOTE_GUEST_VERSION = 7;
    XEN_ELFNOTE_LOADER = 8;
    XEN_ELFNOTE_PAE_MODE = 9;
    XEN_ELFNOTE_FEATURES = 10;
    XEN_ELFNOTE_BSD_SYMTAB = 11;
    XEN_ELFNOTE_HV_START_LOW = 12;
    XEN_ELFNOTE_L1_MFN_VALID = 13;
    XEN_ELFNOTE_SUSPEND_CANCEL = 14;
    XEN_ELFNOTE_INIT_P2M = 15;
    XEN_ELFNOTE_MOD_START_PFN = 16;
    XEN_ELFNOTE_SUPPORTED_FEATURES = 17;
    XEN_ELFNOTE_PHYS32_ENTRY = 18;
    XEN_ELFNOTE_MAX = 18;
    XEN_ELFNOTE_CRASH_INFO = 0x100_0001;
    XEN_ELFNOTE_CRASH_REGS = 0x100_0002;
    XEN_ELFNOTE_DUMPCORE_NONE = 0x200_0000;
    XEN_ELFNOTE_DUMPCORE_HEADER = 0x200_0001;
    XEN_ELFNOTE_DUMPCORE_XEN_VERSION = 0x200_0002;
    XEN_ELFNOTE_DUMPCORE_FORMAT_VERSION = 0x200_0003;
}

consts! { usize:
    XEN_EXTRAVERSION_LEN = 16;
    XEN_CAPABILITIES_INFO_LEN = 1024;
    XEN_CHANGESET_INFO_LEN = 64;
    XEN_COMMANDLINE_LEN = 1024;
}

structs! {
    struct xen_compile_info {
        compiler: [u8; 64],
        compile_by: [u8; 16],
        compile_domain: [u8; 32],
        compile_date: [u8; 32],
    }

    struct xen_platform_parameters {
        virt_start: u64,
    }

    struct xen_feature_info {
        submap_idx: u32,
        /// Out.
        submap: u32,
    }

    /// Header of a build id; `len` bytes follow. With a null argument the call answers the length.
    struct xen_build_id {
        len: u32,
    }
}
