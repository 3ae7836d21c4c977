//! The hypervisor's rules without its hardware.
//!
//! Everything here is a pure function or a plain data structure: no assembly, no unsafe code, tested on the host.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;
pub mod acpi;
pub mod buddy;
pub mod cmdline;
pub mod cpuid;
pub mod cpupool;
pub mod decode;
pub mod descriptor;
pub mod dom0_layout;
pub mod dom0_mem;
pub mod e820;
pub mod early_alloc;
pub mod evtchn;
pub mod flush_epoch;
pub mod frame;
pub mod grant;
pub mod hypercall_page;
pub mod interrupt_line;
pub mod logdirty;
pub mod msr;
pub mod multiboot;
pub mod page_list;
pub mod pci;
pub mod port_policy;
pub mod pte;
pub mod quiesce;
pub mod rangeset;
pub mod rtc;
pub mod sched;
pub mod sharers;
pub mod slab;
pub mod sleep_type;
pub mod speaker;
pub mod time;
pub mod timer;
pub mod unpack;
pub mod vectors;
pub mod xstate;
