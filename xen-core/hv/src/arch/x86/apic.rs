//! The local APIC: end of interrupt, inter-processor interrupts, the timer.
//!
//! Through memory (xAPIC) or, where the CPU has it, through MSRs (x2APIC; untested, since QEMU's emulation lacks it).

use super::cpu;
use super::percpu;
use super::regs::vector;
use super::segment::{rdmsr, wrmsr};
use crate::mm::layout::NR_CPUS;
use crate::mm::paging::{Cache, map_vmap};
use crate::per_cpu;
use crate::sync::PerCpu;
use crate::time::clock;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};
use xen_logic::time::Scale;

/// Register offsets of the xAPIC; the x2APIC's MSR is `0x800 + offset / 16`.
mod reg {
    pub(super) const ID: u32 = 0x20;
    pub(super) const VERSION: u32 = 0x30;
    pub(super) const TPR: u32 = 0x80;
    pub(super) const EOI: u32 = 0xb0;
    pub(super) const SPURIOUS: u32 = 0xf0;
    pub(super) const ESR: u32 = 0x280;
    pub(super) const ICR: u32 = 0x300;
    pub(super) const ICR_HIGH: u32 = 0x310;
    pub(super) const LVT_TIMER: u32 = 0x320;
    pub(super) const LVT_THERMAL: u32 = 0x330;
    pub(super) const LVT_PERF: u32 = 0x340;
    pub(super) const LVT_LINT0: u32 = 0x350;
    pub(super) const LVT_LINT1: u32 = 0x360;
    pub(super) const LVT_ERROR: u32 = 0x370;
    pub(super) const INITIAL_COUNT: u32 = 0x380;
    pub(super) const CURRENT_COUNT: u32 = 0x390;
    pub(super) const DIVIDE: u32 = 0x3e0;
}

const MASKED: u32 = 1 << 16;
const DELIVER_NMI: u32 = 4 << 8;
const DELIVER_INIT: u32 = 5 << 8;
const DELIVER_STARTUP: u32 = 6 << 8;
const LEVEL_ASSERT: u32 = 1 << 14;
const ICR_BUSY: u32 = 1 << 12;
const DIVIDE_BY_1: u32 = 0xb;
const MSR_APIC_BASE: u32 = 0x1b;

static X2APIC: AtomicBool = AtomicBool::new(false);
static BASE: AtomicPtr<u32> = AtomicPtr::new(core::ptr::null_mut());
/// APIC number of each CPU.
static IDS: [AtomicU32; NR_CPUS] = [const { AtomicU32::new(u32::MAX) }; NR_CPUS];
/// Nanoseconds to timer ticks: `mul` and `shift` of a [`Scale`].
static TIMER_RATE: AtomicU64 = AtomicU64::new(0);
static ERRORS: PerCpu<AtomicU32> = per_cpu!(AtomicU32::new(0));

fn read(reg: u32) -> u32 {
    if X2APIC.load(Relaxed) {
        // SAFETY: in x2APIC mode the register exists as this MSR.
        return unsafe { rdmsr(0x800 + reg / 16) } as u32;
    }
    // SAFETY: `BASE` is the local APIC's page, mapped uncached, and the offset is within it.
    unsafe { BASE.load(Relaxed).byte_add(reg as usize).read_volatile() }
}

fn write(reg: u32, value: u32) {
    if X2APIC.load(Relaxed) {
        // SAFETY: as for `read`; the callers write what the register takes.
        return unsafe { wrmsr(0x800 + reg / 16, value.into()) };
    }
    // SAFETY: as for `read`.
    unsafe { BASE.load(Relaxed).byte_add(reg as usize).write_volatile(value) }
}

/// Finds the boot CPU's local APIC at machine address `address`, and sets it up.
pub fn init(address: u64) {
    if cpu::has_x2apic() {
        X2APIC.store(true, Relaxed);
    } else {
        BASE.store(map_vmap(address, 4096, Cache::Uncached).cast(), Relaxed);
    }
    init_cpu(percpu::cpu_id());
}

/// Is the APIC driven through MSRs?
pub fn is_x2apic() -> bool {
    X2APIC.load(Relaxed)
}

