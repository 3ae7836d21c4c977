//! Builds Dom0 out of the boot modules: kernel and initrd.
//!
//! `xen_logic::dom0_layout` decides where everything stands; here it is put there. The first page tables are built in
//! the domain's own frames and then validated like any guest's, so nothing here can break the page types.

mod error;
mod image;
mod memory;
mod start;
mod tables;

pub use error::BuildError;

use super::{Config, Domain, Vcpu};
use crate::boot::{self, Module};
use crate::mm::frame::{Mfn, Type};
use crate::mm::layout::MAX_VCPUS;
use crate::mm::typing::{self, Budget, Fail};
use crate::{event, mm, sched};
use alloc::sync::Arc;
use image::Kernel;
use memory::Memory;
use xen_abi::Errno;
use xen_logic::dom0_layout::{Layout, Request};
use xen_logic::frame::cells;

/// Dom0's number.
const DOM0: u16 = 0;

/// Builds Dom0, ready to run: its first vcpu has only to be scheduled.
///
/// # Errors
/// What is wrong with the modules or with the options; Dom0 then does not exist.
pub fn build() -> Result<Arc<Domain>, BuildError> {
    let modules = boot::modules();
    let kernel_module = modules.first().ok_or(BuildError::NoModule)?;
    let kernel = Kernel::load(kernel_module)?;
    let initrd = modules.get(1);
    let free = mm::alloc::free_frames();
    let sizes = boot::options().dom0_mem.sizes(free).map_err(BuildError::Memory)?;
    let layout = compute_layout(&kernel, initrd, sizes.pages)?;

    let vcpus = vcpu_count();
    // No limit was asked for: as on Xen, the largest number of pages that fits 32 bits.
    let max_pages = sizes.max_pages.unwrap_or(u32::MAX.into());
    let domain =
        super::create(DOM0, &Config::hardware(vcpus, max_pages)).map_err(|e| BuildError::Failed("creating Dom0", e))?;
    for id in 0..vcpus {
        domain
            .add_vcpu(id)
            .map_err(|e| BuildError::Failed("creating its vcpus", e))?;
    }
    let shared_info = event::shared_info_frame(&domain).ok_or(BuildError::NoMemory("its shared page"))?;
    let memory = Memory::allocate(&domain, sizes.pages)?;
    log::info!("Dom0 has {} MiB and {vcpus} vcpus", sizes.pages >> 8);
    let command = kernel_module.cmdline;
    fill(&memory, &kernel, initrd, &layout, shared_info, command)?;
    start_vcpu(&domain, &memory, &kernel, &layout)?;
    Ok(domain)
}

/// As many vcpus as there are CPUs, unless `dom0_max_vcpus=` says otherwise.
fn vcpu_count() -> u32 {
    let (cpus, limit) = (crate::arch::x86::smp::cpu_count() as u32, MAX_VCPUS as u32);
    boot::options()
        .dom0_max_vcpus
        .map_or(cpus.min(limit), |range| range.choose(cpus, limit))
}

fn compute_layout(kernel: &Kernel, initrd: Option<&Module>, nr_pages: u64) -> Result<Layout, BuildError> {
    let request = Request {
        virt_base: kernel.notes.virt_base,
        kernel_end: kernel.virtual_end()?,
        init_p2m: kernel.notes.init_p2m,
        mod_start_pfn: kernel.notes.mod_start_pfn,
        initrd_len: initrd.map_or(0, |module| module.len),
        nr_pages,
    };
    let layout = Layout::compute(&request).map_err(BuildError::Layout)?;
    log::debug!("Dom0 layout: {layout:x?}");
    Ok(layout)
}

/// Writes everything that the domain finds in its memory.
fn fill(
    memory: &Memory,
    kernel: &Kernel,
    initrd: Option<&Module>,
    layout: &Layout,
    shared_info: Mfn,
    command: &str,
) -> Result<(), BuildError> {
    kernel.place(memory)?;
    if let Some(module) = initrd {
        memory.write(layout.initrd.pfn << 12, image::module_bytes(module));
    }
    memory.write_p2m(layout.p2m.pfn);
    start::write_start_info(memory, layout, shared_info, initrd.map_or(0, |m| m.len), command);
    if let Some(va) = kernel.notes.hypercall_page {
        start::write_hypercall_page(memory, kernel.physical(va)?);
    }
    tables::build(memory, layout);
    Ok(())
}

/// Has the tables validated, and gives vcpu 0 its first registers.
fn start_vcpu(domain: &Domain, memory: &Memory, kernel: &Kernel, layout: &Layout) -> Result<(), BuildError> {
    let root: Mfn = memory.mfn(layout.tables.pfn);
    pin(domain, root).map_err(|e| BuildError::Failed("validating its page tables", e))?;
    let vcpu: &'static Vcpu = domain.vcpu(0).ok_or(BuildError::NoMemory("its first vcpu"))?;
    let context = start::first_context(kernel, layout, root);
    super::vcpu_initialise(vcpu, &context).map_err(|e| BuildError::Failed("starting its first vcpu", e))?;
    super::set_upcall_mask(vcpu, 1);
    sched::up(vcpu);
    Ok(())
}

/// Pins the L4 table: the guest unpins it when it has its own.
fn pin(domain: &Domain, root: Mfn) -> Result<(), Errno> {
    let table = typing::ram(root.0)?;
    typing::acquire(table, Type::L4, domain, false, &mut Budget::unlimited()).map_err(Fail::errno)?;
    // The use is the pin's now.
    if cells::pin(table) { Ok(()) } else { Err(Errno::EBUSY) }
}
