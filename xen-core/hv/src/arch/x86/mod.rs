//! x86-64: all assembly of the hypervisor lives below this module.
pub mod entry;
pub mod extable;
pub mod fpu;
pub mod gdt;
pub mod guest_compat;
pub mod guest_cpu;
pub mod guest_tsc;
pub mod idt;
pub mod percpu;
pub mod regs;
pub mod segment;
pub mod table_scan;
pub mod usercopy;

// Bring-up.
pub mod mailbox;
mod start;

// Devices.
pub mod acpi;
pub mod apic;
pub mod calibrate;
pub mod cpu;
pub mod ioapic;
pub mod pci_config;
pub mod port;
pub mod power;
pub mod rtc;
pub mod runtime;
pub mod smp;
