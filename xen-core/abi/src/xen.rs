//! The core of the interface (`public/xen.h`): shared pages, start of day, MMU requests, domain ids.
//! Constants carry Xen's names; their meaning stands in that header.
#![allow(missing_docs)]

/// A domain's number; values from [`DOMID_FIRST_RESERVED`] have special meanings.
pub type domid_t = u16;
/// A frame number, machine or pseudo-physical as the field says.
pub type xen_pfn_t = u64;
/// The native word.
pub type xen_ulong_t = u64;
/// A domain's UUID as the toolstack gave it.
pub type xen_domain_handle_t = [u8; 16];

consts! { u32:
    VIRQ_TIMER = 0;
    VIRQ_DEBUG = 1;
    VIRQ_CONSOLE = 2;
    VIRQ_DOM_EXC = 3;
    VIRQ_TBUF = 4;
    VIRQ_DEBUGGER = 6;
    VIRQ_XENOPROF = 7;
    VIRQ_CON_RING = 8;
    VIRQ_PCPU_STATE = 9;
    VIRQ_MEM_EVENT = 10;
    VIRQ_ARGO = 11;
    VIRQ_ENOMEM = 12;
    VIRQ_XENPMU = 13;
    VIRQ_ARCH_0 = 16;
    VIRQ_ARCH_1 = 17;
    VIRQ_ARCH_2 = 18;
    VIRQ_ARCH_3 = 19;
    VIRQ_ARCH_4 = 20;
    VIRQ_ARCH_5 = 21;
    VIRQ_ARCH_6 = 22;
    VIRQ_ARCH_7 = 23;
    NR_VIRQS = 24;
    /// Machine checks, `public/arch-x86/xen-mca.h`.
    VIRQ_MCA = VIRQ_ARCH_0;
}

consts! { u64:
    /// Command of `mmu_update`, in the two low bits of `ptr`.
    MMU_NORMAL_PT_UPDATE = 0;
    MMU_MACHPHYS_UPDATE = 1;
    MMU_PT_UPDATE_PRESERVE_AD = 2;
    MMU_PT_UPDATE_NO_TRANSLATE = 3;
    UVMF_NONE = 0;
    UVMF_TLB_FLUSH = 1;
    UVMF_INVLPG = 2;
    UVMF_FLUSHTYPE_MASK = 3;
    UVMF_MULTI = 0;
    UVMF_LOCAL = 0;
    UVMF_ALL = 4;
}

consts! { u32:
    MMUEXT_PIN_L1_TABLE = 0;
    MMUEXT_PIN_L2_TABLE = 1;
    MMUEXT_PIN_L3_TABLE = 2;
    MMUEXT_PIN_L4_TABLE = 3;
    MMUEXT_UNPIN_TABLE = 4;
    MMUEXT_NEW_BASEPTR = 5;
    MMUEXT_TLB_FLUSH_LOCAL = 6;
    MMUEXT_INVLPG_LOCAL = 7;
    MMUEXT_TLB_FLUSH_MULTI = 8;
    MMUEXT_INVLPG_MULTI = 9;
    MMUEXT_TLB_FLUSH_ALL = 10;
    MMUEXT_INVLPG_ALL = 11;
    MMUEXT_FLUSH_CACHE = 12;
    MMUEXT_SET_LDT = 13;
    MMUEXT_NEW_USER_BASEPTR = 15;
    MMUEXT_CLEAR_PAGE = 16;
    MMUEXT_COPY_PAGE = 17;
    MMUEXT_FLUSH_CACHE_GLOBAL = 18;
    MMUEXT_MARK_SUPER = 19;
    MMUEXT_UNMARK_SUPER = 20;
    CONSOLEIO_write = 0;
    CONSOLEIO_read = 1;
    VMASST_CMD_enable = 0;
    VMASST_CMD_disable = 1;
    VMASST_TYPE_4gb_segments = 0;
    VMASST_TYPE_4gb_segments_notify = 1;
    VMASST_TYPE_writable_pagetables = 2;
    VMASST_TYPE_pae_extended_cr3 = 3;
    VMASST_TYPE_architectural_iopl = 4;
    VMASST_TYPE_runstate_update_flag = 5;
    VMASST_TYPE_m2p_strict = 32;
    SIF_PRIVILEGED = 1 << 0;
    SIF_INITDOMAIN = 1 << 1;
    SIF_MULTIBOOT_MOD = 1 << 2;
    SIF_MOD_START_PFN = 1 << 3;
    SIF_VIRT_P2M_4TOOLS = 1 << 4;
    SIF_PM_MASK = 0xff << 8;
}

