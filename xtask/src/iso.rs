//! `cargo xtask iso`: a CD from which GRUB boots hypervisor and Dom0.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command;
use crate::dom0::initramfs::Additions;
use crate::machine::{Boot, Machine};
use crate::progress::{Step, note};
use crate::run::{self, RunArgs};
use crate::setup::{Overrides, apt};
use crate::workspace::{self, Scratch};

/// Options of `iso`.
#[derive(Args, Clone, Debug)]
pub struct IsoArgs {
    /// Where to write it [default: target/paravane/paravane.iso]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// More for Dom0's command line
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    append: String,
    /// More for the hypervisor's command line
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    hv_append: String,
}

/// Programs that make the CD, by the package each is from.
const TOOLS: [(&str, &str); 3] = [
    ("grub-mkrescue", "grub-common"),
    ("xorriso", "xorriso"),
    ("mformat", "mtools"),
];

fn tools() -> Result<()> {
    let bios = Path::new("/usr/lib/grub/i386-pc").is_dir();
    let mut missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(tool, _)| command::find(tool).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !bios {
        missing.push("grub-pc-bin");
    }
    if missing.is_empty() {
        return Ok(());
    }
    apt::install(&missing, "install GRUB's tools for a BIOS, xorriso and mtools")
}

/// Writes a CD that boots what `machine` would boot.
pub fn make(machine: &Machine, file: &Path) -> Result<()> {
    tools()?;
    let (Boot::Hypervisor(hv, options), Some((kernel, append)), Some(initrd)) =
        (&machine.boot, &machine.kernel, &machine.initrd)
    else {
        bail!("a CD needs a hypervisor, a kernel and a RAM disk");
    };
    let scratch = Scratch::new()?;
    let boot = scratch.path().join("boot");
    std::fs::create_dir_all(boot.join("grub"))?;
    for (from, to) in [(hv, "paravane.elf"), (kernel, "vmlinux"), (initrd, "initrd")] {
        std::fs::copy(from, boot.join(to)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let menu = format!(
        "set timeout=0\nmenuentry Paravane {{\n multiboot2 /boot/paravane.elf {options}\n \
         module2 /boot/vmlinux {append}\n module2 /boot/initrd\n}}\n"
    );
    std::fs::write(boot.join("grub/grub.cfg"), menu)?;
    let step = Step::new("making the CD");
    command::capture(Command::new("grub-mkrescue").arg("-o").arg(file).arg(scratch.path()))?;
    step.done(file.display().to_string());
    Ok(())
}

/// `cargo xtask iso`.
pub fn iso(args: &IsoArgs, over: &Overrides) -> Result<ExitCode> {
    let scratch = Scratch::new()?;
    let mut run = RunArgs::plain();
    run.append.clone_from(&args.append);
    run.hv_append.clone_from(&args.hv_append);
    let machine = run::machine(&run, over, &Additions::default(), scratch.path())?;
    let file = args
        .output
        .clone()
        .unwrap_or_else(|| workspace::image_dir().join("paravane.iso"));
    std::fs::create_dir_all(workspace::image_dir())?;
    make(&machine, &file)?;
    note(format!(
        "{}: boot it with `qemu-system-x86_64 -M q35 -m 2048 -cdrom FILE -serial stdio`",
        file.display()
    ));
    Ok(ExitCode::SUCCESS)
}
