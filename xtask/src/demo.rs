//! `cargo xtask demo`: a guest's life from creation to shutdown, shown step by step.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::progress::note;
use crate::run::{self, RunArgs};
use crate::setup::Overrides;
use crate::test::cases::guests;

/// Options of `demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// CPUs of the machine
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    smp: u32,
    /// Another multiboot hypervisor; `xen` is Debian's stock Xen
    #[arg(long, value_name = "FILE")]
    hv: Option<PathBuf>,
    /// End the machine after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit: u64,
}

/// `cargo xtask demo`.
pub fn demo(args: &DemoArgs, over: &Overrides) -> Result<ExitCode> {
    let run = RunArgs {
        exec: Some("sh /paravane/demo.sh".to_owned()),
        smp: args.smp,
        hv: args.hv.clone(),
        limit: Some(args.limit),
        tools: true,
        ..RunArgs::plain()
    };
    note("a machine boots Dom0; then a guest is created, used and shut down");
    run::run_with(&run, over, vec![guests::LIB.into(), guests::DEMO.into()])
}
