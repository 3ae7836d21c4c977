//! PCI configuration space: addresses, capabilities, and which writes of a domain may pass.

/// One PCI function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Sbdf {
    /// Segment (PCI domain).
    pub seg: u16,
    /// Bus.
    pub bus: u8,
    /// Device in the upper five bits, function in the lower three.
    pub devfn: u8,
}

impl Sbdf {
    /// Puts the parts together.
    pub const fn new(seg: u16, bus: u8, devfn: u8) -> Self {
        Self { seg, bus, devfn }
    }
}

impl core::fmt::Display for Sbdf {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{:04x}:{:02x}:{:02x}.{}",
            self.seg,
            self.bus,
            self.devfn >> 3,
            self.devfn & 7
        )
    }
}

/// What an access to the data port 0xCFC..=0xCFF means, given the address latch 0xCF8: function and register.
///
/// `None` while the latch has its enable bit clear. Bits 24 to 27 extend the register number, as AMD has it.
pub fn decode_cf8(latch: u32, port: u16) -> Option<(Sbdf, u16)> {
    if latch & 1 << 31 == 0 {
        return None;
    }
    let reg = (latch & 0xfc) as u16 | (latch >> 16 & 0xf00) as u16 | port & 3;
    Some((Sbdf::new(0, (latch >> 16) as u8, (latch >> 8) as u8), reg))
}

/// The latch value that selects `reg` of a function; `reg` is below 256.
pub fn encode_cf8(function: Sbdf, reg: u16) -> u32 {
    1 << 31 | (function.bus as u32) << 16 | (function.devfn as u32) << 8 | reg as u32 & 0xfc
}

/// A window of memory-mapped configuration space, as the MCFG table describes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mmcfg {
    /// Machine address where bus 0 would be.
    pub base: u64,
    /// Segment.
    pub seg: u16,
    /// First bus that is there.
    pub first_bus: u8,
    /// Last bus that is there.
    pub last_bus: u8,
}

impl Mmcfg {
    /// First and last byte.
    pub fn bounds(&self) -> (u64, u64) {
        let first = self.base.saturating_add((self.first_bus as u64) << 20);
        (first, self.base.saturating_add(((self.last_bus as u64 + 1) << 20) - 1))
    }

    /// The function and register at a machine address, if it is in the window.
    pub fn decode(&self, address: u64) -> Option<(Sbdf, u16)> {
        let (first, last) = self.bounds();
        if !(first..=last).contains(&address) {
            return None;
        }
        let offset = address - self.base;
        Some((
            Sbdf::new(self.seg, (offset >> 20) as u8, (offset >> 12) as u8),
            (offset & 0xfff) as u16,
        ))
    }

    /// Machine address of a function's 4 KiB, if the window has its bus.
    pub fn address_of(&self, function: Sbdf) -> Option<u64> {
        let here = function.seg == self.seg && (self.first_bus..=self.last_bus).contains(&function.bus);
        here.then(|| self.base + ((function.bus as u64) << 20) + ((function.devfn as u64) << 12))
    }
}

/// Reads of one function's configuration space. Lengths are 1, 2 and 4, registers aligned to them.
pub trait ConfigRead {
    /// `len` bytes at `reg`, in the low bits.
    fn read(&self, reg: u16, len: u8) -> u32;
}

/// Command register, whose bit 1 lets the function's memory answer.
pub const REG_COMMAND: u16 = 0x04;
const REG_STATUS: u16 = 0x06;
const REG_HEADER_TYPE: u16 = 0x0e;
const REG_BAR0: u16 = 0x10;
const REG_CAPABILITIES: u16 = 0x34;

/// Bit of the command register: memory answers.
pub const COMMAND_MEMORY: u32 = 1 << 1;

/// First register after those that capabilities stand in.
const CAPABILITIES_END: u16 = 256;
const CAP_MSI: u8 = 0x05;
const CAP_MSIX: u8 = 0x11;

/// Where the capability `id` stands.
///
/// The list is the device's word: a walk ends after as many steps as there is room for capabilities.
pub fn find_capability(space: &impl ConfigRead, id: u8) -> Option<u16> {
    let status = space.read(REG_STATUS, 2);
    if status == 0xffff || status & 1 << 4 == 0 {
        return None;
    }
    let mut at = space.read(REG_CAPABILITIES, 1) as u16 & 0xfc;
    for _ in 0..48 {
        if at < 0x40 {
            return None;
        }
        let head = space.read(at, 2);
        match head as u8 {
            0xff => return None,
            found if found == id => return Some(at),
            _ => at = (head >> 8) as u16 & 0xfc,
        }
    }
    None
}

/// A message-signalled-interrupt capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsiCap {
    /// Its place.
    pub pos: u16,
    /// Does it have the upper half of an address?
    pub is_64: bool,
    /// Does it have mask bits?
    pub maskable: bool,
    /// How many messages it can send, a power of two.
    pub messages: u8,
}

