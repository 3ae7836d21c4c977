//! Port instructions: who may, and what is at the other end.

use super::{Emulated, Executed, Flow, string_io};
use crate::arch::x86::port as machine;
use crate::arch::x86::regs::UserRegs;
use crate::domain::{Domain, Vcpu};
use crate::guest::GuestPtr;
use crate::irq;
use crate::sync::Mutex;
use crate::trap::bounce::toggle_mode;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use xen_logic::decode::{PortData, PortIo, Reg};
use xen_logic::pci::decode_cf8;
use xen_logic::speaker::{pit_mode_for_speaker, speaker_gate};

/// Address latches that the hypervisor keeps for a domain.
pub struct DomainIo {
    /// What the domain last wrote to 0xCF8.
    cf8: AtomicU32,
    /// What the domain last wrote to 0x70.
    rtc_index: AtomicU8,
}

impl DomainIo {
    /// Both latches empty.
    pub const fn new() -> Self {
        Self {
            cf8: AtomicU32::new(0),
            rtc_index: AtomicU8::new(0),
        }
    }
}

/// Index and data port of the RTC belong together; who holds this may use both.
static RTC: Mutex<()> = Mutex::new(());

const PIT_CHANNEL_2: u16 = 0x42;
const PIT_MODE: u16 = 0x43;
const SPEAKER: u16 = 0x61;
const RTC_INDEX: u16 = 0x70;
const RTC_DATA: u16 = 0x71;
const PCI_ADDRESS: u16 = 0xcf8;
const PCI_DATA: u16 = 0xcfc;
const PCI_DATA_LAST: u16 = 0xcff;

/// Carries out a port instruction.
pub(super) fn execute(cur: &'static Vcpu, regs: &mut UserRegs, io: &PortIo, kernel: bool) -> Executed {
    let port = io.port.map_or(regs.rdx as u16, u16::from);
    let len = io.width.bytes() as u8;
    if !may_execute(cur, port, len, kernel) {
        return Err(Emulated::NotMine);
    }
    let domain = cur.domain();
    match io.data {
        PortData::String { rep, addr32, segment } => {
            let string = string_io::StringIo {
                port,
                width: io.width,
                rep,
                addr32,
                segment,
            };
            return if io.input {
                string.input(domain, regs)
            } else {
                string.output(domain, regs)
            };
        }
        PortData::Accumulator if io.input => {
            let value = read(domain, port, len);
            Reg::RAX.write(regs, io.width, value as u64);
        }
        PortData::Accumulator => write(domain, port, len, Reg::RAX.read(regs, io.width) as u32),
    }
    Ok(Flow::Next)
}

/// Does the guest let this code use these ports? Whether the domain may is another question.
fn may_execute(cur: &Vcpu, port: u16, len: u8, kernel: bool) -> bool {
    let needed = if kernel { 1 } else { 3 };
    if cur.cpu.iopl.load(Relaxed) >= needed {
        return true;
    }
    if kernel {
        return in_bitmap(cur, port, len);
    }
    if cur.cpu.io_bitmap_ports.load(Relaxed) == 0 {
        return false;
    }
    // The bitmap is the guest kernel's, in its address space only.
    toggle_mode(cur);
    let allowed = in_bitmap(cur, port, len);
    toggle_mode(cur);
    allowed
}

/// Are the bits of all these ports clear in the guest's bitmap?
fn in_bitmap(cur: &Vcpu, port: u16, len: u8) -> bool {
    let end = port as u32 + len as u32;
    if end > cur.cpu.io_bitmap_ports.load(Relaxed) {
        return false;
    }
    let bitmap = GuestPtr::<u8>::new(cur.cpu.io_bitmap.load(Relaxed));
    (port as u32..end).all(|p| {
        bitmap
            .at(p as u64 / 8)
            .read()
            .is_ok_and(|byte| byte >> (p % 8) & 1 == 0)
    })
}

