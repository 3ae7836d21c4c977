//! Message interrupts at the device: what is written to MSI capabilities and MSI-X tables.

use crate::arch::x86::pci_config;
use crate::sync::Mutex;
use xen_logic::interrupt_line::MsiMessage;
use xen_logic::pci::{ConfigRead, MSIX_ENABLE, MSIX_MASK_ALL, MsiCap, MsixCap, Sbdf};

/// Reads of one function's configuration space.
pub(super) struct Config(pub(super) Sbdf);

impl ConfigRead for Config {
    fn read(&self, reg: u16, len: u8) -> u32 {
        pci_config::read(self.0, reg, len)
    }
}

/// MSI registers are read, changed and written back: several lines share those of one function.
static CHANGE: Mutex<()> = Mutex::new(());

/// One message of a function's MSI capability.
#[derive(Clone, Copy)]
pub(super) struct MsiSlot {
    /// The function.
    pub(super) function: Sbdf,
    /// Its capability.
    pub(super) cap: MsiCap,
    /// Which of its messages.
    pub(super) index: u8,
    /// Masked? Kept here, to be written again after a reset.
    pub(super) masked: bool,
}

impl MsiSlot {
    /// Masks or unmasks, where the device can.
    pub(super) fn set_masked(&mut self, masked: bool) {
        self.masked = masked;
        let Some(reg) = self.cap.mask_reg() else { return };
        let _change = CHANGE.lock();
        let old = pci_config::read(self.function, reg, 4);
        let bit = 1 << self.index;
        let new = if masked { old | bit } else { old & !bit };
        // SAFETY: mask bits of a message that the hypervisor has set.
        unsafe { pci_config::write(self.function, reg, 4, new) };
    }

    /// Sends the function's messages to another local APIC: one write, since the data stay.
    pub(super) fn set_target(&mut self, apic_id: u8) {
        let address = MsiMessage::new(0, apic_id).address as u32;
        // SAFETY: the address of a local APIC; the data name vectors of the hypervisor's choice.
        unsafe { pci_config::write(self.function, self.cap.address_reg(), 4, address) };
    }

    /// Writes the message and the number of messages: `count` vectors from the first one on.
    pub(super) fn program(&self, message: MsiMessage, count: u8) {
        let (f, cap) = (self.function, &self.cap);
        let _change = CHANGE.lock();
        let control = pci_config::read(f, cap.control_reg(), 2) & !(7 << 4) | count.trailing_zeros() << 4;
        // SAFETY: the message raises a device vector that the hypervisor has taken for this function.
        unsafe {
            pci_config::write(f, cap.address_reg(), 4, message.address as u32);
            if let Some(reg) = cap.address_high_reg() {
                pci_config::write(f, reg, 4, (message.address >> 32) as u32);
            }
            pci_config::write(f, cap.data_reg(), 2, message.data);
            pci_config::write(f, cap.control_reg(), 2, control);
        }
    }

    /// Switches the capability on or off.
    pub(super) fn set_enabled(&self, on: bool) {
        let _change = CHANGE.lock();
        let control = pci_config::read(self.function, self.cap.control_reg(), 2) & !1 | on as u32;
        // SAFETY: a message that is switched on has been set by `program`.
        unsafe { pci_config::write(self.function, self.cap.control_reg(), 2, control) };
    }
}

/// One entry of a function's MSI-X table, by its address in the hypervisor's mapping.
#[derive(Clone, Copy)]
pub(super) struct MsixSlot {
    entry: *mut u32,
    /// Masked? Kept here, to be written again after a reset.
    pub(super) masked: bool,
}

// SAFETY: the pointer leads to device memory mapped for ever; the entry is its line's, used under the line's lock.
unsafe impl Send for MsixSlot {}

impl MsixSlot {
    /// The entry at `entry`.
    ///
    /// # Safety
    /// `entry` is the address of an MSI-X table entry in an uncached mapping that stays, and no other slot has it.
    pub(super) unsafe fn new(entry: *mut u32) -> Self {
        Self { entry, masked: true }
    }

    fn write(&mut self, word: usize, value: u32) {
        // SAFETY: by `new`, the four words of the entry.
        unsafe { self.entry.add(word).write_volatile(value) };
    }

    /// Masks or unmasks.
    pub(super) fn set_masked(&mut self, masked: bool) {
        self.masked = masked;
        self.write(3, masked as u32);
        // SAFETY: as in `write`. The read makes the write reach the device.
        let _ = unsafe { self.entry.add(3).read_volatile() };
    }

    /// Sends the messages to another local APIC; masked meanwhile, as the specification asks.
    pub(super) fn set_target(&mut self, apic_id: u8) {
        let masked = self.masked;
        self.set_masked(true);
        self.write(0, MsiMessage::new(0, apic_id).address as u32);
        self.set_masked(masked);
    }

    /// Writes the message; the mask becomes what the slot says it is.
    pub(super) fn program(&mut self, message: MsiMessage) {
        let masked = self.masked;
        self.set_masked(true);
        self.write(0, message.address as u32);
        self.write(1, (message.address >> 32) as u32);
        self.write(2, message.data);
        self.set_masked(masked);
    }
}

/// Sets the enable and mask-all bits of MSI-X.
pub(super) fn set_msix_control(function: Sbdf, cap: &MsixCap, enable: bool, mask_all: bool) {
    let _change = CHANGE.lock();
    let old = pci_config::read(function, cap.control_reg(), 2) & !(MSIX_ENABLE | MSIX_MASK_ALL);
    let new = old | if enable { MSIX_ENABLE } else { 0 } | if mask_all { MSIX_MASK_ALL } else { 0 };
    // SAFETY: the entries in use have been set by `program`, the others are masked.
    unsafe { pci_config::write(function, cap.control_reg(), 2, new) };
}
