//! `xlr`, the toolstack: one command line for everything a person does to domains from Dom0.
//!
//! Commands, options, output columns and exit codes are xl's where both have them.
#![allow(unreachable_pub, reason = "a program's modules speak to each other only")]

mod cli;
mod commands;
mod console;
mod context;
mod failure;
mod life;
mod lookup;
#[cfg(test)]
mod manual;
mod message;
mod migrate;
mod top;
mod view;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::report_usage(&error),
    };
    message::set_up(&cli.global);
    let mut context = context::Context::new(cli.global);
    match commands::run(cli.command, &mut context) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
