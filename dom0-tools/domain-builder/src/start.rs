//! What a guest is told at its start: start_info and the first registers.

use alloc::boxed::Box;

use kernel_image::XenNotes;
use xen_abi as abi;
use xen_abi::{start_info, vcpu_guest_context};

use crate::layout::Layout;

/// Interrupts enabled, in rflags: a PV guest always runs so.
const EFLAGS_IF: u64 = 1 << 9;

/// Facts that are known only once the domain has its memory.
pub(crate) struct Facts<'a> {
    pub(crate) pages: u64,
    pub(crate) shared_info_mfn: u64,
    pub(crate) store_mfn: u64,
    pub(crate) store_port: u32,
    pub(crate) console_mfn: u64,
    pub(crate) console_port: u32,
    pub(crate) initrd_len: u64,
    pub(crate) command_line: &'a str,
    pub(crate) flags: u32,
}

/// The start_info page's beginning. The command line must be shorter than `MAX_GUEST_CMDLINE`.
pub(crate) fn fill_start_info(layout: &Layout, notes: &XenNotes, facts: &Facts<'_>) -> Box<start_info> {
    let mut info = Box::<start_info>::default();
    info.magic[..abi::XEN_START_INFO_MAGIC.len()].copy_from_slice(abi::XEN_START_INFO_MAGIC);
    info.nr_pages = facts.pages;
    info.shared_info = facts.shared_info_mfn << 12;
    info.flags = facts.flags;
    info.store_mfn = facts.store_mfn;
    info.store_evtchn = facts.store_port;
    info.console.word = facts.console_mfn;
    info.console.evtchn = facts.console_port;
    info.pt_base = layout.va(layout.tables.pfn);
    info.nr_pt_frames = layout.tables.count;
    info.mfn_list = layout.p2m_va;
    if layout.p2m_tables.count != 0 {
        info.first_p2m_pfn = layout.p2m.pfn;
        info.nr_p2m_frames = layout.p2m.count + layout.p2m_tables.count;
    }
    if facts.initrd_len != 0 {
        info.mod_len = facts.initrd_len;
        if notes.mod_start_pfn {
            info.mod_start = layout.initrd.pfn;
            info.flags |= abi::SIF_MOD_START_PFN;
        } else {
            info.mod_start = layout.va(layout.initrd.pfn);
        }
    }
    info.cmd_line[..facts.command_line.len()].copy_from_slice(facts.command_line.as_bytes());
    info
}

/// The registers of vcpu 0: in the kernel, at its entry, start_info in rsi.
pub(crate) fn first_context(layout: &Layout, notes: &XenNotes, root_mfn: u64) -> Box<vcpu_guest_context> {
    let mut context = Box::<vcpu_guest_context>::default();
    let stack_top = layout.va(layout.stack + 1);
    context.flags = abi::VGCF_in_kernel | abi::VGCF_online;
    context.user_regs.rip = notes.entry;
    context.user_regs.rsp = stack_top;
    context.user_regs.rsi = layout.va(layout.start_info);
    context.user_regs.rflags = EFLAGS_IF;
    context.user_regs.cs = abi::FLAT_KERNEL_CS;
    context.user_regs.ss = abi::FLAT_KERNEL_SS;
    for segment in [
        &mut context.user_regs.ds,
        &mut context.user_regs.es,
        &mut context.user_regs.fs,
        &mut context.user_regs.gs,
    ] {
        *segment = abi::FLAT_KERNEL_DS;
    }
    context.kernel_ss = abi::FLAT_KERNEL_SS.into();
    context.kernel_sp = stack_top;
    context.ctrlreg[3] = abi::xen_pfn_to_cr3(root_mfn);
    context
}
