//! `xlr vm-list`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::view::colour::{Paint, Tone};
use crate::view::domains::{self, Domain, uuid_text};
use crate::view::json;

/// What stands behind `xlr vm-list`.
#[derive(Args, Debug)]
pub struct VmListArgs {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command: the guests, without Dom0.
pub fn run(args: &VmListArgs, context: &mut Context) -> Result<ExitCode> {
    let mut list = domains::gather(context, &[])?;
    list.retain(|domain| domain.info.domid != 0);
    if args.json {
        return json::print(&list.iter().map(Domain::record).collect::<Vec<_>>());
    }
    let heading = "UUID                                  ID    name";
    let mut text = Paint::stdout().tone(Tone::Strong, heading) + "\n";
    for domain in &list {
        text += &format!(
            "{}  {}    {:<30}\n",
            uuid_text(&domain.info.uuid),
            domain.info.domid,
            domain.shown_name()
        );
    }
    json::print_text(&text)
}
