//! Signals: sent ones, and those that the processor raises, each handled and returned from.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::Check;
use crate::arch;
use crate::system::Mapping;

const PAGE: usize = 4096;

static SENT: AtomicU64 = AtomicU64::new(0);
static TRAPS: AtomicU64 = AtomicU64::new(0);
static INVALID: AtomicU64 = AtomicU64::new(0);
static FAULTS: AtomicU64 = AtomicU64::new(0);
/// The only range in which a fault is expected.
static EXPECTED: [AtomicUsize; 2] = [AtomicUsize::new(0), AtomicUsize::new(0)];

extern "C" fn handle(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    match signal {
        libc::SIGUSR1 => {
            SENT.fetch_add(1, Ordering::Relaxed);
        }
        libc::SIGTRAP => {
            TRAPS.fetch_add(1, Ordering::Relaxed);
        }
        libc::SIGILL => {
            INVALID.fetch_add(1, Ordering::Relaxed);
            let context: *mut libc::ucontext_t = context.cast();
            // SAFETY: the kernel passes a valid context; the two bytes of `ud2` are stepped over.
            unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] += 2 };
        }
        _ => handle_fault(info),
    }
}

fn handle_fault(info: *mut libc::siginfo_t) {
    // SAFETY: for SIGSEGV the kernel passes a valid siginfo with the address.
    let address = unsafe { (*info).si_addr() } as usize;
    let [start, end] = EXPECTED.each_ref().map(|bound| bound.load(Ordering::Relaxed));
    if !(start..end).contains(&address) {
        // SAFETY: ends the process; nothing could go on from here.
        unsafe { libc::_exit(99) };
    }
    FAULTS.fetch_add(1, Ordering::Relaxed);
    let page = (address & !(PAGE - 1)) as *mut libc::c_void;
    // SAFETY: the page is in the mapping that `faults` holds alive; its rights are only widened.
    unsafe { libc::mprotect(page, PAGE, libc::PROT_READ | libc::PROT_WRITE) };
}

/// Installs the handler, sends and raises.
pub(crate) fn run(rounds: u32) -> Check {
    for signal in [libc::SIGUSR1, libc::SIGTRAP, libc::SIGILL, libc::SIGSEGV] {
        // SAFETY: zero is a valid sigaction; the handler has SA_SIGINFO's signature and uses nothing that a signal
        // may not use.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handle as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if result != 0 {
            return Err(format!("sigaction {signal}"));
        }
    }
    let count = u64::from(2000 * rounds);
    for _ in 0..count {
        // SAFETY: sends this process a signal that is handled.
        unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
        arch::raise_traps();
    }
    for (name, counter) in [("kill", &SENT), ("int3", &TRAPS), ("ud2", &INVALID)] {
        let seen = counter.load(Ordering::Relaxed);
        if seen != count {
            return Err(format!("{name}: {seen} signals of {count}"));
        }
    }
    faults(rounds)
}

/// Writes to pages without rights; each write faults once and then succeeds.
fn faults(rounds: u32) -> Check {
    let pages = 500;
    for _ in 0..rounds {
        let mapping = Mapping::new(pages * PAGE, false)?;
        let start = mapping.start() as usize;
        EXPECTED[0].store(start, Ordering::Relaxed);
        EXPECTED[1].store(start + pages * PAGE, Ordering::Relaxed);
        mapping.protect(0, pages * PAGE, libc::PROT_NONE)?;
        let before = FAULTS.load(Ordering::Relaxed);
        for page in 0..pages {
            // SAFETY: inside the mapping; the handler makes the page writable. Volatile, since it faults.
            unsafe {
                mapping
                    .start()
                    .add(page * PAGE + 8)
                    .cast::<u64>()
                    .write_volatile(page as u64)
            };
        }
        let seen = FAULTS.load(Ordering::Relaxed) - before;
        if seen != pages as u64 {
            return Err(format!("{seen} faults at {pages} pages"));
        }
    }
    Ok(())
}
