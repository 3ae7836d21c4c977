//! `xlr uptime`.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::json;
use xenstore_client::{Client, Store};

use crate::context::Context;
use crate::view::colour::{Paint, Tone};
use crate::view::domains::{self, Domain, uuid_text};
use crate::view::{duration, json};

/// What stands behind `xlr uptime`.
#[derive(Args, Debug)]
pub struct UptimeArgs {
    /// Short form
    #[arg(short = 's', long)]
    pub short: bool,
    /// Names or ids of domains; all when none is given
    pub domains: Vec<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &UptimeArgs, context: &mut Context) -> Result<ExitCode> {
    let list = domains::gather(context, &args.domains)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock stands before 1970")?
        .as_secs();
    let store = context.store()?;
    let mut lines = Vec::new();
    for domain in &list {
        lines.push((domain, uptime_of(store, domain, now)?));
    }
    if args.json {
        let record = |(domain, seconds): &(&Domain, Option<u64>)| json!({ "domid": domain.info.domid, "name": domain.name, "uptime_s": seconds });
        return json::print(&lines.iter().map(record).collect::<Vec<_>>());
    }
    let mut text = String::new();
    if !args.short {
        text = Paint::stdout().tone(Tone::Strong, "Name                                ID Uptime") + "\n";
    }
    for (domain, seconds) in lines {
        let up = seconds.map_or(" unknown".to_owned(), |seconds| duration::uptime(seconds, args.short));
        let (name, domid) = (domain.shown_name(), domain.info.domid);
        if args.short {
            text += &format!(
                " {} up {up},  {name} ({domid})\n",
                jiff::Zoned::now().strftime("%H:%M:%S")
            );
        } else {
            text += &format!("{name:<33} {domid:4} {up}\n");
        }
    }
    json::print_text(&text)
}

/// Seconds since a domain's start; none where nobody has written down when that was.
fn uptime_of(store: &mut Client, domain: &Domain, now: u64) -> Result<Option<u64>> {
    if domain.info.domid == 0 {
        let text = std::fs::read_to_string("/proc/uptime").context("cannot read /proc/uptime")?;
        return Ok(seconds(&text));
    }
    let path = format!("/vm/{}/start_time", uuid_text(&domain.info.uuid));
    let start = store.read_optional(&path)?.as_deref().and_then(seconds);
    Ok(start.map(|start| now.saturating_sub(start)))
}

/// The whole seconds at the start of `text`: `94.31 12.2` has 94.
fn seconds(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_are_enough() {
        assert_eq!(seconds("94.31 12.2\n"), Some(94));
        assert_eq!(seconds("1795417013.06"), Some(1_795_417_013));
        assert_eq!(seconds(""), None);
        assert_eq!(seconds("soon"), None);
    }
}
