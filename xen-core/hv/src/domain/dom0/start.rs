//! What Dom0 is told at its start: start_info, the first registers, the hypercall page.

use super::image::Kernel;
use super::memory::Memory;
use crate::mm::frame::Mfn;
use crate::mm::layout::PAGE_SIZE;
use alloc::boxed::Box;
use core::mem::size_of;
use xen_abi::*;
use xen_logic::dom0_layout::Layout;
use xen_logic::hypercall_page;
use zerocopy::{FromZeros, IntoBytes};

/// The screen as a PC's firmware leaves it.
fn text_mode() -> dom0_vga_console_info {
    let mut info = dom0_vga_console_info::new_zeroed();
    info.video_type = XEN_VGATYPE_TEXT_MODE_3;
    let mode = vga_text_mode_3 {
        font_height: 16,
        cursor_x: 0,
        cursor_y: 0,
        rows: 25,
        columns: 80,
    };
    info.u[..size_of::<vga_text_mode_3>()].copy_from_slice(mode.as_bytes());
    info
}

/// Writes the start_info page, the console's description behind it.
pub(super) fn write_start_info(memory: &Memory, layout: &Layout, shared_info: Mfn, initrd_len: u64, command: &str) {
    let vga = text_mode();
    let info_off = size_of::<start_info>() as u64;
    let mut info = start_info::new_zeroed();
    info.magic[..XEN_START_INFO_MAGIC.len()].copy_from_slice(XEN_START_INFO_MAGIC);
    info.nr_pages = memory.nr_pages;
    info.shared_info = shared_info.maddr();
    info.flags = SIF_PRIVILEGED | SIF_INITDOMAIN;
    info.console.word = info_off | (size_of_val(&vga) as u64) << 32;
    info.pt_base = layout.va(layout.tables.pfn);
    info.nr_pt_frames = layout.tables.count;
    info.mfn_list = layout.p2m_va;
    if layout.p2m_tables.count != 0 {
        info.first_p2m_pfn = layout.p2m.pfn;
        info.nr_p2m_frames = layout.p2m.count + layout.p2m_tables.count;
    }
    if initrd_len != 0 {
        info.mod_len = initrd_len;
        info.mod_start = layout.va(layout.initrd.pfn);
        if !layout.initrd_mapped {
            info.mod_start = layout.initrd.pfn;
            info.flags |= SIF_MOD_START_PFN;
        }
    }
    let len = command.len().min(MAX_GUEST_CMDLINE - 1);
    if len < command.len() {
        log::warn!("Dom0's command line is cut after {len} bytes");
    }
    info.cmd_line[..len].copy_from_slice(&command.as_bytes()[..len]);
    let at = layout.start_info.pfn * PAGE_SIZE;
    memory.clear(at, PAGE_SIZE);
    memory.write(at, info.as_bytes());
    memory.write(at + info_off, vga.as_bytes());
}

/// Writes the hypercall stubs to the page at pseudo-physical address `at`.
pub(super) fn write_hypercall_page(memory: &Memory, at: u64) {
    let mut page = Box::new([0; 4096]);
    hypercall_page::fill(&mut page);
    memory.write(at & !(PAGE_SIZE - 1), &page[..]);
}

/// The context that vcpu 0 starts with: in the guest kernel, events masked, start_info in rsi.
pub(super) fn first_context(kernel: &Kernel, layout: &Layout, root: Mfn) -> Box<vcpu_guest_context> {
    let mut context: Box<vcpu_guest_context> = Box::new(FromZeros::new_zeroed());
    /// `VGCF_in_kernel`.
    const IN_KERNEL: u64 = 1 << 2;
    context.flags = IN_KERNEL;
    context.user_regs.rip = kernel.notes.entry;
    context.user_regs.rsi = layout.va(layout.start_info.pfn);
    context.user_regs.rsp = layout.va(layout.stack.end());
    context.ctrlreg[3] = root.maddr();
    context
}
