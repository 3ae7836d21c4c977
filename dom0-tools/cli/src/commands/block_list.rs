//! `xlr block-list`.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::life::devices::Class;
use crate::life::devices::listing::{self, Ends};
use crate::view::json;

/// What stands behind `xlr block-list`.
#[derive(Args, Debug)]
pub struct BlockListArgs {
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
    vdev: u32,
    dev: String,
    target: String,
    mode: String,
    #[serde(flatten)]
    ends: Ends,
}

/// Runs the command.
pub fn run(args: &BlockListArgs, context: &mut Context) -> Result<ExitCode> {
    let rows = listing::rows(
        context,
        &args.domains,
        |class| class != Class::Vif,
        |store, domain, device, ends| {
            Ok(Row {
                domain: domain.to_owned(),
                vdev: device.devid,
                dev: ends.backend_value(store, "dev")?,
                target: ends.backend_value(store, "params")?,
                mode: ends.backend_value(store, "mode")?,
                ends,
            })
        },
    )?;
    if args.json {
        return json::print(&rows);
    }
    let mut text = format!(
        "{:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}\n",
        "Vdev", "BE", "handle", "state", "evt-ch", "ring-ref", "BE-path"
    );
    for row in rows {
        let ends = &row.ends;
        let _ = writeln!(
            text,
            "{:<5} {:<3} {:<6} {:<5} {:<6} {:<8} {:<30}",
            row.vdev,
            ends.backend_id,
            ends.frontend_id,
            ends.state,
            ends.event_channel,
            ends.ring_ref.first().copied().unwrap_or(-1),
            ends.backend_path
        );
    }
    json::print_text(&text)
}
