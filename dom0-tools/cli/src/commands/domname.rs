//! `xlr domname`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use xenstore_client::Store;

use crate::context::Context;
use crate::failure::Failure;
use crate::view::json;

/// What stands behind `xlr domname`.
#[derive(Args, Debug)]
pub struct DomnameArgs {
    /// Id of the domain
    pub id: String,
}

/// Runs the command.
pub fn run(args: &DomnameArgs, context: &mut Context) -> Result<ExitCode> {
    let Ok(domid) = args.id.parse::<u16>() else {
        return Err(Failure::new(
            1,
            format!("Invalid domain id '{}': a number is wanted, see xlr list.", args.id),
        ));
    };
    match context.store()?.read_optional(&format!("/local/domain/{domid}/name"))? {
        Some(name) => json::print_text(&format!("{name}\n")),
        None => {
            let text = format!("Can't get domain name of domain id '{domid}', maybe this domain does not exist.");
            Err(Failure::new(1, text))
        }
    }
}
