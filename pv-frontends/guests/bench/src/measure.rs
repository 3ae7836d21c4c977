//! How a path is measured: the least mean of several batches, after one to warm up.
use guest_rt::clock::ticks;
use guest_rt::println;

/// Batches of which the least counts.
pub const BATCHES: u32 = 9;
/// Rounds of a batch.
pub const ROUNDS: u64 = 100;

/// Prints a path's cost.
pub fn bench(name: &str, ticks: u64) {
    println!("BENCH {name} {ticks}");
}

/// Ticks of a piece of code.
pub fn timed(code: impl FnOnce()) -> u64 {
    let begun = ticks();
    code();
    ticks() - begun
}

/// The least mean ticks of a round; `code` gives those of the measured part of one.
pub fn of_parts(mut code: impl FnMut() -> u64) -> u64 {
    code();
    let batch = |_| (0..ROUNDS).map(|_| code()).sum::<u64>() / ROUNDS;
    (0..BATCHES).map(batch).min().unwrap_or(0)
}

/// The least mean ticks of a round, of which each call of `code` does `rounds`.
pub fn of_loop(rounds: u64, mut code: impl FnMut()) -> u64 {
    code();
    (0..BATCHES).map(|_| timed(&mut code) / rounds).min().unwrap_or(0)
}
