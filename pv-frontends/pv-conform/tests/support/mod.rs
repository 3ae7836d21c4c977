//! What the tests of the cases share: a run with its lines, and a toolstack that does what cases ask for.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use pv_conform::{Bench, Case, Tally, run};
use pv_hal::Hal;
use pv_hal::fake::Domain;
use pv_xenbus::Store;
use pv_xenbus::fake::LocalStore;

/// Runs the cases whose names begin with `wanted`; what they came to, and their lines.
pub fn try_cases<H: Hal, S: Store>(
    cases: &[Case<H, S>],
    bench: &mut Bench<H, S>,
    wanted: &str,
    broken: Option<&str>,
) -> (Tally, Vec<String>) {
    let mut lines = Vec::new();
    let tally = run(cases, bench, wanted, broken, &mut |line| lines.push(line.to_string()));
    (tally, lines)
}

/// Has `toolstack` answer what domain 1 asks for; `act` says whether it knows the action and has carried it out.
pub fn answer_requests(toolstack: &Domain, store: &LocalStore, mut act: impl FnMut(&str) -> bool + 'static) {
    let store = store.clone();
    toolstack.spawn(move || {
        let request = store.get("/local/domain/1/data/request").unwrap_or_default();
        let answered = store.get("/local/domain/1/data/answer").unwrap_or_default();
        let Some((number, action)) = request.split_once(' ') else {
            return;
        };
        if answered.starts_with(&format!("{number} ")) {
            return;
        }
        let word = if act(action) { "done" } else { "no" };
        store.set("/local/domain/1/data/answer", &format!("{number} {word}"));
    });
}
