//! `cargo xtask guest NAME`: boots a guest of `pv-frontends/guests` under Linux's backends or a driver domain in Rust.

pub mod backtrace;
pub mod fetch;
pub mod iodom;
pub mod linux;
pub mod needs;
mod new;
pub mod outcome;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use self::backtrace::Names;
use self::needs::Needs;
pub use self::new::{NewGuestArgs, new_guest};
use self::outcome::End;
use crate::guest_program;
use crate::progress::note;
use crate::setup::Overrides;
use crate::workspace::Scratch;

/// Who serves a guest's devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Dom0 with Debian's kernel, our tools
    Linux,
    /// The driver domain in Rust
    Iodom,
}

/// Options of `guest`.
#[derive(Args, Clone, Debug)]
pub struct GuestArgs {
    /// A guest's name: a folder of pv-frontends/guests
    pub name: String,
    /// Who serves its devices
    #[arg(long, value_enum, default_value = "linux")]
    pub backend: Backend,
    /// CPUs of the machine
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub smp: u32,
    /// Another multiboot hypervisor; `xen` is Debian's stock Xen
    #[arg(long, value_name = "FILE")]
    pub hv: Option<PathBuf>,
    /// Count instructions in the place of time
    #[arg(long)]
    pub icount: bool,
    /// End the machine after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub limit: u64,
    /// More for the hypervisor's command line
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    pub hv_append: String,
    /// Words for the guest's command line
    #[arg(last = true, value_name = "WORDS")]
    pub words: Vec<String>,
    /// What is typed at an interactive guest's console, in the place of standard input.
    #[arg(skip)]
    pub typed: Option<String>,
}

/// Status where a guest ended without one.
const NO_STATUS: u8 = 101;

impl GuestArgs {
    /// What clap gives for a name alone.
    pub fn plain(name: &str, backend: Backend, hv: Option<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            backend,
            smp: 1,
            hv,
            icount: false,
            limit: 600,
            hv_append: String::new(),
            words: Vec::new(),
            typed: None,
        }
    }
}

/// `cargo xtask guest`.
pub fn guest(args: &GuestArgs, over: &Overrides) -> Result<ExitCode> {
    let needs = needs::find(&args.name)?;
    let words = [needs.extra.as_str(), &args.words.join(" ")]
        .join(" ")
        .trim()
        .to_owned();
    let names = Names::of(&guest_program::guest(&args.name)?)?;
    let scratch = Scratch::new()?;
    let mut show = |line: &str| println!("{}", names.explain(line));
    let output = run(args, over, &needs, &words, scratch.path(), &mut show)?;
    Ok(ExitCode::from(output.map_or(0, |output| verdict(&output))))
}

/// Boots a guest; each line that it or its counterpart prints is shown by `show`. Gives all of them, or nothing where a
/// terminal has seen it.
pub fn run(
    args: &GuestArgs,
    over: &Overrides,
    needs: &Needs,
    words: &str,
    scratch: &Path,
    show: &mut dyn FnMut(&str),
) -> Result<Option<String>> {
    match args.backend {
        Backend::Linux => linux::run(args, over, needs, words, scratch, show),
        Backend::Iodom => iodom::run(args, over, needs, words, scratch, show),
    }
}

/// The status of a run, with a word on standard error where it is not the guest's own.
pub fn verdict(output: &str) -> u8 {
    match outcome::end(output) {
        End::Exit(0) => match outcome::disagreement(output) {
            Some(why) => {
                note(why);
                1
            }
            None => 0,
        },
        End::Exit(status) => status,
        End::Panic => {
            note("the guest died; its backtrace is above");
            NO_STATUS
        }
        End::Silent => {
            note("the guest ended without its last line");
            NO_STATUS
        }
    }
}
