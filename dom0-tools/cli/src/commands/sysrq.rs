//! `xlr sysrq`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use xenstore_client::Store;

use crate::context::Context;
use crate::failure::Failure;
use crate::life::layout::domain_path;
use crate::lookup;

/// What stands behind `xlr sysrq`.
#[derive(Args, Debug)]
pub struct SysrqArgs {
    /// Name or id of the domain
    pub domain: String,
    /// The letter
    pub letter: String,
}

/// Runs the command.
pub fn run(args: &SysrqArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    let mut letters = args.letter.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else {
        return Err(Failure::new(
            2,
            format!("{:?} is not one letter; h lists what the guest knows", args.letter),
        ));
    };
    context
        .store()?
        .write(&format!("{}/control/sysrq", domain_path(domid)), letter.to_string())?;
    Ok(ExitCode::SUCCESS)
}
