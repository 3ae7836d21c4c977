//! `xlr top`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::top::{self, Model, Sort};

/// What stands behind `xlr top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Seconds between two looks
    #[arg(short = 'd', long, value_name = "SECONDS", default_value_t = 3.0)]
    pub delay: f64,
    /// End after that many looks
    #[arg(short = 'i', long, value_name = "COUNT")]
    pub iterations: Option<u64>,
    /// No screen: print xentop's table at each look
    #[arg(short = 'b', long)]
    pub batch: bool,
    /// A line for each vcpu
    #[arg(short = 'v', long)]
    pub vcpus: bool,
    /// What to sort by
    #[arg(short = 's', long, value_enum, default_value_t = Sort::Cpu)]
    pub sort: Sort,
    /// Sort the other way round
    #[arg(short = 'r', long)]
    pub reverse: bool,
    /// No screen: print a JSON array at each look, on one line
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &TopArgs, context: &mut Context) -> Result<ExitCode> {
    let delay = Duration::try_from_secs_f64(args.delay).unwrap_or(Duration::from_secs(3));
    let model = Model::new(args.sort, args.reverse, args.vcpus, delay);
    if args.batch || args.json {
        top::run_batch(context, &model, args.iterations, args.json)?;
    } else {
        top::run_live(context, model, args.iterations)?;
    }
    Ok(ExitCode::SUCCESS)
}
