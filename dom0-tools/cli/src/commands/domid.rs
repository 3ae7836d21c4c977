//! `xlr domid`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::failure::Failure;
use crate::view::{domains, json};

/// What stands behind `xlr domid`.
#[derive(Args, Debug)]
pub struct DomidArgs {
    /// Name of the domain
    pub name: String,
}

/// Runs the command. Only names are looked for: a number is a name like any other here, as in xl.
pub fn run(args: &DomidArgs, context: &mut Context) -> Result<ExitCode> {
    let all = domains::gather(context, &[])?;
    match all.iter().find(|domain| domain.name.as_deref() == Some(&args.name)) {
        Some(domain) => json::print_text(&format!("{}\n", domain.info.domid)),
        None => Err(Failure::new(
            1,
            format!(
                "Can't get domid of domain name '{}', maybe this domain does not exist.",
                args.name
            ),
        )),
    }
}
