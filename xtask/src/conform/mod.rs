//! `cargo xtask conform`: the conformance cases against every backend there is, as a matrix.

mod linux;
mod matrix;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use self::matrix::Column;
pub use self::matrix::Matrix;
pub use self::report::terminal;
use crate::guest::{self, Backend, GuestArgs, needs};
use crate::progress::{Step, note};
use crate::setup::Overrides;
use crate::workspace::{self, Scratch};

/// Whose frontends run the cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Frontend {
    /// The libraries in Rust
    Ours,
    /// Debian's kernel
    Linux,
}

/// Options of `conform`.
#[derive(Args, Clone, Debug, Default)]
pub struct ConformArgs {
    /// Only the cases whose name begins so
    #[arg(default_value = "")]
    cases: String,
    /// Only these backends
    #[arg(long, value_enum, value_delimiter = ',')]
    backend: Vec<Backend>,
    /// Only these frontends
    #[arg(long, value_enum, value_delimiter = ',')]
    frontend: Vec<Frontend>,
    /// Turn this case's first expectation into its opposite: it must be found failing
    #[arg(long, value_name = "CASE")]
    broken: Option<String>,
    /// Another multiboot hypervisor; `xen` is Debian's stock Xen
    #[arg(long, value_name = "FILE")]
    hv: Option<PathBuf>,
    /// End a machine after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit: u64,
}

impl ConformArgs {
    /// These cases of one frontend against one backend.
    pub fn plain(
        cases: &str,
        (frontend, backend): (Frontend, Backend),
        broken: Option<&str>,
        hv: Option<PathBuf>,
        limit: u64,
    ) -> Self {
        Self {
            cases: cases.to_owned(),
            backend: vec![backend],
            frontend: vec![frontend],
            broken: broken.map(str::to_owned),
            hv,
            limit,
        }
    }
}

/// Frontends and backends that are tried together. Linux's against Linux's are not ours to judge.
const PAIRS: [(Frontend, Backend); 3] = [
    (Frontend::Ours, Backend::Linux),
    (Frontend::Ours, Backend::Iodom),
    (Frontend::Linux, Backend::Iodom),
];

/// The guest that runs the cases.
const GUEST: &str = "conform";

/// Boots the cases' guest under one backend.
fn column(args: &ConformArgs, backend: Backend, over: &Overrides) -> Result<Column> {
    let needs = needs::find(GUEST)?;
    let broken = args
        .broken
        .as_ref()
        .map(|name| format!("broken={name}"))
        .unwrap_or_default();
    let words = format!("{} {broken}", args.cases).trim().to_owned();
    let options = GuestArgs {
        limit: args.limit,
        ..GuestArgs::plain(GUEST, backend, args.hv.clone())
    };
    let scratch = Scratch::new()?;
    let mut lines = Vec::new();
    let title = match backend {
        Backend::Linux => "Linux's backends",
        Backend::Iodom => "iodom's backends",
    };
    let step = Step::new(format!("our frontends against {title}"));
    let result = guest::run(&options, over, &needs, &words, scratch.path(), &mut |line: &str| {
        lines.push(line.to_owned());
    });
    let column = Column::parse(format!("our frontends, {title}"), &lines, result.err());
    step.done(column.summary());
    Ok(column)
}

/// Runs the cases and gives the matrix.
pub fn run(args: &ConformArgs, over: &Overrides) -> Result<Matrix> {
    let is_chosen = |(frontend, backend): &(Frontend, Backend)| {
        (args.frontend.is_empty() || args.frontend.contains(frontend))
            && (args.backend.is_empty() || args.backend.contains(backend))
    };
    let columns = PAIRS
        .into_iter()
        .filter(is_chosen)
        .map(|pair| match pair {
            (Frontend::Ours, backend) => column(args, backend, over),
            (Frontend::Linux, _) => linux::column(args, over),
        })
        .collect::<Result<Vec<Column>>>()?;
    ensure!(
        !columns.is_empty(),
        "Linux's frontends are tried against iodom's backends only"
    );
    Ok(Matrix(columns))
}

/// `cargo xtask conform`.
pub fn conform(args: &ConformArgs, over: &Overrides) -> Result<ExitCode> {
    let matrix = run(args, over)?;
    print!("{}", terminal(&matrix));
    let folder = workspace::image_dir();
    std::fs::create_dir_all(&folder)?;
    for (name, text) in [
        ("conform.html", report::html(&matrix)),
        ("conform.xml", report::junit(&matrix)),
    ] {
        let file = folder.join(name);
        workspace::write(&file, text.as_bytes())?;
        note(format!("written to {}", file.display()));
    }
    ensure!(matrix.has_cases(), "no case's name begins with {:?}", args.cases);
    Ok(if matrix.failures() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
