//! `xlr trigger`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::context::Context;
use crate::failure::Failure;
use crate::lookup;

/// What stands behind `xlr trigger`.
#[derive(Args, Debug)]
pub struct TriggerArgs {
    /// Name or id of the domain
    pub domain: String,
    /// nmi, reset, init, power, sleep or s3resume
    pub trigger: String,
    /// Number of the vcpu
    pub vcpu: Option<u32>,
}

/// Triggers by their numbers (`XEN_DOMCTL_SENDTRIGGER_*`).
const TRIGGERS: [&str; 5] = ["nmi", "reset", "init", "power", "sleep"];

/// Runs the command.
pub fn run(args: &TriggerArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    let number = TRIGGERS
        .iter()
        .position(|&name| name == args.trigger)
        .and_then(|at| u32::try_from(at).ok());
    let Some(number) = number else {
        let known = TRIGGERS.join(", ");
        return Err(Failure::new(
            1,
            format!("{:?} is no trigger for a PV guest; choose from {known}", args.trigger),
        ));
    };
    let sent = context
        .hypervisor()?
        .send_trigger(domid, number, args.vcpu.unwrap_or(0));
    sent.with_context(|| format!("{} cannot be sent; PV guests take nmi only", args.trigger))?;
    Ok(ExitCode::SUCCESS)
}
