//! Transactions.

use alloc::string::String;

use pv_hal::Hal;
use pv_xenbus::{Kind, Store, StoreError};

use super::{below, clear};
use crate::{Bench, Outcome, Stop};

/// Begins one; its number.
fn begin<H: Hal, S: Store>(bench: &Bench<H, S>) -> Result<u32, Stop> {
    let answer = bench.store.call(Kind::TRANSACTION_START, &[""], &[])?;
    let text = String::from_utf8_lossy(&answer);
    let number = text.trim_end_matches('\0').parse().ok();
    let number = number.filter(|&number| number != 0);
    number.ok_or_else(|| Stop::Failed(alloc::format!("a transaction's number is {text:?}")))
}

fn end<H: Hal, S: Store>(bench: &Bench<H, S>, number: u32, word: &str) -> Result<(), pv_xenbus::Error> {
    let result = bench.store.call_within(number, Kind::TRANSACTION_END, &[word], &[]);
    result.map(drop)
}

fn write_within<H: Hal, S: Store>(bench: &Bench<H, S>, number: u32, name: &str, value: &str) -> Outcome {
    let path = below(name);
    bench
        .store
        .call_within(number, Kind::WRITE, &[&path], value.as_bytes())?;
    Ok(())
}

pub(super) fn commits<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    bench.store.write(&below("a"), 1)?;
    let number = begin(bench)?;
    write_within(bench, number, "a", "2")?;
    write_within(bench, number, "b", "3")?;
    let inside = bench.store.call_within(number, Kind::READ, &[&below("a")], &[])?;
    bench.expect(inside == b"2", "the transaction does not see its own change")?;
    let outside = (bench.store.read(&below("a"))?, bench.store.read_optional(&below("b"))?);
    bench.expect(
        outside == ("1".into(), None),
        format_args!("outside is already {outside:?}"),
    )?;
    end(bench, number, "T")?;
    let after = (bench.store.read(&below("a"))?, bench.store.read(&below("b"))?);
    bench.expect(
        after == ("2".into(), "3".into()),
        format_args!("afterwards it is {after:?}"),
    )
}

pub(super) fn drops<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    bench.store.write(&below("a"), 1)?;
    let number = begin(bench)?;
    write_within(bench, number, "a", "2")?;
    write_within(bench, number, "b/c", "3")?;
    end(bench, number, "F")?;
    let after = (bench.store.read(&below("a"))?, bench.store.read_optional(&below("b"))?);
    bench.expect(after == ("1".into(), None), format_args!("afterwards it is {after:?}"))
}

pub(super) fn conflicts<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    bench.store.write(&below("a"), 1)?;
    let number = begin(bench)?;
    bench.store.call_within(number, Kind::READ, &[&below("a")], &[])?;
    bench.store.write(&below("a"), 9)?;
    write_within(bench, number, "b", "3")?;
    let result = end(bench, number, "T");
    bench.expect_refusal("a commit", result, &[StoreError::EAGAIN])?;
    let after = bench.store.read_optional(&below("b"))?;
    bench.expect(after.is_none(), "a part of it was done")?;
    bench.expect(bench.store.read(&below("a"))? == "9", "the other change is lost")
}

pub(super) fn unknown_numbers<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    let number = begin(bench)?;
    end(bench, number, "F")?;
    for number in [number, 0xffff_fff0] {
        let result = bench.store.call_within(number, Kind::READ, &[&below("a")], &[]);
        bench.expect_refusal("a read", result, &[StoreError::ENOENT])?;
        bench.expect_refusal("an end", end(bench, number, "T"), &[StoreError::ENOENT])?;
    }
    Ok(())
}

pub(super) fn nested<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    clear(bench)?;
    let number = begin(bench)?;
    let result = bench.store.call_within(number, Kind::TRANSACTION_START, &[""], &[]);
    let refused = bench.expect_refusal("a transaction in one", result, &[StoreError::EBUSY]);
    end(bench, number, "F")?;
    refused
}
