//! What `xlr create` and `xlr restore` have in common: how a domain they make is started and followed.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::console;
use crate::context::Context;
use crate::failure::{self, Failure};
use crate::life::create::Created;
use crate::life::watch_end;

/// Options of every command that makes a domain.
#[derive(Args, Debug)]
pub struct StartArgs {
    /// Leave the domain paused
    #[arg(short = 'p')]
    pub paused: bool,
    /// Attach to the console at once
    #[arg(short = 'c')]
    pub console: bool,
    /// Stay in the foreground until the domain has ended
    #[arg(short = 'F')]
    pub foreground: bool,
    /// Do not wait for the domain's death; the supervisor does that in any case
    #[arg(short = 'e')]
    pub exit_after_start: bool,
    /// Print only errors
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Tell more of what is done
    #[arg(short = 'd', hide = true)]
    pub debug: bool,
    /// Accepted for scripts written for xl; PV guests here have no VNC display
    #[arg(short = 'V', long = "vncviewer", hide = true)]
    pub vnc: bool,
    /// Accepted for scripts written for xl
    #[arg(short = 'A', long = "vncviewer-autopass", hide = true)]
    pub vnc_autopass: bool,
}

/// The code of xl where a domain cannot be made.
const CANNOT_CREATE: u8 = 3;

impl StartArgs {
    /// Whether the domain is to be made paused: a console is attached before the guest's first line.
    pub fn made_paused(&self) -> bool {
        self.paused || self.console
    }

    /// Follows the domain that was to be made: its console, or its end, as the options say.
    ///
    /// # Errors
    /// It was not made, which ends the program with xl's code for that; its console cannot be had; its end cannot be
    /// waited for.
    pub fn follow(&self, context: &mut Context, made: Result<Created>) -> Result<ExitCode> {
        let created = made.map_err(|error| match error.downcast::<Failure>() {
            Ok(failure) => failure.into(),
            Err(error) => Failure::new(CANNOT_CREATE, failure::text(&error)),
        })?;
        if self.console {
            return console::attach_to_new(context, created.domid, !self.paused);
        }
        if self.foreground {
            let (hypervisor, store) = context.both()?;
            watch_end::wait_dead(hypervisor, store, created.uuid)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