/// The latest interface version of these headers (Xen 4.17 names it 4.14).
pub const __XEN_LATEST_INTERFACE_VERSION__: u32 = 0x0004_0e00;

consts! { domid_t:
    DOMID_FIRST_RESERVED = 0x7ff0;
    /// The caller.
    DOMID_SELF = 0x7ff0;
    /// Owner of I/O memory.
    DOMID_IO = 0x7ff1;
    /// Owner of frames the hypervisor shares.
    DOMID_XEN = 0x7ff2;
    DOMID_COW = 0x7ff3;
    DOMID_INVALID = 0x7ff4;
    DOMID_IDLE = 0x7fff;
    DOMID_MASK = 0x7fff;
}

consts! { u8:
    XEN_PVCLOCK_TSC_STABLE_BIT = 1 << 0;
    XEN_PVCLOCK_GUEST_STOPPED = 1 << 1;
    XEN_VGATYPE_TEXT_MODE_3 = 0x03;
    XEN_VGATYPE_VESA_LFB = 0x23;
    XEN_VGATYPE_EFI_LFB = 0x70;
}

consts! { usize:
    /// Length of `start_info.cmd_line`, the final zero included.
    MAX_GUEST_CMDLINE = 1024;
    /// Number of `vcpu_info` slots in the shared page; later vcpus must register theirs.
    XEN_LEGACY_MAX_VCPUS = 32;
}

/// What `start_info.magic` holds for a 64-bit paravirtual guest, zero-filled to 32 bytes.
pub const XEN_START_INFO_MAGIC: &[u8; 14] = b"xen-3.0-x86_64";

