//! The end of the hypervisor: what happened, where, and what came before; and the dump that an NMI asks for.

use super::{OUTPUT, Output, Prefixed, backtrace, message, ring};
use crate::arch::x86::regs::UserRegs;
use crate::arch::x86::{cpu, percpu, power, smp};
use crate::trap::show_registers;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};

/// The CPU that panicked first, plus one.
static PANICKED: AtomicU64 = AtomicU64::new(0);
/// Trace entries shown of each CPU.
const TRACE_ENTRIES: u64 = 24;
/// How long another CPU may hold the console before its lock is broken.
const PATIENCE: u32 = 20_000_000;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    fatal(format_args!("{info}"), None)
}

/// Is the hypervisor at its end? NMIs then only stop the CPU.
pub fn is_panicking() -> bool {
    PANICKED.load(Ordering::SeqCst) != 0
}

/// Waits for the console's locks, without serving requests, but not for ever: their holder may be this CPU.
fn with_console(f: impl FnOnce(&mut Output)) {
    let mut patience = PATIENCE;
    loop {
        if ring::is_free()
            && let Some(mut out) = OUTPUT.try_lock()
        {
            return f(&mut out);
        }
        patience -= 1;
        if patience == 0 {
            // SAFETY: the holder has stopped, or is this CPU further up the stack, which does not go on: the output
            // may be torn, and nothing else depends on it.
            unsafe {
                OUTPUT.force_unlock();
                ring::break_lock();
            }
        }
        core::hint::spin_loop();
    }
}

/// Ends the hypervisor with a message, registers (those given, or those of here), backtrace and trace; then reboots,
/// or stops if the command line says `noreboot`.
#[cold]
#[inline(never)]
pub fn fatal(args: fmt::Arguments, regs: Option<&UserRegs>) -> ! {
    let me = percpu::cpu_id() as u64 + 1;
    if let Err(first) = PANICKED.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst) {
        // Another CPU reports, or the report itself panics.
        if first == me {
            with_console(|out| message(out, format_args!("panic while panicking: {args}")));
            end();
        }
        cpu::halt();
    }
    smp::stop_others();
    let here = cpu::frame_pointer();
    with_console(|out| {
        message(out, format_args!("\n*** PANIC on CPU {}: {args}", me - 1));
        let mut text = Prefixed { out, at_start: true };
        // Neither the port nor the ring fails.
        let _ = describe(&mut text, regs, here);
    });
    end();
}

fn describe(out: &mut Prefixed, regs: Option<&UserRegs>, here: u64) -> fmt::Result {
    match regs {
        Some(r) => {
            writeln!(out, "{}", show_registers(r))?;
            backtrace::write(out, r.rip, r.rbp)?;
        }
        None => backtrace::write(out, fatal as *const () as u64, here)?,
    }
    crate::trace::dump_last(TRACE_ENTRIES, out)
}

fn end() -> ! {
    if crate::boot::options().noreboot {
        with_console(|out| message(out, format_args!("noreboot: the machine stays as it is")));
        cpu::halt();
    }
    with_console(|out| message(out, format_args!("rebooting")));
    power::reboot()
}

/// Says in one line why the machine cannot start, and ends like a panic.
pub fn boot_failure(args: fmt::Arguments) -> ! {
    with_console(|out| message(out, format_args!("cannot boot: {args}")));
    end()
}

/// Serves an NMI: a CPU at the end of the hypervisor stops; otherwise somebody wants to know what this CPU does.
pub fn nmi_dump(regs: &UserRegs) {
    if is_panicking() {
        cpu::halt();
    }
    with_console(|out| {
        message(out, format_args!("NMI on CPU {}", percpu::cpu_id()));
        let mut text = Prefixed { out, at_start: true };
        let _ = writeln!(text, "{}", show_registers(regs));
        if !regs.is_from_guest() {
            let _ = backtrace::write(&mut text, regs.rip, regs.rbp);
        }
        if percpu::cpu_id() == 0 {
            let _ = crate::trace::dump_last(TRACE_ENTRIES, &mut text);
        }
    });
}
