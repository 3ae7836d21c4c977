//! Memory: fresh pages are zero, contents survive moves and changes of rights, shared pages are shared.

use crate::Check;
use crate::system::{self, Mapping, Numbers};

const MIB: usize = 1 << 20;
const PAGE_WORDS: usize = 512;

fn fill(mapping: &mut Mapping, seed: u64) {
    let mut numbers = Numbers(seed);
    mapping
        .words()
        .iter_mut()
        .step_by(64)
        .for_each(|word| *word = numbers.next());
}

fn verify(mapping: &mut Mapping, words: usize, seed: u64) -> Check {
    let mut numbers = Numbers(seed);
    for (index, word) in mapping.words()[..words].iter().step_by(64).enumerate() {
        if *word != numbers.next() {
            return Err(format!("word {} of a mapping changed", index * 64));
        }
    }
    Ok(())
}

/// Maps, touches, moves and unmaps.
pub(crate) fn run(rounds: u32) -> Check {
    for round in 0..u64::from(12 * rounds) {
        let seed = 0x1234_5678 + round;
        let mut mapping = Mapping::new(4 * MIB, false)?;
        if mapping.words().iter().step_by(PAGE_WORDS).any(|&word| word != 0) {
            return Err("fresh memory is not zero".to_owned());
        }
        fill(&mut mapping, seed);
        // Rights change back and forth in small pieces, so that page tables split and merge.
        for piece in (0..4 * MIB).step_by(256 * 1024) {
            mapping.protect(piece, 64 * 1024, libc::PROT_READ)?;
        }
        verify(&mut mapping, 4 * MIB / 8, seed)?;
        mapping.protect(0, 4 * MIB, libc::PROT_READ | libc::PROT_WRITE)?;
        let mut neighbour = Mapping::new(MIB, false)?;
        fill(&mut neighbour, seed + 1);
        mapping.resize(6 * MIB)?;
        verify(&mut mapping, 4 * MIB / 8, seed)?;
        mapping.resize(2 * MIB)?;
        verify(&mut mapping, 2 * MIB / 8, seed)?;
        verify(&mut neighbour, MIB / 8, seed + 1)?;
        shared(seed)?;
    }
    Ok(())
}

/// What a child writes to shared memory, its parent reads.
fn shared(seed: u64) -> Check {
    let mut memory = Mapping::new(MIB, true)?;
    let child = system::spawn(|| {
        fill(&mut memory, seed);
        0
    })?;
    system::wait_all(&[child], "shared memory")?;
    verify(&mut memory, MIB / 8, seed)
}
