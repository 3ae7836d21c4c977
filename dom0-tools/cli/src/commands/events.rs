//! `xlr events`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::view::changes::{Change, Look, What, compare};
use crate::view::colour::{Paint, Tone};
use crate::view::{domains, json};

/// What stands behind `xlr events`.
#[derive(Args, Debug)]
pub struct EventsArgs {
    /// First tell which domains there are
    #[arg(short = 'a', long)]
    pub all: bool,
    /// End after that many events
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub count: Option<u64>,
    /// End after that many seconds
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Only events of the domain with this name or number
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Seconds between two looks at what the store does not tell (pauses, shutdowns)
    #[arg(long, value_name = "SECONDS", default_value_t = 0.25)]
    pub interval: f64,
    /// A JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Runs the command: until it is interrupted, or as the options say.
pub fn run(args: &EventsArgs, context: &mut Context) -> Result<ExitCode> {
    let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    let end = args
        .timeout
        .and_then(|timeout| Instant::now().checked_add(seconds(timeout)));
    let interval = seconds(args.interval).max(Duration::from_millis(10));
    let store = context.store()?;
    store.watch("@introduceDomain", "domains")?;
    store.watch("@releaseDomain", "domains")?;
    let mut told = 0;
    let mut before = look(context)?;
    if args.all {
        let present: Vec<Change> = before
            .values()
            .map(|domain| Change {
                what: What::Present,
                domain: domain.clone(),
            })
            .collect();
        if !tell(args, &present, &mut told)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    loop {
        let left = end.map_or(interval, |end| {
            end.saturating_duration_since(Instant::now()).min(interval)
        });
        if left.is_zero() {
            return Ok(ExitCode::SUCCESS);
        }
        let store = context.store()?;
        store.wait_event(Some(left))?;
        // More of the same is answered by the same look.
        while store.next_event()?.is_some() {}
        let after = look(context)?;
        if !tell(args, &compare(&before, &after), &mut told)? {
            return Ok(ExitCode::SUCCESS);
        }
        before = after;
    }
}

fn look(context: &mut Context) -> Result<Look> {
    Ok(domains::gather(context, &[])?
        .into_iter()
        .map(|domain| (domain.info.domid, domain))
        .collect())
}

/// Prints what concerns who asked. False when that was all.
fn tell(args: &EventsArgs, changes: &[Change], told: &mut u64) -> Result<bool> {
    let now = jiff::Timestamp::now();
    for change in changes.iter().filter(|change| concerns(args, change)) {
        let text = if args.json {
            serde_json::to_string(&change.record(&format!("{now:.3}")))? + "\n"
        } else {
            let time = now
                .to_zoned(jiff::tz::TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S%.3f");
            format!("{time} {}\n", Paint::stdout().tone(tone(&change.what), &change.line()))
        };
        *told += 1;
        if !json::write_out(&text)? || args.count.is_some_and(|count| *told >= count) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn concerns(args: &EventsArgs, change: &Change) -> bool {
    let Some(wanted) = &args.domain else { return true };
    let before = match &change.what {
        What::Renamed(before) => before.as_ref(),
        _ => None,
    };
    change.domain.name.as_ref() == Some(wanted)
        || before == Some(wanted)
        || *wanted == change.domain.info.domid.to_string()
}

fn tone(what: &What) -> Tone {
    match what.word() {
        "crashed" => Tone::Bad,
        "created" | "unpaused" | "resumed" => Tone::Good,
        "paused" | "shutdown" | "dying" | "destroyed" => Tone::Notice,
        _ => Tone::Calm,
    }
}
