//! `xlr devd`.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use xenstore_client::Store;

use crate::context::Context;
use crate::life::devd;

/// What stands behind `xlr devd`.
#[derive(Args, Debug)]
pub struct DevdArgs {
    /// Stay in the foreground
    #[arg(short = 'F')]
    pub foreground: bool,
    /// Write the process id there
    #[arg(short = 'p', long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    /// Leave the session of who started it
    #[arg(long, hide = true)]
    pub detach: bool,
}

/// Where a daemon that nobody watches writes to.
const LOG: &str = "/var/log/paravane/devd.log";

/// Runs the command.
pub fn run(args: &DevdArgs, context: &mut Context) -> Result<ExitCode> {
    let own = context
        .store()?
        .read_text("domid")
        .context("this domain does not know its number")?;
    let own = own.parse().context("this domain's number is no number")?;
    if own == 0 {
        bail!("Domain-0 needs no devd: xlr connects the devices that it serves; run it in driver domains");
    }
    if !args.foreground {
        return start(args);
    }
    if args.detach {
        nix::unistd::setsid().context("the session cannot be left")?;
    }
    devd::serve(context.store()?, own)?;
    Ok(ExitCode::SUCCESS)
}

fn start(args: &DevdArgs) -> Result<ExitCode> {
    std::fs::create_dir_all("/var/log/paravane").context("/var/log/paravane cannot be made")?;
    let log = File::options()
        .create(true)
        .append(true)
        .open(LOG)
        .with_context(|| format!("cannot open {LOG}"))?;
    let program = std::env::current_exe().context("xlr does not know its own path")?;
    let child = Command::new(program)
        .args(["devd", "-F", "--detach"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().with_context(|| format!("cannot share {LOG}"))?)
        .stderr(log)
        .current_dir("/")
        .spawn()
        .context("devd cannot be started")?;
    if let Some(path) = &args.pidfile {
        std::fs::write(path, format!("{}\n", child.id()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
