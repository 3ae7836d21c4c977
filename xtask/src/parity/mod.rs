//! `cargo xtask parity`: Debian's own tools on stock Xen and on Paravane, command by command, and what differs.

mod boot;
mod record;
mod report;
mod rules;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use self::report::Row;
pub use self::report::{Matrix, terminal};
use self::rules::{Intended, Normal, Rules};
use crate::progress::note;
use crate::setup::Overrides;
use crate::{image, setup, workspace};

/// Options of `parity`.
#[derive(Args, Clone, Debug, Default)]
pub struct ParityArgs {
    /// Only these areas: names of scripts in tests/parity, without their ending
    areas: Vec<String>,
    /// Run stock Xen again, though what it answered to the same scripts is kept
    #[arg(long)]
    fresh: bool,
    /// Take Paravane's answers from the last run of the same image and scripts, too
    #[arg(long)]
    reuse: bool,
    /// Write docs/parity.md though not all areas are run; it says which were not
    #[arg(long)]
    page: bool,
    /// One hypervisor after the other, in the place of both at once
    #[arg(long)]
    in_turn: bool,
    /// Another multiboot hypervisor in Paravane's place
    #[arg(long, value_name = "FILE")]
    hv: Option<PathBuf>,
    /// End a machine after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 7200)]
    limit: u64,
}

impl ParityArgs {
    /// These areas, in one boot of each hypervisor.
    pub fn plain(areas: &[&str], hv: PathBuf, limit: Duration) -> Self {
        Self {
            areas: areas.iter().map(|&area| area.to_owned()).collect(),
            hv: Some(hv),
            limit: limit.as_secs(),
            ..Self::default()
        }
    }
}

fn rules() -> Result<Rules> {
    let text = |name: &str| {
        let file = boot::folder().join(name);
        std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    Ok(Rules {
        normal: Normal::parse(&text("normal.txt")?).context("tests/parity/normal.txt")?,
        intended: Intended::parse(&text("intended.txt")?).context("tests/parity/intended.txt")?,
    })
}

/// Runs the areas on both and compares.
pub fn matrix(args: &ParityArgs, over: &Overrides) -> Result<Matrix> {
    let rules = rules()?;
    let all = boot::areas()?;
    if let Some(unknown) = args.areas.iter().find(|area| !all.contains(area)) {
        bail!("there is no area `{unknown}`; there are: {}", all.join(", "));
    }
    let areas = if args.areas.is_empty() { &all } else { &args.areas };
    let xen = setup::xen::find()?;
    let ours = match &args.hv {
        Some(file) => file.clone(),
        None => image::up_to_date()?.elf32,
    };
    let limit = Duration::from_secs(args.limit);
    let of_xen = || boot::outcomes("xen", &xen, areas, !args.fresh, limit, over);
    let of_ours = || boot::outcomes("paravane", &ours, areas, args.reuse, limit, over);
    let (left, right) = if args.in_turn {
        (of_xen(), of_ours())
    } else {
        std::thread::scope(|scope| {
            let other = scope.spawn(of_xen);
            let ours = of_ours();
            (other.join().unwrap_or_else(|_| bail!("a boot's thread died")), ours)
        })
    };
    let (left, right) = (record::parse(&left?), record::parse(&right?));
    let rows = areas.iter().map(|area| {
        let none = Vec::new();
        let (xen, ours) = (left.get(area).unwrap_or(&none), right.get(area).unwrap_or(&none));
        Row::new(area, xen, ours, &rules)
    });
    Ok(Matrix {
        rows: rows.collect(),
        intended: rules.intended,
    })
}

/// `cargo xtask parity`.
pub fn parity(args: &ParityArgs, over: &Overrides) -> Result<ExitCode> {
    let matrix = matrix(args, over)?;
    print!("{}", report::terminal(&matrix));
    if args.page || (args.areas.is_empty() && args.hv.is_none()) {
        let file = workspace::root().join("docs/parity.md");
        workspace::write(&file, report::page(&matrix, &boot::areas()?).as_bytes())?;
        note(format!("written: {}", file.display()));
    }
    Ok(if matrix.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