/// All ones in `len` bytes: nothing answers.
fn floating(len: u8) -> u32 {
    u32::MAX >> (32 - 8 * len as u32)
}

/// What the domain reads from `len` ports.
pub(super) fn read(domain: &Domain, port: u16, len: u8) -> u32 {
    match (port, len) {
        (PCI_ADDRESS, 4) => domain.io.cf8.load(Relaxed),
        (PCI_DATA..=PCI_DATA_LAST, _) => match config_address(domain, port, len) {
            Some((at, reg)) => irq::pci_config_read(at.seg, at.bus, at.devfn, reg, len),
            None => floating(len),
        },
        _ if irq::ioport_permitted(domain, port, len) => match (port, len) {
            (RTC_DATA, 1) => read_rtc(domain),
            // SAFETY: the domain has been given the port, so nothing of the hypervisor's is behind it.
            _ => unsafe { machine::read(port, len) },
        },
        // SAFETY: reading these tells of the speaker, and changes only the byte toggle of its channel.
        (PIT_CHANNEL_2 | PIT_MODE | SPEAKER, 1) if domain.privileged => unsafe { machine::read(port, 1) },
        _ => floating(len),
    }
}

/// Does what the domain's write to `len` ports may do.
pub(super) fn write(domain: &Domain, port: u16, len: u8, value: u32) {
    match (port, len) {
        (PCI_ADDRESS, 4) => domain.io.cf8.store(value, Relaxed),
        (PCI_DATA..=PCI_DATA_LAST, _) => {
            if let Some((at, reg)) = config_address(domain, port, len) {
                irq::pci_config_write(at.seg, at.bus, at.devfn, reg, len, value);
            }
        }
        _ if irq::ioport_permitted(domain, port, len) => match (port, len) {
            (RTC_INDEX, 1) => domain.io.rtc_index.store(value as u8, Relaxed),
            (RTC_DATA, 1) => write_rtc(domain, value),
            // SAFETY: the domain has been given the port, so nothing of the hypervisor's is behind it.
            _ => unsafe { machine::write(port, len, value) },
        },
        (PIT_CHANNEL_2 | PIT_MODE | SPEAKER, 1) if domain.privileged => write_speaker(port, value as u8),
        _ => {}
    }
}

/// The configuration register that the domain's latch and an access to the data ports name.
fn config_address(domain: &Domain, port: u16, len: u8) -> Option<(xen_logic::pci::Sbdf, u16)> {
    if !domain.privileged || port + len as u16 - 1 > PCI_DATA_LAST {
        return None;
    }
    decode_cf8(domain.io.cf8.load(Relaxed), port)
}

fn read_rtc(domain: &Domain) -> u32 {
    let _both = RTC.lock();
    // SAFETY: the domain has been given the ports; the lock keeps the pair together.
    unsafe {
        machine::write(RTC_INDEX, 1, domain.io.rtc_index.load(Relaxed) as u32);
        machine::read(RTC_DATA, 1)
    }
}

fn write_rtc(domain: &Domain, value: u32) {
    let _both = RTC.lock();
    // SAFETY: the domain has been given the ports; the lock keeps the pair together.
    unsafe {
        machine::write(RTC_INDEX, 1, domain.io.rtc_index.load(Relaxed) as u32);
        machine::write(RTC_DATA, 1, value);
    }
}

/// The speaker's channel of the timer and its gate, for the domain that has the machine.
fn write_speaker(port: u16, value: u8) {
    let value = match port {
        PIT_CHANNEL_2 => Some(value),
        PIT_MODE => pit_mode_for_speaker(value),
        // SAFETY: reading the gate changes nothing.
        _ => Some(speaker_gate(unsafe { machine::read(SPEAKER, 1) } as u8, value)),
    };
    if let Some(value) = value {
        // SAFETY: only channel 2 is meant, which the hypervisor does not use once a guest runs.
        unsafe { machine::write(port, 1, value as u32) };
    }
}
