//! ACPI's static tables, read from bytes: checksums and lengths are verified, nothing is followed but the tables asked
//! for (so a damaged BGRT or SSDT disturbs nobody).

use alloc::vec::Vec;

/// Reads a little-endian number of `N` bytes at `at`.
fn bytes<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u8_at(data: &[u8], at: usize) -> Option<u8> {
    data.get(at).copied()
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    bytes(data, at).map(u16::from_le_bytes)
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    bytes(data, at).map(u32::from_le_bytes)
}

fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    bytes(data, at).map(u64::from_le_bytes)
}

/// All bytes of a valid table add up to nothing.
pub fn checksum_ok(data: &[u8]) -> bool {
    data.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)) == 0
}

/// The root pointer: where the list of tables is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rsdp {
    /// Address of the table with 32-bit entries.
    pub rsdt: u32,
    /// Address of the table with 64-bit entries, if there is one.
    pub xsdt: Option<u64>,
}

impl Rsdp {
    /// Reads a root pointer at the start of `data`.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let first = data.get(..20)?;
        if &first[..8] != b"RSD PTR " || !checksum_ok(first) {
            return None;
        }
        let rsdt = u32_at(data, 16)?;
        let extended = if first[15] >= 2 {
            data.get(..36).filter(|d| checksum_ok(d))
        } else {
            None
        };
        let xsdt = extended.and_then(|d| u64_at(d, 24)).filter(|a| *a != 0);
        Some(Self { rsdt, xsdt })
    }

    /// Looks for a root pointer on each 16-byte boundary of `area`; also gives its place.
    pub fn search(area: &[u8]) -> Option<(usize, Self)> {
        (0..area.len())
            .step_by(16)
            .find_map(|at| Some((at, Self::parse(&area[at..])?)))
    }
}

/// Bytes of the header that every table begins with.
pub const HEADER_LEN: usize = 36;

/// Signature and length of the table that begins here; the length is at least the header's.
pub fn header(data: &[u8]) -> Option<([u8; 4], usize)> {
    let len = u32_at(data, 4)? as usize;
    (len >= HEADER_LEN).then_some((bytes(data, 0)?, len))
}

/// The table that begins here, whole and with a right checksum.
pub fn table(data: &[u8]) -> Option<&[u8]> {
    let (_, len) = header(data)?;
    data.get(..len).filter(|t| checksum_ok(t))
}

/// Addresses of the tables listed in an RSDT (`wide` false) or XSDT.
pub fn root_entries(root: &[u8], wide: bool) -> impl Iterator<Item = u64> + '_ {
    let size = if wide { 8 } else { 4 };
    let body = root.get(HEADER_LEN..).unwrap_or(&[]);
    body.chunks_exact(size).filter_map(move |c| {
        if wide {
            u64_at(c, 0)
        } else {
            u32_at(c, 0).map(u64::from)
        }
    })
}

/// A processor of the MADT that can be started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cpu {
    /// Its local APIC's number.
    pub apic_id: u32,
    /// Its number in ACPI's namespace.
    pub acpi_id: u32,
}

/// An IO-APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoApic {
    /// Its number.
    pub id: u8,
    /// Machine address of its registers.
    pub address: u32,
    /// First global system interrupt of its pins.
    pub gsi_base: u32,
}

/// An ISA interrupt that does not arrive on the pin of the same number, or in another mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Override {
    /// ISA number.
    pub irq: u8,
    /// Where it arrives.
    pub gsi: u32,
    /// MPS INTI flags: polarity and trigger.
    pub flags: u16,
}

/// A local APIC input that carries an NMI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalNmi {
    /// Processor, in ACPI's numbering; 255 (or all ones) means all.
    pub acpi_id: u32,
    /// MPS INTI flags.
    pub flags: u16,
    /// 0 or 1.
    pub lint: u8,
}

/// What the MADT says of interrupt hardware.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Madt {
    /// Machine address of the local APICs.
    pub lapic_address: u64,
    /// There is an 8259 pair to be silenced.
    pub has_pic: bool,
    /// Processors that can be started, in the table's order.
    pub cpus: Vec<Cpu>,
    /// IO-APICs.
    pub ioapics: Vec<IoApic>,
    /// ISA overrides.
    pub overrides: Vec<Override>,
    /// NMI inputs.
    pub nmis: Vec<LocalNmi>,
}

impl Madt {
    /// Reads a whole, checked MADT.
    pub fn parse(table: &[u8]) -> Option<Self> {
        let mut madt = Self {
            lapic_address: u32_at(table, 36)?.into(),
            has_pic: u32_at(table, 40)? & 1 != 0,
            ..Self::default()
        };
        let mut rest = &table[44..];
        while let [kind, len, ..] = *rest {
            let Some(entry) = rest.get(..len as usize).filter(|e| e.len() >= 2) else {
                break;
            };
            // An entry too short for its kind is left out.
            let _ = madt.add(kind, entry);
            rest = &rest[entry.len()..];
        }
        Some(madt)
    }

