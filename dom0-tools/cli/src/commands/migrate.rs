//! `xlr migrate`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use xl_config::Uuid;

use crate::context::Context;
use crate::life::record::Records;
use crate::life::{Tools, configuration};
use crate::lookup;
use crate::migrate::progress::Progress;
use crate::migrate::transport::Transport;
use crate::migrate::{libxl_config, sender};

/// What stands behind `xlr migrate`.
#[derive(Args, Debug)]
pub struct MigrateArgs {
    /// Configuration to be sent in the place of the one it has now
    #[arg(short = 'C', value_name = "CONFIG")]
    pub config: Option<String>,
    /// How the other host is reached; empty takes HOST itself for the whole command
    #[arg(short = 's', value_name = "COMMAND", default_value = "ssh")]
    pub ssh: String,
    /// The program that receives over there
    #[arg(long, value_name = "PROGRAM", default_value = "xlr")]
    pub receiver: String,
    /// Leave the domain paused over there
    #[arg(short = 'p')]
    pub paused: bool,
    /// Do not wait for the domain's death over there
    #[arg(short = 'e')]
    pub exit_after_start: bool,
    /// Tell more of what is done
    #[arg(long, hide = true)]
    pub debug: bool,
    /// Accepted for scripts written for xl: migration is live
    #[arg(long, hide = true)]
    pub live: bool,
    /// Print only errors
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Name or id of the domain
    pub domain: String,
    /// The other host, or `tcp:ADDRESS:PORT` where a receiver listens
    pub host: String,
}

/// Runs the command.
pub fn run(args: &MigrateArgs, context: &mut Context) -> Result<ExitCode> {
    let domid = lookup::domain(context, &args.domain)?;
    if domid == 0 {
        bail!("Domain-0 cannot be moved");
    }
    let records = Records::default();
    let (hypervisor, store) = context.both()?;
    let uuid = Uuid(hypervisor.domain_info(domid)?.uuid);
    let lock = records.wait_for_lock(uuid)?;
    let config = match &args.config {
        Some(path) => {
            let config = configuration::load(Some(path), &[], args.quiet)?.config;
            Some(serde_json::to_vec_pretty(&libxl_config::write(&config)?)?)
        }
        None => None,
    };
    let mut transport = Transport::open(&args.host, &rune(args))?;
    let mut progress = Progress::new("migrating", args.quiet);
    let tools = Tools::new(hypervisor, &records);
    let moved = sender::migrate(tools, store, domid, &mut transport, config, &mut progress);
    lock.release();
    let moved = match moved {
        Ok(moved) => moved,
        Err(error) => {
            // How the command ended tells less than what went wrong.
            let _ = transport.close();
            return Err(error);
        }
    };
    progress.say(format_args!(
        "migrated in {:.3} s, down for {:.3} s, {} rounds, {} pages, {} MiB",
        moved.total.as_secs_f64(),
        moved.down.as_secs_f64(),
        moved.rounds,
        moved.pages,
        progress.bytes() >> 20
    ));
    if !args.quiet {
        eprintln!("Migration successful.");
    }
    transport.close()?;
    Ok(ExitCode::SUCCESS)
}

/// The shell command that reaches the receiver.
fn rune(args: &MigrateArgs) -> String {
    if args.ssh.is_empty() {
        return args.host.clone();
    }
    let flags = [(args.paused, " -p"), (args.exit_after_start, " -e")];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
    format!(
        "exec {} {} {} migrate-receive{flags}",
        args.ssh, args.host, args.receiver
    )
}