impl MsiCap {
    /// The function's MSI capability.
    pub fn find(space: &impl ConfigRead) -> Option<Self> {
        let pos = find_capability(space, CAP_MSI)?;
        let control = space.read(pos + 2, 2);
        let cap = Self {
            pos,
            is_64: control & 1 << 7 != 0,
            maskable: control & 1 << 8 != 0,
            messages: 1 << (control >> 1 & 7).min(5),
        };
        // One that would not fit is the device's mistake.
        (cap.end() <= CAPABILITIES_END).then_some(cap)
    }

    /// Message control: bit 0 enables, bits 4 to 6 say how many messages.
    pub fn control_reg(&self) -> u16 {
        self.pos + 2
    }

    /// Low half of the address.
    pub fn address_reg(&self) -> u16 {
        self.pos + 4
    }

    /// High half of the address, where there is one.
    pub fn address_high_reg(&self) -> Option<u16> {
        self.is_64.then_some(self.pos + 8)
    }

    /// The data, 16 bits.
    pub fn data_reg(&self) -> u16 {
        self.pos + if self.is_64 { 12 } else { 8 }
    }

    /// One mask bit for each message, where there are any.
    pub fn mask_reg(&self) -> Option<u16> {
        self.maskable.then_some(self.pos + if self.is_64 { 16 } else { 12 })
    }

    /// First register after the capability.
    fn end(&self) -> u16 {
        self.data_reg() + if self.maskable { 12 } else { 4 }
    }
}

/// An MSI-X capability.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsixCap {
    /// Its place.
    pub pos: u16,
    /// Entries in the table.
    pub entries: u16,
    /// Which base address register the table is behind.
    pub table_bar: u8,
    /// The table's offset there.
    pub table_offset: u32,
    /// Which base address register the pending bits are behind.
    pub pba_bar: u8,
    /// Their offset there.
    pub pba_offset: u32,
}

/// Bit of MSI-X message control: the function uses MSI-X.
pub const MSIX_ENABLE: u32 = 1 << 15;
/// Bit of MSI-X message control: every entry is masked.
pub const MSIX_MASK_ALL: u32 = 1 << 14;

impl MsixCap {
    /// The function's MSI-X capability.
    pub fn find(space: &impl ConfigRead) -> Option<Self> {
        let pos = find_capability(space, CAP_MSIX).filter(|pos| pos + 12 <= CAPABILITIES_END)?;
        let (table, pba) = (space.read(pos + 4, 4), space.read(pos + 8, 4));
        Some(Self {
            pos,
            entries: (space.read(pos + 2, 2) & 0x7ff) as u16 + 1,
            table_bar: (table & 7) as u8,
            table_offset: table & !7,
            pba_bar: (pba & 7) as u8,
            pba_offset: pba & !7,
        })
    }

    /// Message control.
    pub fn control_reg(&self) -> u16 {
        self.pos + 2
    }

    /// Bytes of the table.
    pub fn table_len(&self) -> u64 {
        self.entries as u64 * 16
    }

    /// Bytes of the pending bits.
    pub fn pba_len(&self) -> u64 {
        (self.entries as u64).div_ceil(64) * 8
    }
}

/// The machine address in base address register `bar` of an ordinary function, if it is for memory and set.
pub fn memory_bar(space: &impl ConfigRead, bar: u8) -> Option<u64> {
    if bar > 5 || space.read(REG_HEADER_TYPE, 1) & 0x7f != 0 {
        return None;
    }
    let reg = REG_BAR0 + bar as u16 * 4;
    let low = space.read(reg, 4);
    if low & 1 != 0 {
        return None;
    }
    let high = match low >> 1 & 3 {
        0 => 0,
        2 if bar < 5 => space.read(reg + 4, 4),
        _ => return None,
    };
    let address = (high as u64) << 32 | (low & !0xf) as u64;
    (address != 0).then_some(address)
}

/// What of a domain's write to `reg` reaches the device: the value to write, or `None` if nothing does.
///
/// Address, data and masks of message interrupts are the hypervisor's: a domain that set them could raise any
/// vector. It may only switch the capability on and off, and mask all of MSI-X.
pub fn filter_write(
    space: &impl ConfigRead,
    msi: Option<&MsiCap>,
    msix: Option<&MsixCap>,
    reg: u16,
    len: u8,
    value: u32,
) -> Option<u32> {
    let mut allowed = 0u32;
    for byte in 0..len as u16 {
        let at = reg + byte;
        let bits = match (msi, msix) {
            (Some(m), _) if (m.pos..m.end()).contains(&at) => (at == m.control_reg()) as u32,
            (_, Some(x)) if (x.pos..x.pos + 12).contains(&at) => {
                if at == x.control_reg() + 1 {
                    (MSIX_ENABLE | MSIX_MASK_ALL) >> 8
                } else {
                    0
                }
            }
            _ => 0xff,
        };
        allowed |= bits << (8 * byte);
    }
    let all = u32::MAX >> (32 - 8 * len as u32);
    match allowed {
        0 => None,
        a if a == all => Some(value & all),
        a => Some(space.read(reg, len) & !a | value & a),
    }
}

#[cfg(test)]
#[path = "pci_tests.rs"]
mod tests;
