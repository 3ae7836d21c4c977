//! Interrupts, and what is done on the way back to a guest.

use super::bounce;
use crate::arch::x86::percpu::{self, Work, current};
use crate::arch::x86::regs::{UserRegs, vector};
use crate::arch::x86::{apic, mailbox};
use crate::domain;
use crate::{event, irq, sched, time};
use core::sync::atomic::Ordering;

/// Serves interrupt `v`.
pub fn interrupt(v: u8, _regs: &mut UserRegs) {
    match v {
        vector::TIMER => {
            apic::eoi();
            percpu::raise(Work::TIMER);
            // QEMU, where it counts instructions, runs all CPUs in one thread and the next one only where this one pauses
            // or halts: without this a guest that is never idle would keep the other CPUs from running at all.
            core::hint::spin_loop();
        }
        // The sender has set the work bits.
        vector::KICK => apic::eoi(),
        vector::MAILBOX => {
            apic::eoi();
            mailbox::poll();
        }
        vector::SPURIOUS => {}
        vector::ERROR => apic::error_interrupt(),
        _ => irq::dispatch(v),
    }
}

/// Everything that must be done before a guest runs: timers, scheduling, events. Ends with the current vcpu, which
/// may be another than before, ready to go in the frame at the top of the stack.
#[unsafe(no_mangle)]
extern "C" fn paravane_exit_work(regs: &mut UserRegs) {
    loop {
        let work = percpu::info().work.swap(0, Ordering::SeqCst);
        if work & Work::QUIESCE.0 != 0 {
            domain::quiesce::note();
            domain::reap();
        }
        if work & Work::TIMER.0 != 0 {
            time::timers::run_expired();
        }
        if work & Work::SCHEDULE.0 != 0 {
            sched::schedule();
        }
        let cur = current();
        if cur.is_idle() {
            sched::idle_wait();
            continue;
        }
        if work & Work::NMI.0 != 0 {
            domain::deliver_nmi(cur, regs);
        }
        if event::has_pending(cur) {
            bounce::event(cur, regs);
        }
        if percpu::info().work.load(Ordering::SeqCst) == 0 {
            return;
        }
    }
}