structs! {
    /// One request of `mmu_update`: machine address of an entry with the command in its low bits, and the new value.
    struct mmu_update {
        ptr: u64,
        val: u64,
    }

    /// One request of `mmuext_op`.
    struct mmuext_op {
        cmd: u32,
        _pad: u32,
        /// The union `arg1`: `mfn`, or `linear_addr`.
        arg1: u64,
        /// The union `arg2`: `nr_ents` (low 32 bits), the handle `vcpumask`, or `src_mfn`.
        arg2: u64,
    }

    /// One call of a multicall; `result` is written back.
    struct multicall_entry {
        op: u64,
        result: u64,
        args: [u64; 6],
    }

    /// Clock parameters of one vcpu; `version` is odd while they change.
    struct vcpu_time_info {
        version: u32,
        pad0: u32,
        tsc_timestamp: u64,
        /// Nanoseconds since boot at `tsc_timestamp`.
        system_time: u64,
        /// Nanoseconds per shifted TSC tick, as a 0.32 fraction.
        tsc_to_system_mul: u32,
        tsc_shift: i8,
        flags: u8,
        pad1: [u8; 2],
    }

    /// The architecture's part of [`vcpu_info`].
    struct arch_vcpu_info {
        cr2: u64,
        pad: u64,
    }

    /// A vcpu's event and clock state, shared with the guest, which writes to it at any time: the hypervisor uses
    /// atomics at the offsets `VCPU_INFO_*`.
    struct vcpu_info {
        evtchn_upcall_pending: u8,
        evtchn_upcall_mask: u8,
        _pad: [u8; 6],
        evtchn_pending_sel: u64,
        arch: arch_vcpu_info,
        time: vcpu_time_info,
    }

    /// The architecture's part of [`shared_info`] (`public/arch-x86/xen.h`).
    struct arch_shared_info {
        max_pfn: u64,
        pfn_to_mfn_frame_list_list: u64,
        nmi_reason: u64,
        p2m_cr3: u64,
        p2m_vaddr: u64,
        p2m_generation: u64,
    }

    /// The page a domain shares with the hypervisor; both write to it: see the offsets `SHARED_INFO_*`.
    struct shared_info {
        vcpu_info: [vcpu_info; XEN_LEGACY_MAX_VCPUS],
        evtchn_pending: [u64; 64],
        evtchn_mask: [u64; 64],
        wc_version: u32,
        /// Wall clock of system time zero, seconds since 1970, low half.
        wc_sec: u32,
        wc_nsec: u32,
        wc_sec_hi: u32,
        arch: arch_shared_info,
    }

    /// The wall-clock words of [`shared_info`], together.
    struct wall_clock {
        version: u32,
        sec: u32,
        nsec: u32,
        sec_hi: u32,
    }

    /// What a guest finds at RSI when it starts.
    struct start_info {
        magic: [u8; 32],
        nr_pages: u64,
        /// Machine address of the shared page.
        shared_info: u64,
        flags: u32,
        _pad0: u32,
        store_mfn: u64,
        store_evtchn: u32,
        _pad1: u32,
        console: start_info_console,
        /// Virtual address of the boot L4 table.
        pt_base: u64,
        nr_pt_frames: u64,
        /// Virtual address of the list from frame to machine frame.
        mfn_list: u64,
        /// Virtual address, or PFN with `SIF_MOD_START_PFN`, of the initrd.
        mod_start: u64,
        mod_len: u64,
        cmd_line: [u8; MAX_GUEST_CMDLINE],
        first_p2m_pfn: u64,
        nr_p2m_frames: u64,
    }

    /// The union `console` of [`start_info`]: two words whose meaning depends on the domain.
    struct start_info_console {
        /// `domU.mfn`; in Dom0 `dom0.info_off` (low half, bytes from `start_info`) and `dom0.info_size` (high half).
        word: u64,
        /// `domU.evtchn`; unused in Dom0.
        evtchn: u32,
        _pad: u32,
    }

    /// One module in a list with `SIF_MULTIBOOT_MOD`.
    struct xen_multiboot_mod_list {
        mod_start: u32,
        mod_end: u32,
        cmdline: u32,
        pad: u32,
    }

    /// The video mode that Dom0 finds behind its `start_info`.
    struct dom0_vga_console_info {
        video_type: u8,
        _pad: [u8; 3],
        /// The union `u`: bytes of [`vga_text_mode_3`] or [`vga_vesa_lfb`].
        u: [u8; 36],
    }

    /// `dom0_vga_console_info.u.text_mode_3`.
    struct vga_text_mode_3 {
        font_height: u16,
        cursor_x: u16,
        cursor_y: u16,
        rows: u16,
        columns: u16,
    }

    /// `dom0_vga_console_info.u.vesa_lfb`.
    struct vga_vesa_lfb {
        width: u16,
        height: u16,
        bytes_per_line: u16,
        bits_per_pixel: u16,
        lfb_base: u32,
        lfb_size: u32,
        red_pos: u8,
        red_size: u8,
        green_pos: u8,
        green_size: u8,
        blue_pos: u8,
        blue_size: u8,
        rsvd_pos: u8,
        rsvd_size: u8,
        gbl_caps: u32,
        mode_attrs: u16,
        pad: u16,
        ext_lfb_base: u32,
    }

    /// A bitmap of CPUs or nodes in the caller's memory.
    struct xenctl_bitmap {
        /// Handle of the bytes.
        bitmap: u64,
        nr_bits: u32,
        _pad: u32,
    }
}

consts! { usize:
    /// Offsets in [`vcpu_info`], for atomic access.
    VCPU_INFO_UPCALL_PENDING = 0;
    VCPU_INFO_UPCALL_MASK = 1;
    VCPU_INFO_PENDING_SEL = 8;
    VCPU_INFO_CR2 = 16;
    VCPU_INFO_TIME = 32;
    VCPU_INFO_SIZE = 64;
    /// Offsets in [`shared_info`], for atomic access.
    SHARED_INFO_VCPU_INFO = 0;
    SHARED_INFO_EVTCHN_PENDING = 2048;
    SHARED_INFO_EVTCHN_MASK = 2560;
    SHARED_INFO_WC_VERSION = 3072;
    SHARED_INFO_WC_SEC = 3076;
    SHARED_INFO_WC_NSEC = 3080;
    SHARED_INFO_WC_SEC_HI = 3084;
    SHARED_INFO_ARCH = 3088;
    SHARED_INFO_ARCH_NMI_REASON = SHARED_INFO_ARCH + 16;
    /// Offset of `flags` in [`vcpu_time_info`].
    VCPU_TIME_FLAGS = 29;
}
