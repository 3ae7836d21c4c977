//! `xenconsoled`: each guest's console as a pseudo terminal and as a log.
//!
//! A guest's console is a page shared with Dom0. The daemon maps it, moves what the guest prints to a log and to a pty,
//! and what a person types at the pty to the guest. Started again after any end, it finds every guest by the store, and
//! what was printed meanwhile in the rings.
#![allow(unreachable_pub, reason = "a program's modules speak to each other only")]

mod allowance;
mod backlog;
mod daemon;
#[cfg(test)]
mod fake;
mod guest;
mod hypervisor_log;
mod log;
mod options;
mod pid_file;
mod pty;
mod readiness;
mod report;
mod ring;
mod store;
mod table;
mod wire;

use std::fs::{self, OpenOptions};
use std::io;
use std::process::ExitCode;

use clap::Parser;

use crate::daemon::Daemon;
use crate::options::Options;
use crate::pid_file::PidFile;
use crate::report::{begin_with_time, report};

fn main() -> ExitCode {
    let options = Options::parse();
    match serve(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn serve(options: &Options) -> io::Result<()> {
    // Before going to the background, so that who starts the daemon learns of another one.
    let mut pid_file = PidFile::lock(&options.pid_file)?;
    if !options.interactive {
        // The devices are opened by the process that uses them; but an error should still reach who starts the daemon.
        drop(wire::Live::open()?);
        go_to_background(options)?;
    }
    pid_file.write()?;
    Daemon::start(options)?.run()
}

/// Leaves the terminal; from now on messages go to their file.
fn go_to_background(options: &Options) -> io::Result<()> {
    if let Some(directory) = options.message_file.parent() {
        fs::create_dir_all(directory)?;
    }
    let messages = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&options.message_file)?;
    nix::unistd::daemon(false, false)?;
    nix::unistd::dup2_stderr(&messages)?;
    begin_with_time();
    Ok(())
}
