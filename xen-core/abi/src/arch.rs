//! x86_64's part of the interface (`public/arch-x86/xen.h`, `xen-x86_64.h`, `cpuid.h`): registers, selectors,
//! traps, the address-space hole, the hypervisor's CPUID leaves.
#![allow(missing_docs)]

consts! { u16:
    FLAT_RING3_CS32 = 0xe023;
    FLAT_RING3_CS64 = 0xe033;
    FLAT_RING3_DS32 = 0xe02b;
    FLAT_RING3_DS64 = 0;
    FLAT_RING3_SS32 = 0xe02b;
    FLAT_RING3_SS64 = 0xe02b;
    FLAT_KERNEL_DS = FLAT_RING3_DS64;
    FLAT_KERNEL_CS = FLAT_RING3_CS64;
    FLAT_KERNEL_SS = FLAT_RING3_SS64;
    FLAT_USER_DS = FLAT_RING3_DS64;
    FLAT_USER_CS64 = FLAT_RING3_CS64;
    FLAT_USER_CS32 = FLAT_RING3_CS32;
    FLAT_USER_SS = FLAT_RING3_SS64;
}

consts! { u64:
    /// The hole that belongs to the hypervisor in every guest address space.
    HYPERVISOR_VIRT_START = 0xffff_8000_0000_0000;
    HYPERVISOR_VIRT_END = 0xffff_8800_0000_0000;
    /// The read-only table from machine frame to guest frame.
    MACH2PHYS_VIRT_START = 0xffff_8000_0000_0000;
    MACH2PHYS_VIRT_END = 0xffff_8040_0000_0000;
    MACH2PHYS_NR_ENTRIES = (MACH2PHYS_VIRT_END - MACH2PHYS_VIRT_START) >> 3;
    /// Flags of `vcpu_guest_context.flags` and of the iret frame.
    VGCF_i387_valid = 1 << 0;
    VGCF_in_kernel = 1 << 2;
    VGCF_failsafe_disables_events = 1 << 3;
    VGCF_syscall_disables_events = 1 << 4;
    VGCF_online = 1 << 5;
    VGCF_in_syscall = 1 << 8;
    /// Flags of NMI reasons in `arch_shared_info.nmi_reason` (`public/nmi.h`).
    XEN_NMIREASON_io_error = 1 << 0;
    XEN_NMIREASON_pci_serr = 1 << 1;
    XEN_NMIREASON_unknown = 1 << 2;
}

consts! { u32:
    SEGBASE_FS = 0;
    SEGBASE_GS_USER = 1;
    SEGBASE_GS_KERNEL = 2;
    SEGBASE_GS_USER_SEL = 3;
    XEN_CPUID_NO_SUBLEAF = 0xffff_ffff;
    XEN_CPUID_FIRST_LEAF = 0x4000_0000;
    XEN_CPUID_SIGNATURE_EBX = 0x566e_6558;
    XEN_CPUID_SIGNATURE_ECX = 0x6558_4d4d;
    XEN_CPUID_SIGNATURE_EDX = 0x4d4d_566e;
    XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD = 1 << 0;
    XEN_CPUID_MACHINE_ADDRESS_WIDTH_MASK = 0xff;
    XEN_CPUID_MAX_NUM_LEAVES = 5;
    XEN_X86_EMU_LAPIC = 1 << 0;
    XEN_X86_EMU_HPET = 1 << 1;
    XEN_X86_EMU_PM = 1 << 2;
    XEN_X86_EMU_RTC = 1 << 3;
    XEN_X86_EMU_IOAPIC = 1 << 4;
    XEN_X86_EMU_PIC = 1 << 5;
    XEN_X86_EMU_VGA = 1 << 6;
    XEN_X86_EMU_IOMMU = 1 << 7;
    XEN_X86_EMU_PIT = 1 << 8;
    XEN_X86_EMU_USE_PIRQ = 1 << 9;
    XEN_X86_EMU_VPCI = 1 << 10;
    XEN_X86_EMU_ALL = 0x7ff;
    XEN_X86_MSR_RELAXED = 1 << 0;
    XEN_X86_MISC_FLAGS_MAX = XEN_X86_MSR_RELAXED;
    /// `nmi_op` commands (`public/nmi.h`).
    XENNMI_register_callback = 0;
    XENNMI_unregister_callback = 1;
}

consts! { usize:
    /// GDT pages from this one on are the hypervisor's.
    FIRST_RESERVED_GDT_PAGE = 14;
    FIRST_RESERVED_GDT_BYTE = FIRST_RESERVED_GDT_PAGE * 4096;
    FIRST_RESERVED_GDT_ENTRY = FIRST_RESERVED_GDT_BYTE / 8;
}

