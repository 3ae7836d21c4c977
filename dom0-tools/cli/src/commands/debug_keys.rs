//! `xlr debug-keys`.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::context::Context;

/// What stands behind `xlr debug-keys`.
#[derive(Args, Debug)]
pub struct DebugKeysArgs {
    /// The keys; `h` makes the hypervisor tell what it knows, in xlr dmesg
    pub keys: String,
}

/// Runs the command.
pub fn run(args: &DebugKeysArgs, context: &mut Context) -> Result<ExitCode> {
    context.hypervisor()?.send_debug_keys(&args.keys)?;
    Ok(ExitCode::SUCCESS)
}
