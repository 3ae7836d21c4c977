//! Watches.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use pv_hal::Hal;
use pv_xenbus::{Nodes, Store, WatchId};

use super::{below, clear};
use crate::{Bench, Outcome, Stop};

/// Time for an event to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until a watch tells of `path`.
fn wait_for_path<H: Hal, S: Store>(bench: &Bench<H, S>, watch: WatchId, path: &str) -> Outcome {
    bench.wait_for(format_args!("event for {path}"), PATIENCE, || {
        let told = core::iter::from_fn(|| bench.store.take_event(watch));
        let mut told = told.filter(|told| told == path);
        Ok(told.next().map(drop))
    })
}

/// Sets a watch and takes its first event.
fn watch<H: Hal, S: Store>(bench: &Bench<H, S>, path: &str) -> Result<WatchId, Stop> {
    let watch = bench.store.watch(path)?;
    wait_for_path(bench, watch, path)?;
    Ok(watch)
}

/// What a watch tells until it has been quiet: a request and its answer come behind all events before.
fn rest<H: Hal, S: Store>(bench: &Bench<H, S>, watch: WatchId) -> Result<Option<String>, Stop> {
    bench.store.read_optional(&below("a"))?;
    Ok(bench.store.take_event(watch))
}

pub(super) fn fires_at_first<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    for path in [below("there"), below("not-there")] {
        let watch = watch(bench, &path)?;
        let more = rest(bench, watch)?;
        bench.store.unwatch(watch);
        bench.expect(more.is_none(), format_args!("it fires twice, of {more:?}"))?;
    }
    Ok(())
}

pub(super) fn tells_of_changes<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    let path = below("w");
    let watch = watch(bench, &path)?;
    bench.store.write(&below("beside"), 1)?;
    let told = rest(bench, watch)?;
    bench.expect(told.is_none(), format_args!("a node beside it is told: {told:?}"))?;
    bench.store.write(&path, 1)?;
    wait_for_path(bench, watch, &path)?;
    bench.store.write(&format!("{path}/below/it"), 1)?;
    wait_for_path(bench, watch, &format!("{path}/below/it"))?;
    bench.store.remove(&format!("{path}/below"))?;
    wait_for_path(bench, watch, &format!("{path}/below"))?;
    bench.store.unwatch(watch);
    Ok(())
}

pub(super) fn tells_of_removals<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    bench.store.write(&below("a/b/c"), 1)?;
    let watch = watch(bench, &below("a/b/c"))?;
    bench.store.remove(&below("a"))?;
    wait_for_path(bench, watch, &below("a/b/c"))?;
    let left = bench.store.read_optional(&below("a/b/c"))?;
    bench.store.unwatch(watch);
    bench.expect(left.is_none(), "it is still there")
}

pub(super) fn tells_at_the_end<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    let watch = watch(bench, &below("t"))?;
    let early = bench.store.transaction(|transaction| {
        transaction.write(&below("t/a"), 1)?;
        // A request outside brings along what was told so far.
        bench.store.read_optional(&below("a"))?;
        Ok(bench.store.take_event(watch))
    })?;
    bench.expect(early.is_none(), format_args!("told before the end: {early:?}"))?;
    wait_for_path(bench, watch, &below("t/a"))?;
    bench.store.unwatch(watch);
    Ok(())
}

pub(super) fn ends<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    let (gone, kept) = (watch(bench, &below("w"))?, watch(bench, &below("w"))?);
    bench.store.unwatch(gone);
    bench.store.write(&below("w"), 1)?;
    wait_for_path(bench, kept, &below("w"))?;
    let told = bench.store.take_event(gone);
    bench.store.unwatch(kept);
    bench.expect(told.is_none(), "it goes on")
}

pub(super) fn many_changes<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    let watch = watch(bench, &below("many"))?;
    for number in 0..300 {
        bench.store.write(&below(&format!("many/{}", number % 40)), number)?;
    }
    // Some may be told as one; that there was something is told in any case.
    let told = bench.wait_for("event", PATIENCE, || Ok(bench.store.take_event(watch)))?;
    while bench.store.take_event(watch).is_some() {}
    bench.store.write(&below("many/last"), 1)?;
    wait_for_path(bench, watch, &below("many/last"))?;
    bench.store.unwatch(watch);
    bench.expect(told.starts_with(&below("many")), format_args!("told of {told}"))
}