    fn add(&mut self, kind: u8, e: &[u8]) -> Option<()> {
        match kind {
            0 => self.add_cpu(u8_at(e, 3)?.into(), u8_at(e, 2)?.into(), u32_at(e, 4)?, 0xff),
            1 => self.ioapics.push(IoApic {
                id: u8_at(e, 2)?,
                address: u32_at(e, 4)?,
                gsi_base: u32_at(e, 8)?,
            }),
            2 => self.overrides.push(Override {
                irq: u8_at(e, 3)?,
                gsi: u32_at(e, 4)?,
                flags: u16_at(e, 8)?,
            }),
            4 => {
                let acpi_id = match u8_at(e, 2)? {
                    0xff => u32::MAX,
                    id => id.into(),
                };
                self.nmis.push(LocalNmi {
                    acpi_id,
                    flags: u16_at(e, 3)?,
                    lint: u8_at(e, 5)?,
                });
            }
            5 => self.lapic_address = u64_at(e, 4)?,
            9 => self.add_cpu(u32_at(e, 4)?, u32_at(e, 12)?, u32_at(e, 8)?, u32::MAX),
            10 => self.nmis.push(LocalNmi {
                flags: u16_at(e, 2)?,
                acpi_id: u32_at(e, 4)?,
                lint: u8_at(e, 8)?,
            }),
            _ => {}
        }
        Some(())
    }

    /// Bit 0 of the flags: enabled. Processors that could only be plugged in later are left out.
    fn add_cpu(&mut self, apic_id: u32, acpi_id: u32, flags: u32, none: u32) {
        if flags & 1 != 0 && apic_id != none && !self.cpus.iter().any(|c| c.apic_id == apic_id) {
            self.cpus.push(Cpu { apic_id, acpi_id });
        }
    }
}

/// A register in ACPI's generic form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Register {
    /// 0 memory, 1 I/O port, 2 PCI configuration space.
    pub space: u8,
    /// Where, in that space.
    pub address: u64,
}

fn register_at(t: &[u8], at: usize) -> Option<Register> {
    let register = Register {
        space: u8_at(t, at)?,
        address: u64_at(t, at + 4)?,
    };
    (register.address != 0).then_some(register)
}

/// Where power management is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fadt {
    /// Address of the DSDT.
    pub dsdt: u64,
    /// ISA number of the system control interrupt.
    pub sci: u16,
    /// Port that switches to ACPI mode, and the value for it; 0 where the machine is always in ACPI mode.
    pub smi_command: u16,
    /// Value that turns ACPI mode on.
    pub acpi_enable: u8,
    /// Event block A and B (ports; 0: none).
    pub pm1_event: [u16; 2],
    /// Control block A and B (ports; 0: none).
    pub pm1_control: [u16; 2],
    /// The power management timer (port; 0: none).
    pub pm_timer: u16,
    /// The timer has 32 bits instead of 24.
    pub pm_timer_wide: bool,
    /// The reset register and the value that resets.
    pub reset: Option<(Register, u8)>,
    /// No legacy devices (boot flags, bit 0 clear) and so on; the raw field.
    pub boot_flags: u16,
}

impl Fadt {
    /// Reads a whole, checked FADT; the fields of later revisions are taken where it has them.
    pub fn parse(t: &[u8]) -> Option<Self> {
        let flags = u32_at(t, 112)?;
        let port = |old: usize, new: usize| {
            let wide = register_at(t, new).filter(|r| r.space == 1).map(|r| r.address as u16);
            wide.or_else(|| u32_at(t, old).map(|p| p as u16)).unwrap_or(0)
        };
        let has_reset = flags & 1 << 10 != 0;
        Some(Self {
            dsdt: u64_at(t, 140).filter(|a| *a != 0).unwrap_or(u32_at(t, 40)?.into()),
            sci: u16_at(t, 46)?,
            smi_command: u32_at(t, 48)? as u16,
            acpi_enable: u8_at(t, 52)?,
            pm1_event: [port(56, 148), port(60, 160)],
            pm1_control: [port(64, 172), port(68, 184)],
            pm_timer: port(76, 208),
            pm_timer_wide: flags & 1 << 8 != 0,
            reset: if has_reset {
                register_at(t, 116).zip(u8_at(t, 128))
            } else {
                None
            },
            boot_flags: u16_at(t, 109)?,
        })
    }
}

/// Address of the HPET's registers, if it is in memory.
pub fn parse_hpet(t: &[u8]) -> Option<u64> {
    register_at(t, 40).filter(|r| r.space == 0).map(|r| r.address)
}

/// PCI configuration space in memory, for some buses of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EcamRange {
    /// Machine address of bus 0's part, whether or not bus 0 is in the range.
    pub base: u64,
    /// PCI segment.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus.
    pub last_bus: u8,
}

/// The ranges of an MCFG.
pub fn parse_mcfg(t: &[u8]) -> Vec<EcamRange> {
    let range = |e: &[u8]| {
        let range = EcamRange {
            base: u64_at(e, 0)?,
            segment: u16_at(e, 8)?,
            first_bus: u8_at(e, 10)?,
            last_bus: u8_at(e, 11)?,
        };
        (range.base != 0 && range.first_bus <= range.last_bus).then_some(range)
    };
    t.get(44..).unwrap_or(&[]).chunks_exact(16).filter_map(range).collect()
}

#[cfg(test)]
#[path = "acpi_tests.rs"]
mod tests;
