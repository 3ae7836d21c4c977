//! Consoles: `io/console.h`. What the cases print shows on the console as lines that begin with `#`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;

use pv_console::{Error, Front, INPUT_SIZE, OUTPUT_SIZE};
use pv_hal::{Hal, Memory};
use pv_xenbus::Store;

use crate::{Bench, Case, Outcome, Stop};

/// Time for the other end to read.
const PATIENCE: Duration = Duration::from_secs(20);

/// Offsets of the indexes in the page.
const IN_CONS: usize = 3072;
const IN_PROD: usize = 3076;
const OUT_CONS: usize = 3080;
const OUT_PROD: usize = 3084;

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        match error {
            Error::Absent => Stop::NotApplicable("no console".into()),
            other => Stop::Failed(format!("{other}")),
        }
    }
}

type Row<H, S> = (&'static str, &'static str, fn(&Bench<H, S>) -> Outcome);

/// All cases for consoles.
pub fn cases<H: Hal, S: Store>() -> Vec<Case<H, S>> {
    let rows: [Row<H, S>; 6] = [
        ("console/nodes", "the store names ring and port", nodes),
        (
            "console/sane-indexes",
            "neither ring holds more than it can",
            sane_indexes,
        ),
        ("console/output-is-read", "what is printed is read", output_is_read),
        (
            "console/more-than-the-ring",
            "so is more than the ring holds",
            more_than_the_ring,
        ),
        (
            "console/every-offset",
            "lines may end anywhere in the ring",
            every_offset,
        ),
        (
            "console/bad-output-index",
            "an index beyond the ring is survived",
            bad_output_index,
        ),
    ];
    let case = |(name, expects, run)| Case {
        name,
        header: "io/console.h",
        expects,
        run,
    };
    rows.into_iter().map(case).collect()
}

fn nodes<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    Front::new(&bench.hal)?;
    let ring: Option<u64> = bench.store.read_parsed("console/ring-ref")?;
    let port: Option<u32> = bench.store.read_parsed("console/port")?;
    bench.expect(
        ring.is_some() && port.is_some(),
        format!("ring {ring:?}, port {port:?}"),
    )
}

fn sane_indexes<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let (page, _) = bench.hal.console_ring().ok_or(Stop::from(Error::Absent))?;
    let used = |producer, consumer| {
        let consumed = page.load_u32(consumer, Ordering::Acquire);
        page.load_u32(producer, Ordering::Acquire).wrapping_sub(consumed) as usize
    };
    let (input, output) = (used(IN_PROD, IN_CONS), used(OUT_PROD, OUT_CONS));
    bench.expect(
        input <= INPUT_SIZE && output <= OUTPUT_SIZE,
        format!("{input} bytes of input, {output} of output"),
    )
}

/// Prints all of a text; false if nobody makes room for it in time.
fn put<H: Hal, S: Store>(bench: &Bench<H, S>, front: &mut Front<H>, text: &str) -> Result<bool, Stop> {
    let (end, mut rest) = (bench.hal.now() + PATIENCE, text.as_bytes());
    loop {
        bench.hal.take_event(front.port());
        rest = &rest[front.try_write(rest)?..];
        if rest.is_empty() {
            return Ok(true);
        }
        if !bench.hal.wait(&[front.port()], Some(end)) {
            return Ok(false);
        }
    }
}

/// Prints a text and waits until it is read.
fn print<H: Hal, S: Store>(bench: &Bench<H, S>, text: &str) -> Result<bool, Stop> {
    let mut front = Front::new(&bench.hal)?;
    Ok(put(bench, &mut front, text)? && front.drain(Some(bench.hal.now() + PATIENCE))?)
}

fn output_is_read<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let is_read = print(bench, "# a line of the console's cases\n")?;
    bench.expect(is_read, "nobody reads")
}

fn more_than_the_ring<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let line = format!("# {}\n", "0123456789abcdef".repeat(4));
    let text: String = core::iter::repeat_n(line.as_str(), 2 * OUTPUT_SIZE / line.len() + 1).collect();
    let is_read = print(bench, &text)?;
    bench.expect(is_read, format!("{} bytes are not read in time", text.len()))
}

fn every_offset<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut front = Front::new(&bench.hal)?;
    let mut is_read = true;
    // Lines of 61 and 67 bytes: their ends fall on ever other offsets.
    for number in 0..40 {
        let line = format!("# {number:<width$}\n", width = if number % 2 == 0 { 58 } else { 64 });
        is_read = is_read && put(bench, &mut front, &line)?;
    }
    is_read = is_read && front.drain(Some(bench.hal.now() + PATIENCE))?;
    bench.expect(is_read, "nobody reads")
}

fn bad_output_index<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let (page, port) = bench.hal.console_ring().ok_or(Stop::from(Error::Absent))?;
    if !print(bench, "# before a bad index\n")? {
        return Err(Stop::Failed("nobody reads".into()));
    }
    let produced = page.load_u32(OUT_PROD, Ordering::Acquire);
    page.store_u32(
        OUT_PROD,
        produced.wrapping_add(OUTPUT_SIZE as u32 + 1),
        Ordering::Release,
    );
    bench.hal.notify(port);
    bench.hal.wait(&[], Some(bench.hal.now() + Duration::from_millis(200)));
    let consumed = page.load_u32(OUT_CONS, Ordering::Acquire);
    page.store_u32(OUT_PROD, produced, Ordering::Release);
    let is_untouched = consumed == produced;
    // A reader that has followed the bad index is where only it knows; the rest of the case would be lost.
    if !is_untouched {
        page.store_u32(OUT_PROD, consumed, Ordering::Release);
    }
    let is_read = print(bench, "# after a bad index\n")?;
    bench.expect(
        is_untouched && is_read,
        format!("untouched: {is_untouched}, read afterwards: {is_read}"),
    )
}
