//! Floating point: no process ever sees another's registers, rounding mode or results.

use crate::arch::{vector_registers_hold, x87_and_control_hold};
use crate::{Check, system};

const PROCESSES: u64 = 6;

/// Runs processes side by side that each hold their own values in registers.
pub(crate) fn run(rounds: u32) -> Check {
    let expected: Vec<u64> = (0..PROCESSES).map(|seed| sequence(seed, 20_000)).collect();
    for _ in 0..rounds {
        let pids: Result<Vec<i32>, String> = (0..PROCESSES)
            .map(|seed| {
                let wanted = expected[seed as usize];
                system::spawn(move || {
                    for turn in 0..8 {
                        if !vector_registers_hold(seed * 1000 + turn, 300) {
                            return 1;
                        }
                        if !x87_and_control_hold(seed, 300) {
                            return 2;
                        }
                        if sequence(seed, 20_000) != wanted {
                            return 3;
                        }
                    }
                    0
                })
            })
            .collect();
        system::wait_all(&pids?, "1 is vector registers, 2 is x87 or rounding, 3 is arithmetic")?;
    }
    Ok(())
}

/// A chaotic sequence: one wrong bit anywhere changes its end.
fn sequence(seed: u64, steps: u32) -> u64 {
    let mut x = 0.1 + seed as f64 / 100.0;
    for _ in 0..steps {
        x = std::hint::black_box(3.999 * x * (1.0 - x));
    }
    x.to_bits()
}
