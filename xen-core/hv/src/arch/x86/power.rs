//! The end of the machine's run: power off by ACPI, and reset by whatever works.

use super::{pci_config, port};
use crate::mm::paging::{Cache, map_vmap};
use crate::sync::Once;
use core::arch::asm;
use xen_logic::acpi::{self, Fadt, Register};
use xen_logic::pci::Sbdf;
use xen_logic::sleep_type;

/// Bits of a PM1 control register: which sleep.
const SLEEP_TYPE: u16 = 7 << 10;
/// Bit that starts the sleep.
const SLEEP_ENABLE: u16 = 1 << 13;
/// A definition block longer than this is not looked at.
const MAX_DSDT: usize = 16 << 20;

static FADT: Once<Fadt> = Once::new();

/// Remembers where power management is done; once. Without it, only the old ways to reset are left.
pub fn init(fadt: &Fadt) {
    FADT.call_once(|| *fadt);
}

/// Enters S5 with the values that Dom0's ACPI code wants in the PM1 control registers; comes back if the machine
/// goes on running, or has no such registers.
pub fn enter_s5(value_a: u16, value_b: u16) {
    let Some(fadt) = FADT.get() else { return };
    let values = [value_a, value_b];
    let registers = || fadt.pm1_control.iter().zip(values).filter(|(port, _)| **port != 0);
    // SAFETY: the firmware's sleep registers, written to switch the machine off: nothing is relied on after that.
    unsafe {
        asm!("wbinvd", options(nostack, preserves_flags));
        // Type and start are written apart, as some chipsets want it.
        for (port, value) in registers() {
            port::write(*port, 2, (value & !SLEEP_ENABLE) as u32);
        }
        for (port, value) in registers() {
            port::write(*port, 2, (value | SLEEP_ENABLE) as u32);
        }
    }
    wait_ms(100);
}

/// Switches the machine off; stays here, halted, where that is not possible.
pub fn off() -> ! {
    if let Some(fadt) = FADT.get()
        && let Some(sleep) = find_sleep_type(fadt)
    {
        let value = |port: u16, sleep_type: u8| {
            let old = match port {
                0 => 0,
                // SAFETY: reading a PM1 control register changes nothing.
                port => unsafe { port::read(port, 2) as u16 },
            };
            old & !(SLEEP_TYPE | SLEEP_ENABLE) | (sleep_type as u16) << 10
        };
        let [a, b] = fadt.pm1_control;
        enter_s5(value(a, sleep.a), value(b, sleep.b));
    }
    log::error!("The machine cannot be switched off; halted.");
    halt()
}

/// The values for S5 in the machine's definition block.
fn find_sleep_type(fadt: &Fadt) -> Option<sleep_type::SleepType> {
    if fadt.dsdt == 0 {
        return None;
    }
    let (_, len) = acpi::header(&firmware_bytes(fadt.dsdt, acpi::HEADER_LEN))?;
    sleep_type::find_s5(&firmware_bytes(fadt.dsdt, len.min(MAX_DSDT)))
}

/// A copy of firmware's bytes.
fn firmware_bytes(address: u64, len: usize) -> alloc::vec::Vec<u8> {
    let from = map_vmap(address, len, Cache::WriteBack);
    // SAFETY: just mapped, for `len` bytes; each byte is read once, and nothing is assumed of it.
    (0..len).map(|i| unsafe { from.add(i).read_volatile() }).collect()
}

/// Resets the machine: by ACPI's register, the chipset's, the keyboard controller's, and at last by a triple fault.
pub fn reboot() -> ! {
    if let Some((register, value)) = FADT.get().and_then(|f| f.reset) {
        write_register(register, value);
        wait_ms(50);
    }
    // SAFETY: resets the machine; nothing is relied on after that.
    unsafe {
        let old = port::read(0xcf9, 1) & !6;
        port::write(0xcf9, 1, old | 2);
        port::write(0xcf9, 1, old | 6);
        wait_ms(50);
        for _ in 0..10 {
            port::write(0x64, 1, 0xfe);
            wait_ms(5);
        }
        let no_idt = [0u8; 10];
        asm!("lidt [{}]", "int3", in(reg) &no_idt, options(nostack));
    }
    halt()
}

/// Writes the reset register.
fn write_register(register: Register, value: u8) {
    match register.space {
        0 => {
            let at = map_vmap(register.address, 1, Cache::Uncached);
            // SAFETY: the firmware names this as the register that resets the machine.
            unsafe { at.write_volatile(value) };
        }
        // SAFETY: as above.
        1 => unsafe { port::write(register.address as u16, 1, value as u32) },
        2 => {
            // Device, function and offset stand in 16 bits each, on bus 0.
            let (device, function) = ((register.address >> 32) as u8, (register.address >> 16) as u8);
            let at = Sbdf::new(0, 0, (device & 31) << 3 | function & 7);
            // SAFETY: as above.
            unsafe { pci_config::write(at, register.address as u16 & 0xff, 1, value as u32) };
        }
        _ => {}
    }
}

/// Waits about so many milliseconds, by a port whose writes take about a microsecond on any PC: clocks may be
/// what has failed.
fn wait_ms(ms: u32) {
    for _ in 0..ms * 1000 {
        // SAFETY: the diagnostic port has no effect.
        unsafe { port::write(0x80, 1, 0) };
    }
}

/// Stops this CPU for good.
pub fn halt() -> ! {
    loop {
        // SAFETY: nothing wakes it but an NMI, which comes back here.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