/// The bytes `ud2; "xen"` that ask for emulation of the `cpuid` behind them.
pub const XEN_EMULATE_PREFIX: [u8; 5] = [0x0f, 0x0b, b'x', b'e', b'n'];

/// Bits of [`trap_info`]'s `flags`: privilege level allowed to use `int`, and whether events are masked on entry.
pub const TI_DPL_MASK: u8 = 3;
/// See [`TI_DPL_MASK`].
pub const TI_IF: u8 = 4;

structs! {
    /// One entry of `set_trap_table`; a zero `address` ends the list.
    struct trap_info {
        vector: u8,
        flags: u8,
        cs: u16,
        _pad: u32,
        address: u64,
    }

    /// The frame that the `iret` hypercall takes from the guest's kernel stack.
    struct iret_context {
        rax: u64,
        r11: u64,
        rcx: u64,
        flags: u64,
        rip: u64,
        cs: u64,
        rflags: u64,
        rsp: u64,
        ss: u64,
    }

    /// A vcpu's general registers.
    struct cpu_user_regs {
        r15: u64,
        r14: u64,
        r13: u64,
        r12: u64,
        rbp: u64,
        rbx: u64,
        r11: u64,
        r10: u64,
        r9: u64,
        r8: u64,
        rax: u64,
        rcx: u64,
        rdx: u64,
        rsi: u64,
        rdi: u64,
        error_code: u32,
        entry_vector: u32,
        rip: u64,
        cs: u16,
        _pad0: u16,
        saved_upcall_mask: u8,
        _pad1: [u8; 3],
        rflags: u64,
        rsp: u64,
        ss: u16,
        _pad2: [u16; 3],
        es: u16,
        _pad3: [u16; 3],
        ds: u16,
        _pad4: [u16; 3],
        fs: u16,
        _pad5: [u16; 3],
        gs: u16,
        _pad6: [u16; 3],
    }

    /// A vcpu's whole state, for `VCPUOP_initialise` and `setvcpucontext`.
    struct vcpu_guest_context {
        /// FXSAVE image, valid with `VGCF_i387_valid`.
        fpu_ctxt: [u8; 512],
        flags: u64,
        user_regs: cpu_user_regs,
        trap_ctxt: [trap_info; 256],
        ldt_base: u64,
        ldt_ents: u64,
        /// Machine frames of the GDT.
        gdt_frames: [u64; 16],
        gdt_ents: u64,
        kernel_ss: u64,
        kernel_sp: u64,
        /// CR0 to CR7; `ctrlreg[3]` holds the kernel's page table, `ctrlreg[1]` the user's.
        ctrlreg: [u64; 8],
        debugreg: [u64; 8],
        event_callback_eip: u64,
        failsafe_callback_eip: u64,
        syscall_callback_eip: u64,
        vm_assist: u64,
        fs_base: u64,
        gs_base_kernel: u64,
        gs_base_user: u64,
    }

    /// What a domain is created with on x86.
    struct xen_arch_domainconfig {
        emulation_flags: u32,
        misc_flags: u32,
    }

    /// One CPUID leaf of a policy.
    struct xen_cpuid_leaf {
        leaf: u32,
        subleaf: u32,
        a: u32,
        b: u32,
        c: u32,
        d: u32,
    }

    /// One MSR of a policy.
    struct xen_msr_entry {
        idx: u32,
        flags: u32,
        val: u64,
    }

    /// `XENNMI_register_callback`.
    struct xennmi_callback {
        handler_address: u64,
        pad: u64,
    }

    /// An entry of the E820 memory map as `XENMEM_memory_map` gives it: packed, 20 bytes.
    struct e820entry {
        addr: [u32; 2],
        size: [u32; 2],
        typ: u32,
    }
}

impl e820entry {
    /// An entry for the bytes from `addr` on.
    pub fn new(addr: u64, size: u64, typ: u32) -> Self {
        let halves = |word: u64| [word as u32, (word >> 32) as u32];
        e820entry {
            addr: halves(addr),
            size: halves(size),
            typ,
        }
    }

    /// Address of the first byte.
    pub fn start(&self) -> u64 {
        u64::from(self.addr[0]) | u64::from(self.addr[1]) << 32
    }

    /// Number of bytes.
    pub fn len(&self) -> u64 {
        u64::from(self.size[0]) | u64::from(self.size[1]) << 32
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The machine address that CR3 holds for a table's frame.
pub fn xen_pfn_to_cr3(pfn: u64) -> u64 {
    pfn << 12
}

/// The table's frame from a CR3 value; the low bits are dropped.
pub fn xen_cr3_to_pfn(cr3: u64) -> u64 {
    cr3 >> 12
}
