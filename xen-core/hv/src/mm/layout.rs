//! The hypervisor's hole in every address space: L4 slots 256 to 271 (`arch-x86/xen-x86_64.h`).

/// First byte of the hole.
pub const HOLE_START: u64 = 0xffff_8000_0000_0000;
/// First byte after the hole.
pub const HOLE_END: u64 = 0xffff_8800_0000_0000;
/// First L4 slot of the hole.
pub const HOLE_FIRST_SLOT: usize = 256;
/// Last L4 slot of the hole.
pub const HOLE_LAST_SLOT: usize = 271;

/// Machine-to-physical table, read-only for guests (slot 256).
pub const M2P_RO: u64 = 0xffff_8000_0000_0000;
/// First byte after the guest's view of the machine-to-physical table.
pub const M2P_RO_END: u64 = 0xffff_8040_0000_0000;
/// Per-domain area: the GDT and LDT window of each vcpu (slot 260, a different L3 in each domain).
pub const PERDOMAIN: u64 = 0xffff_8200_0000_0000;
/// L4 slot of the per-domain area.
pub const PERDOMAIN_SLOT: usize = 260;
/// The hypervisor's writable view of the machine-to-physical table (slot 261 from here on).
pub const M2P_RW: u64 = 0xffff_8280_0000_0000;
/// Device memory mapped for the hypervisor.
pub const VMAP: u64 = 0xffff_82c0_0000_0000;
/// First byte after the device mappings.
pub const VMAP_END: u64 = 0xffff_82d0_0000_0000;
/// Link address of the image; the linker script says the same.
pub const IMAGE: u64 = 0xffff_82d0_4000_0000;
/// Per-CPU stacks, one [`STACK_STRIDE`] apart.
pub const STACKS: u64 = 0xffff_82d0_8000_0000;
/// Distance between two CPUs' stack areas, guard pages included; areas are aligned to it.
pub const STACK_STRIDE: u64 = 128 << 10;
/// Frame table: one entry for each machine frame of RAM.
pub const FRAME_TABLE: u64 = 0xffff_82e0_0000_0000;
/// Direct map of all RAM: machine address 0 stands here.
pub const DIRECTMAP: u64 = 0xffff_8300_0000_0000;
/// First byte after the room for the direct map (5 TiB).
pub const DIRECTMAP_END: u64 = 0xffff_8800_0000_0000;

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;

/// Most CPUs the image has room for.
pub const NR_CPUS: usize = 64;
/// Most vcpus of one domain.
pub const MAX_VCPUS: usize = 128;

/// Pages of the per-domain area that belong to one vcpu: 16 of GDT, then 16 of LDT.
pub const VCPU_WINDOW_PAGES: u64 = 32;

/// Where vcpu `id`'s GDT stands in its domain's address spaces.
pub const fn gdt_window(id: u32) -> u64 {
    PERDOMAIN + id as u64 * VCPU_WINDOW_PAGES * PAGE_SIZE
}

/// Where vcpu `id`'s LDT stands in its domain's address spaces.
pub const fn ldt_window(id: u32) -> u64 {
    gdt_window(id) + 16 * PAGE_SIZE
}
