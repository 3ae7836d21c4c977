//! Paravane's one command: `cargo xtask …` builds, boots, tests and measures the hypervisor.
#![allow(unreachable_pub, reason = "a program's modules speak to each other only")]

mod abi;
mod bench;
mod command;
mod conform;
mod demo;
mod dom0;
mod gdb;
mod guest;
mod guest_program;
mod image;
mod iso;
mod lint;
mod machine;
mod parity;
mod prepush;
mod progress;
mod run;
mod setup;
mod size;
mod test;
mod trace;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use setup::Overrides;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Builds, boots, tests and measures Paravane"
)]
#[command(after_help = "Example:\n  cargo xtask run --smp 2      a root shell in Dom0, on two CPUs")]
struct Cli {
    #[command(flatten)]
    over: Overrides,
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand)]
enum Sub {
    /// Find or install what the other commands need; they call it by themselves
    #[command(after_help = "Examples:
  cargo xtask setup
  cargo xtask setup --kernel ./vmlinux    check a setup without Debian's kernel package")]
    Setup,
    /// Build, boot in QEMU and give Dom0's console
    #[command(after_help = "Examples:
  cargo xtask run                                   a root shell in Dom0; exit powers off
  cargo xtask run --smp 2 --exec 'nproc'            prints 2, ends with the command's status
  cargo xtask run --disk root.img --net             with a virtio disk and a network card
  cargo xtask run --trace t.json --exec 'ls -R /'   the hypervisor's trace, for Perfetto
  cargo xtask run --gdb                             waits for `cargo xtask gdb`
  cargo xtask run -- -device nvme,drive=d0          anything for QEMU stands behind --")]
    Run(Box<run::RunArgs>),
    /// Boot, create a Linux guest, use it, shut it down, and show each step
    #[command(after_help = "Examples:
  cargo xtask demo             on Paravane
  cargo xtask demo --hv xen    the same tools on stock Xen")]
    Demo(demo::DemoArgs),
    /// Boot a guest in Rust (pv-frontends/guests) and end with its status
    #[command(after_help = "Examples:
  cargo xtask guest hello                    under Debian's kernel and our tools
  cargo xtask guest hello --backend iodom    under the driver domain in Rust
  cargo xtask guest hello --hv xen -- a b    on stock Xen, with words for the guest's command line")]
    Guest(guest::GuestArgs),
    /// Run the conformance cases of the paravirtual protocols against every backend, as a matrix
    #[command(after_help = "Examples:
  cargo xtask conform                            all cases, also as HTML and JUnit XML in target/paravane
  cargo xtask conform block --backend iodom      the block cases against the driver domain in Rust
  cargo xtask conform --broken block/flush       this case must be found failing")]
    Conform(conform::ConformArgs),
    /// Run Debian's own Xen tools on stock Xen and on Paravane and compare what they print; writes docs/parity.md
    #[command(after_help = "Examples:
  cargo xtask parity                 all areas; what stock Xen answered is kept for the next time
  cargo xtask parity life memory     these areas
  cargo xtask parity --reuse         only what has changed since the last run")]
    Parity(parity::ParityArgs),
    /// Make a guest of your own from a template
    #[command(after_help = "Examples:
  cargo xtask new-guest probe    then: cargo xtask guest probe")]
    NewGuest(guest::NewGuestArgs),
    /// Build the hypervisor's image and check what is promised of it
    #[command(after_help = "Examples:
  cargo xtask build    target/paravane/paravane.elf for loaders, paravane.elf64 for debuggers")]
    Build,
    /// Attach a debugger, with symbols, to a machine started by `run --gdb`
    #[command(after_help = "Examples:
  cargo xtask gdb                                     then: hbreak NAME, continue, pv-where, pv-trace 20
  cargo xtask gdb --batch --ex pv-regs --ex detach    a look from a script")]
    Gdb(gdb::GdbArgs),
    /// Write docs/abi.md: every operation of Xen's interface, its state here and the tests that use it
    #[command(after_help = "Examples:
  cargo xtask abi     after a change of a table of operations or of a test; the lint says when")]
    Abi,
    /// Check the rules of the house that the compiler does not know
    #[command(after_help = "Examples:
  cargo xtask lint    file length, places of assembly, directions of dependencies, tests named in the docs")]
    Lint,
    /// Format, clippy, lint and host tests: before every push
    #[command(after_help = "Examples:
  cargo xtask prepush")]
    Prepush,
    /// Lines of source and bytes of image by module
    #[command(after_help = "Examples:
  cargo xtask size")]
    Size,
    /// Measure Linux alone, on stock Xen and on Paravane, and write docs/benchmarks.md
    #[command(after_help = "Examples:
  cargo xtask bench                          everything; takes the better part of an hour
  cargo xtask bench --only fork --rounds 1   a quick look at one load
  cargo xtask bench --no-loads               boot time, memory kept, instructions by path
  cargo xtask bench guest                    instructions by path, counted by a guest in Rust
  cargo xtask bench density                  300 small guests")]
    Bench(Box<bench::BenchArgs>),
    /// Write a CD from which GRUB boots hypervisor and Dom0
    #[command(after_help = "Examples:
  cargo xtask iso
  cargo xtask iso --output p.iso --hv-append loglvl=all")]
    Iso(iso::IsoArgs),
    /// Run the tests: on this machine, then in booted ones
    #[command(after_help = "Examples:
  cargo xtask test                  everything; the last line counts
  cargo xtask test host             only what needs no boot
  cargo xtask test boot smp         the boots whose name begins with smp
  cargo xtask test boot list        names of all boots
  cargo xtask test --long           the long forms, too")]
    Test(test::TestArgs),
}

fn main() -> ExitCode {
    if guest::fetch::is_asked_for() {
        return guest::fetch::main();
    }
    let cli = Cli::parse();
    let over = &cli.over;
    let result = match cli.command {
        Sub::Setup => setup::setup(over).map(|()| ExitCode::SUCCESS),
        Sub::Demo(args) => demo::demo(&args, over),
        Sub::Build => image::report().map(|()| ExitCode::SUCCESS),
        Sub::Guest(args) => guest::guest(&args, over),
        Sub::Conform(args) => conform::conform(&args, over),
        Sub::Parity(args) => parity::parity(&args, over),
        Sub::NewGuest(args) => guest::new_guest(&args),
        Sub::Gdb(args) => gdb::gdb(&args),
        Sub::Abi => abi::write().map(|()| ExitCode::SUCCESS),
        Sub::Lint => lint::lint().map(|()| ExitCode::SUCCESS),
        Sub::Prepush => prepush::prepush().map(|()| ExitCode::SUCCESS),
        Sub::Size => size::size().map(|()| ExitCode::SUCCESS),
        Sub::Bench(args) => bench::bench(&args, over),
        Sub::Iso(args) => iso::iso(&args, over),
        Sub::Test(args) => test::test(&args, over),
        Sub::Run(args) => run::run(&args, over),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        // Distinct from the statuses that commands in Dom0 commonly end with.
        ExitCode::from(101)
    })
}