/// Sets up the executing CPU's local APIC.
pub fn init_cpu(cpu: usize) {
    let mode = if is_x2apic() { 3 << 10 } else { 1 << 11 };
    // SAFETY: enables the APIC where it already is.
    unsafe { wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & !(3 << 10) | mode) };
    let id = read(reg::ID);
    IDS[cpu].store(if is_x2apic() { id } else { id >> 24 }, Relaxed);
    write(reg::SPURIOUS, 1 << 8 | vector::SPURIOUS as u32);
    let last_lvt = read(reg::VERSION) >> 16 & 0xff;
    for (index, register) in [(4, reg::LVT_PERF), (5, reg::LVT_THERMAL)] {
        if last_lvt >= index {
            write(register, MASKED);
        }
    }
    write(reg::LVT_LINT0, MASKED);
    write(reg::LVT_LINT1, DELIVER_NMI);
    write(reg::LVT_TIMER, vector::TIMER as u32);
    write(reg::DIVIDE, DIVIDE_BY_1);
    write(reg::INITIAL_COUNT, 0);
    write(reg::ESR, 0);
    write(reg::LVT_ERROR, vector::ERROR as u32);
    eoi();
    // Last: QEMU's APIC forgets an 8259 interrupt that was pending before LINT0 was masked only when the priority is
    // written, and delivers vector -1 otherwise.
    write(reg::TPR, 0);
}

/// The APIC number of CPU `cpu`.
pub fn id_of(cpu: usize) -> u32 {
    IDS[cpu].load(Relaxed)
}

/// Notes the APIC number of a CPU that is about to be started.
pub fn set_id(cpu: usize, id: u32) {
    IDS[cpu].store(id, Relaxed);
}

/// The APIC number of the executing CPU, read from the APIC.
pub fn own_id() -> u32 {
    let id = read(reg::ID);
    if is_x2apic() { id } else { id >> 24 }
}

/// Ends the interrupt being served.
#[inline]
pub fn eoi() {
    write(reg::EOI, 0);
}

fn send(id: u32, command: u32) {
    if is_x2apic() {
        // SAFETY: the interrupt command register; the MSR write is not ordered after earlier stores by itself.
        unsafe {
            core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags));
            return wrmsr(0x830, (id as u64) << 32 | command as u64);
        }
    }
    // The send before may still be on its way. An NMI handler may send between our two writes, so it waits too
    // and leaves the upper half as it found it.
    while read(reg::ICR) & ICR_BUSY != 0 {
        core::hint::spin_loop();
    }
    let old = read(reg::ICR_HIGH);
    write(reg::ICR_HIGH, id << 24);
    write(reg::ICR, command);
    write(reg::ICR_HIGH, old);
}

/// Raises `vector` on CPU `cpu`.
pub fn send_ipi(cpu: usize, vector: u8) {
    crate::trace::count(crate::trace::Counter::Ipis);
    send(id_of(cpu), LEVEL_ASSERT | vector as u32);
}

/// Sends CPU `cpu` an NMI.
pub fn send_nmi(cpu: usize) {
    send(id_of(cpu), LEVEL_ASSERT | DELIVER_NMI);
}

/// Resets CPU `cpu` to its wait for a startup message.
pub fn send_init(cpu: usize) {
    send(id_of(cpu), LEVEL_ASSERT | DELIVER_INIT);
}

/// Starts CPU `cpu` in real mode at machine address `page * 4096`.
pub fn send_startup(cpu: usize, page: u8) {
    send(id_of(cpu), LEVEL_ASSERT | DELIVER_STARTUP | page as u32);
}

/// Serves the APIC's error interrupt.
pub fn error_interrupt() {
    write(reg::ESR, 0);
    let status = read(reg::ESR);
    eoi();
    if ERRORS.this().fetch_add(1, Relaxed) < 10 {
        log::warn!("CPU {}: local APIC error, status {status:#x}", percpu::cpu_id());
    }
}

/// Lets the timer run down from its maximum, silently; the count says how far it is.
pub fn start_calibration() {
    write(reg::LVT_TIMER, MASKED | vector::TIMER as u32);
    write(reg::INITIAL_COUNT, u32::MAX);
}

/// Timer ticks since [`start_calibration`].
pub fn calibration_ticks() -> u32 {
    u32::MAX - read(reg::CURRENT_COUNT)
}

/// Ends the calibration: the timer runs at `hz`.
pub fn end_calibration(hz: u64) {
    write(reg::INITIAL_COUNT, 0);
    write(reg::LVT_TIMER, vector::TIMER as u32);
    let rate = Scale::from_ns(hz);
    TIMER_RATE.store((rate.mul as u64) << 8 | rate.shift as u8 as u64, Relaxed);
}

/// Sets this CPU's timer to interrupt at `deadline` (nanoseconds since boot), at once if that is past;
/// `u64::MAX` means never. A deadline beyond the counter's reach interrupts early.
pub fn set_deadline_ns(deadline: u64) {
    if deadline == u64::MAX {
        return write(reg::INITIAL_COUNT, 0);
    }
    let ns = deadline.saturating_sub(clock::now()).min(1 << 32);
    let rate = TIMER_RATE.load(Relaxed);
    let rate = Scale {
        mul: (rate >> 8) as u32,
        shift: rate as u8 as i8,
    };
    write(reg::INITIAL_COUNT, rate.apply(ns).clamp(1, u32::MAX as u64) as u32);
}
