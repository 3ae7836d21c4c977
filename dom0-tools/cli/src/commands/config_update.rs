//! `xlr config-update`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use xl_config::Uuid;

use crate::context::Context;
use crate::life::configuration;
use crate::life::record::Records;
use crate::life::settle::settle;
use crate::lookup;
use crate::message;

/// What stands behind `xlr config-update`.
#[derive(Args, Debug)]
pub struct ConfigUpdateArgs {
    /// Name or id of the domain
    pub domain: String,
    /// Configuration file and key=value pairs
    #[arg(value_name = "CONFIG | KEY=VALUE", required_unless_present = "defconfig")]
    pub words: Vec<String>,
    /// Configuration file
    #[arg(short = 'f', long, value_name = "FILE")]
    pub defconfig: Option<String>,
    /// Tell more of what is done
    #[arg(short = 'd', hide = true)]
    pub debug: bool,
}

/// Runs the command.
pub fn run(args: &ConfigUpdateArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    let mut loaded = configuration::load(args.defconfig.as_deref(), &args.words, false)?;
    let uuid = Uuid(context.hypervisor()?.domain_info(domid)?.uuid);
    let records = Records::default();
    let Some(mut record) = records.load(uuid)? else {
        bail!("domain {domid} was not made by xlr: it has no saved configuration to change");
    };
    if loaded.config.uuid.is_some_and(|other| other != uuid) {
        bail!("{}: uuid: is another domain's; leave it out", loaded.source);
    }
    loaded.config.uuid = Some(uuid);
    settle(&mut loaded.config)?;
    record.next_config = Some(loaded.config);
    record.source = loaded.source;
    records.save(&record)?;
    message::say("the new configuration counts from the domain's next restart");
    Ok(ExitCode::SUCCESS)
}
