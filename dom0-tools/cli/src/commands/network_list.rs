//! `xlr network-list`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::life::devices::Class;
use crate::life::devices::listing::{self, Ends};
use crate::view::json;

/// What stands behind `xlr network-list`.
#[derive(Args, Debug)]
pub struct NetworkListArgs {
    /// Names or ids of domains
    #[arg(required = true)]
    pub domains: Vec<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Row {
    domain: String,
    devid: u32,
    mac: String,
    bridge: String,
    ip: String,
    #[serde(flatten)]
    ends: Ends,
}

/// Runs the command.
pub fn run(args: &NetworkListArgs, context: &mut Context) -> Result<ExitCode> {
    let rows = listing::rows(
        context,
        &args.domains,
        |class| class == Class::Vif,
        |store, domain, device, ends| {
            Ok(Row {
                domain: domain.to_owned(),
                devid: device.devid,
                mac: ends.backend_value(store, "mac")?,
                bridge: ends.backend_value(store, "bridge")?,
                ip: ends.backend_value(store, "ip")?,
                ends,
            })
        },
    )?;
    if args.json {
        return json::print(&rows);
    }
    let mut text = format!(
        "{:<3} {:<2} {:<17} {:<6} {:<5} {:<6} {:>5}/{:<5} {:<30}\n",
        "Idx", "BE", "Mac Addr.", "handle", "state", "evt-ch", "tx-", "rx-ring-ref", "BE-path"
    );
    for row in rows {
        let ends = &row.ends;
        let ring = |at: usize| ends.ring_ref.get(at).copied().unwrap_or(-1);
        let _ = writeln!(
            text,
            "{:<3} {:<2} {:<17} {:>6} {:>5} {:>6} {:>5}/{:<11} {:<30}",
            row.devid,
            ends.backend_id,
            row.mac,
            row.devid,
            ends.state,
            ends.event_channel,
            ring(0),
            ring(1),
            ends.backend_path
        );
    }
    json::print_text(&text)
}
