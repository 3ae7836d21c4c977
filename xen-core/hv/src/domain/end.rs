//! How a domain ends: by its own wish, or since it cannot go on.

use super::Domain;
use crate::arch::x86::percpu::{self, Work, current, guest_frame};
use crate::arch::x86::power;
use crate::arch::x86::regs::UserRegs;
use crate::arch::x86::usercopy;
use crate::sched::Hold;
use crate::{boot, event, trap};
use core::sync::atomic::Ordering;
use xen_abi::VIRQ_DOM_EXC;

use super::life::{let_go, stop_all};

const SHUTDOWN_POWEROFF: u32 = 0;
const SHUTDOWN_REBOOT: u32 = 1;
const SHUTDOWN_SUSPEND: u32 = 2;
const SHUTDOWN_CRASH: u32 = 3;
const SHUTDOWN_WATCHDOG: u32 = 4;
/// The code of a domain that has none yet.
pub(super) const NO_CODE: u32 = u32::MAX;

/// Ends the current vcpu's domain: its kernel cannot go on, and `why` says what it was.
pub fn crash_current(regs: &UserRegs, why: &str) {
    let cur = current();
    log::error!("domain {} crashed on vcpu {}: {why}", cur.domain().id, cur.id);
    log::error!("{}", trap::show_registers(regs));
    show_guest_stack(regs.rsp);
    end(cur.domain(), SHUTDOWN_CRASH);
}

/// The domain wants to end, for the reason `code` (`SHUTDOWN_*`).
pub fn shutdown(domain: &Domain, code: u32) {
    if code == SHUTDOWN_CRASH && core::ptr::eq(current().domain(), domain) {
        // SAFETY: the current vcpu's frame is at the top of this CPU's stack.
        log::error!("{}", trap::show_registers(unsafe { &*guest_frame() }));
    }
    end(domain, code);
}

/// The domain says for which reason it will end. The first one that it names stands.
pub fn name_end(domain: &Domain, code: u32) {
    let _ = domain
        .shutdown_code
        .compare_exchange(NO_CODE, code, Ordering::SeqCst, Ordering::SeqCst);
}

/// Prints what stands on top of the guest's stack, as far as it can be read.
fn show_guest_stack(sp: u64) {
    for row in 0..8 {
        let mut words = [0u64; 4];
        for (i, word) in words.iter_mut().enumerate() {
            match usercopy::read_u64(sp.wrapping_add((row * 4 + i as u64) * 8)) {
                Ok(w) => *word = w,
                Err(_) => return,
            }
        }
        let [a, b, c, d] = words;
        log::error!(
            "stack {:#018x}: {a:016x} {b:016x} {c:016x} {d:016x}",
            sp.wrapping_add(row * 32)
        );
    }
}

/// Stops the domain's vcpus, and tells who waits for that. The hardware domain takes the machine with it.
fn end(domain: &Domain, code: u32) {
    if domain.shutting_down.swap(true, Ordering::SeqCst) {
        return;
    }
    // One that the guest has named before (`SCHEDOP_shutdown_code`) stands.
    let code = match domain
        .shutdown_code
        .compare_exchange(NO_CODE, code, Ordering::SeqCst, Ordering::SeqCst)
    {
        Ok(_) => code,
        Err(named) => named,
    };
    if domain.id == 0 {
        end_machine(code);
    }
    // Only the first to ask for the end comes here, so no two of the domain's vcpus wait for each other.
    stop_all(domain, Hold::SHUT_DOWN);
    domain.life.set_shut_down(true);
    percpu::raise(Work::SCHEDULE);
    let port = domain.life.suspend_port.load(Ordering::SeqCst);
    if code != SHUTDOWN_SUSPEND || port == 0 || event::send(domain, port).is_err() {
        event::send_global_virq(VIRQ_DOM_EXC);
    }
}

/// Lets a domain that has shut down go on (`XEN_DOMCTL_resumedomain`), after a suspension that was called off. Under the
/// lock of `domctl`.
pub fn resume(domain: &Domain) {
    if domain.life.is_shut_down() {
        domain.life.set_shut_down(false);
        domain.shutdown_code.store(NO_CODE, Ordering::SeqCst);
        domain.shutting_down.store(false, Ordering::SeqCst);
        let_go(domain, Hold::SHUT_DOWN);
    }
}

fn end_machine(code: u32) -> ! {
    match code {
        SHUTDOWN_POWEROFF => {
            log::info!("hardware domain halted: powering off");
            power::off()
        }
        SHUTDOWN_REBOOT => log::info!("hardware domain asked for a reboot"),
        SHUTDOWN_CRASH => log::error!("hardware domain crashed"),
        SHUTDOWN_WATCHDOG => log::error!("hardware domain's watchdog expired"),
        other => log::warn!("hardware domain shut down for reason {other}"),
    }
    if code != SHUTDOWN_REBOOT && boot::options().noreboot {
        log::error!("noreboot: the machine stays as it is");
        power::halt()
    }
    power::reboot()
}
