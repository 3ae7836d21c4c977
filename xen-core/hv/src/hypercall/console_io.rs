//! `console_io`: Dom0's console is the hypervisor's. What other domains write becomes messages about them.

use super::{Outcome, Stop, preempt_needed};
use crate::console;
use crate::domain::Vcpu;
use crate::guest::GuestPtr;
use xen_abi::{CONSOLEIO_read, CONSOLEIO_write, Errno};

/// Bytes copied at a time.
const CHUNK: usize = 256;

/// The hypercall: command, count, buffer.
pub fn console_io(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let (cmd, count, buffer) = (args[0] as u32, args[1] as u32 as usize, args[2]);
    if !cur.domain().privileged && cmd != CONSOLEIO_write {
        return Err(Errno::EPERM.into());
    }
    // A count beyond the signed range is the guest's error; Xen's own interface has it as an int.
    if count > i32::MAX as usize {
        return Err(Errno::EINVAL.into());
    }
    match cmd {
        CONSOLEIO_write => write(cur, count, buffer),
        CONSOLEIO_read => read(count, buffer),
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// Writes all of it, in steps.
fn write(cur: &Vcpu, count: usize, buffer: u64) -> Outcome {
    let mut bytes = [0u8; CHUNK];
    let mut done = 0;
    while done < count {
        let len = CHUNK.min(count - done);
        GuestPtr::new(buffer.wrapping_add(done as u64)).read_slice(&mut bytes[..len])?;
        console::guest_write(cur.domain(), &bytes[..len]);
        done += len;
        if done < count && preempt_needed() {
            let next = buffer.wrapping_add(done as u64);
            return Err(Stop::Again([
                CONSOLEIO_write.into(),
                (count - done) as u64,
                next,
                0,
                0,
                0,
            ]));
        }
    }
    Ok(0)
}

/// Reads what was typed, up to `count` bytes; the answer is their number.
fn read(count: usize, buffer: u64) -> Outcome {
    let mut bytes = [0u8; CHUNK];
    let mut done = 0;
    while done < count {
        let len = console::guest_read(&mut bytes[..CHUNK.min(count - done)]);
        if len == 0 {
            break;
        }
        GuestPtr::new(buffer.wrapping_add(done as u64)).write_slice(&bytes[..len])?;
        done += len;
    }
    Ok(done as u64)
}
