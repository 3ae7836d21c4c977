//! Processes: copies on write stay apart, statuses arrive, programs replace themselves.

use std::process::Command;

use crate::Check;
use crate::system::{self, Numbers};

const WORDS: usize = 32 * 1024;

/// Forks in waves; each child changes its copy of the parent's memory.
pub(crate) fn run(rounds: u32) -> Check {
    let mut numbers = Numbers(0x5eed);
    let mut memory: Vec<u64> = (0..WORDS).map(|_| numbers.next()).collect();
    let sum = |memory: &[u64]| memory.iter().fold(0_u64, |sum, word| sum.rotate_left(1) ^ word);
    for wave in 0..25 * rounds {
        let before = sum(&memory);
        let pids: Result<Vec<i32>, String> = (0..8_u8)
            .map(|child| {
                system::spawn(|| {
                    if sum(&memory) != before {
                        return 1;
                    }
                    for word in memory.iter_mut().step_by(256) {
                        *word = u64::from(child);
                    }
                    let own = memory.iter().step_by(256).all(|&word| word == u64::from(child));
                    if own && grandchild(child) { 100 + child } else { 2 }
                })
            })
            .collect();
        for (child, pid) in pids?.into_iter().enumerate() {
            let status = system::wait(pid)?;
            if status != 100 + child as i32 {
                return Err(format!("child {child} of wave {wave} ended with {status}"));
            }
        }
        if sum(&memory) != before {
            return Err(format!("wave {wave} changed its parent's memory"));
        }
        memory[wave as usize % WORDS] = numbers.next();
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    for status in 0..20 * rounds {
        let wanted = (status % 200) as i32;
        let ended = Command::new(&program).args(["--exit", &wanted.to_string()]).status();
        let got = ended.map_err(|error| error.to_string())?.code();
        if got != Some(wanted) {
            return Err(format!("a program ended with {got:?} in the place of {wanted}"));
        }
    }
    Ok(())
}

fn grandchild(number: u8) -> bool {
    system::spawn(|| number).and_then(system::wait) == Ok(i32::from(number))
}
