//! The hypervisor's rules without its hardware.
//!
//! Everything here is a pure function or a plain data structure: no assembly, no unsafe code, tested on the host.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;
pub mod acpi;
pub mod bzimage;
pub mod cmdline;
pub mod dom0_layout;
pub mod dom0_mem;
pub mod e820;
pub mod early_alloc;
pub mod elf;
pub mod multiboot;
pub mod xen_notes;
pub mod unpack;
pub mod interrupt_line;
pub mod pci;
pub mod port_policy;
pub mod rangeset;
pub mod rtc;
pub mod sharers;
pub mod sleep_type;
pub mod vectors;
pub mod cpuid;
pub mod decode;
pub mod msr;
pub mod buddy;
pub mod descriptor;
pub mod frame;
pub mod pte;
pub mod hypercall_page;
pub mod speaker;
pub mod time;
pub mod evtchn;
pub mod sched;
pub mod timer;
pub mod grant;
