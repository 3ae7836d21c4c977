//! `cargo xtask run`: boots Dom0 and gives its console, or runs one command in it.

use std::ffi::OsString;
use std::io::{IsTerminal, Write, stdin, stdout};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::dom0::initramfs::{self, Additions};
use crate::dom0::payload;
use crate::machine::guest::{Guest, Seen};
use crate::machine::{Boot, Machine};
use crate::progress::note;
use crate::setup::{self, Overrides, kernel};
use crate::workspace::{self, Scratch};
use crate::{image, trace};

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Run CMD in Dom0 in the place of a shell: print its output alone, end with its exit status
    #[arg(long, value_name = "CMD")]
    pub exec: Option<String>,
    /// CPUs of the machine
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub smp: u32,
    /// Memory of the machine in MiB
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u32).range(16..))]
    pub mem: u32,
    /// CPU model, as QEMU names it
    #[arg(long, default_value = "max,-smap")]
    pub cpu: String,
    /// A raw disk image, given to Dom0 as a virtio disk (/dev/vda)
    #[arg(long, value_name = "FILE")]
    pub disk: Vec<PathBuf>,
    /// A file to put into Dom0's RAM disk: below /paravane, or at PATH
    #[arg(long, visible_alias = "with", value_name = "FILE[:PATH]")]
    pub add: Vec<String>,
    /// Dom0 without its tools: no daemons, no bridge, no guest to start
    #[arg(long = "no-tools", action = clap::ArgAction::SetFalse)]
    pub tools: bool,
    /// Empty caches in Dom0: the first guest's kernel is unpacked there
    #[arg(long)]
    pub cold: bool,
    /// More for Dom0's command line
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// More for the hypervisor's command line
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    pub hv_append: String,
    /// Wait at the first instruction for `cargo xtask gdb`
    #[arg(long)]
    pub gdb: bool,
    /// Write the hypervisor's trace to FILE, to be opened in Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Count instructions in the place of time, so that figures repeat
    #[arg(long)]
    pub icount: bool,
    /// Pass the kernel as the bzImage it is, for the hypervisor to decompress
    #[arg(long)]
    pub bzimage: bool,
    /// A user-mode network card (virtio-net) for Dom0
    #[arg(long)]
    pub net: bool,
    /// End the machine after this many seconds (default: 300 where no terminal is attached)
    #[arg(long, value_name = "SECONDS")]
    pub limit: Option<u64>,
    /// Another multiboot hypervisor; `xen` is Debian's stock Xen, `none` is Linux alone
    #[arg(long, value_name = "FILE")]
    pub hv: Option<PathBuf>,
    /// Further arguments for QEMU
    #[arg(last = true, value_name = "QEMU ARGS")]
    pub qemu_args: Vec<OsString>,
}

impl RunArgs {
    /// Whether stock Xen is booted that xtask has fetched.
    fn is_stock_xen(&self) -> bool {
        self.hv
            .as_ref()
            .is_some_and(|hv| hv.as_os_str() == "xen" || setup::xen::is_fetched(hv))
    }

    /// What clap gives for `--no-tools`.
    pub fn plain() -> Self {
        Self {
            exec: None,
            smp: 1,
            mem: 2048,
            cpu: "max,-smap".to_owned(),
            disk: Vec::new(),
            add: Vec::new(),
            tools: false,
            cold: false,
            append: String::new(),
            hv_append: String::new(),
            gdb: false,
            trace: None,
            icount: false,
            bzimage: false,
            net: false,
            limit: None,
            hv: None,
            qemu_args: Vec::new(),
        }
    }
}

/// Port of QEMU's debug server.
pub const GDB_PORT: u16 = 1234;

/// Time a guest gets where nobody watches.
const UNWATCHED_LIMIT: u64 = 300;

/// Time between the end of a command and the machine's.
const POWER_OFF_LIMIT: Duration = Duration::from_secs(30);

/// Dom0's init says so before it starts the shell.
const SHELL_UP: &str = "Dom0 is up: ";

/// Lines that the hypervisor writes between Dom0's begin with one of these.
const HYPERVISOR_PREFIXES: [&str; 2] = ["(XEN)", "(PV)"];

/// A mark that a command does not print by chance.
pub fn fresh_mark() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("@@{:08x}{:08x}", std::process::id(), now.subsec_nanos())
}

/// Puts a machine together. `additions` go into Dom0's RAM disk.
pub fn machine(args: &RunArgs, over: &Overrides, additions: &Additions, scratch: &Path) -> Result<Machine> {
    let qemu = setup::qemu(over)?;
    let kernel = kernel::find(over)?;
    let bare = args.hv.as_ref().is_some_and(|hv| hv.as_os_str() == "none");
    let boot = if bare {
        Boot::Bare
    } else {
        let hv = match &args.hv {
            Some(name) if name.as_os_str() == "xen" => setup::xen::find()?,
            Some(file) => file.clone(),
            None => image::up_to_date()?.elf32,
        };
        let for_stock_xen = if args.is_stock_xen() { setup::xen::OPTIONS } else { "" };
        let tracing = if args.trace.is_some() { "trace" } else { "" };
        let dom0_mem = if args.mem > 1536 { "dom0_mem=1024M" } else { "" };
        Boot::Hypervisor(
            hv,
            format!(
                "console=com1 com1=115200 {dom0_mem} {tracing} {for_stock_xen} {}",
                args.hv_append
            ),
        )
    };
    let file = if args.bzimage || bare {
        kernel.image.clone()
    } else {
        payload::vmlinux(&kernel.image)?
    };
    let console = if bare { "ttyS0" } else { "hvc0" };
    let mut machine = Machine::new(&qemu, boot);
    machine.kernel = Some((file, format!("console={console} quiet {}", args.append)));
    machine.initrd = Some(match &over.initrd {
        Some(file) if additions.command.is_none() => file.clone(),
        Some(_) => bail!("--exec needs the RAM disk that xtask makes; leave --initrd out"),
        None => {
            let file = scratch.join("initrd");
            let guest = kernel::of_guest(over, &kernel)?;
            let disk = initramfs::build(&kernel, &guest, additions, over.tools_from.as_deref())?;
            std::fs::write(&file, disk)?;
            file
        }
    });
    machine.smp = args.smp;
    machine.mem = args.mem;
    machine.cpu.clone_from(&args.cpu);
    machine.icount = args.icount;
    for disk in &args.disk {
        if !disk.is_file() {
            bail!("--disk {}: no such file", disk.display());
        }
        machine.disk(disk, false);
    }
    if args.net {
        machine.extra(&["-nic", "user,model=virtio-net-pci"]);
    }
    if args.gdb {
        machine.extra(&["-gdb", &format!("tcp:127.0.0.1:{GDB_PORT}"), "-S"]);
        note(format!("waiting for `cargo xtask gdb` at port {GDB_PORT}"));
    }
    machine.extra.extend(args.qemu_args.iter().cloned());
    Ok(machine)
}

/// What `--add FILE[:PATH]` puts into the RAM disk, by which name.
fn added(word: &str) -> Result<(String, Vec<u8>)> {
    let (file, name) = match word.split_once(":/") {
        Some((file, path)) => (Path::new(file), format!("/{path}")),
        None => {
            let file = Path::new(word);
            let name = file
                .file_name()
                .with_context(|| format!("--add {word}: names no file"))?;
            (file, name.to_string_lossy().into_owned())
        }
    };
    Ok((name, workspace::read(file)?))
}

/// `cargo xtask run`.
pub fn run(args: &RunArgs, over: &Overrides) -> Result<ExitCode> {
    run_with(args, over, Vec::new())
}

/// The same, with further files for Dom0.
pub fn run_with(args: &RunArgs, over: &Overrides, mut files: Vec<(String, Vec<u8>)>) -> Result<ExitCode> {
    let scratch = Scratch::new()?;
    let mark = fresh_mark();
    let command = args.exec.clone().map(|command| (command, mark.clone()));
    for word in &args.add {
        files.push(added(word)?);
    }
    let additions = Additions {
        command,
        files,
        tools: args.tools,
        cold: args.cold,
    };
    let mut machine = machine(args, over, &additions, scratch.path())?;
    if args.trace.is_some() {
        // The machine stays paused at its end, so that its memory can still be read.
        machine.qmp = Some(scratch.path().join("qmp"));
        machine.extra(&["-no-shutdown"]);
    }
    if args.exec.is_some() {
        return execute(args, &machine, &mark, scratch.path());
    }
    if !stdin().is_terminal() && args.trace.is_none() && over.initrd.is_none() {
        return feed(args, &machine);
    }
    interact(args, &machine, scratch.path())
}

/// The console where input comes from a file or pipe: it waits for the shell, and its end is the shell's.
fn feed(args: &RunArgs, machine: &Machine) -> Result<ExitCode> {
    let limit = Duration::from_secs(args.limit.unwrap_or(UNWATCHED_LIMIT));
    let mut guest = Guest::start(machine)?;
    let mut printed = 0;
    let mut show = move |text: &str| {
        // What a terminal would show: the text may only grow, but its last character may still be incomplete.
        print!("{}", text.get(printed..).unwrap_or_default());
        printed = text.len();
        let _ = stdout().flush();
    };
    let up = guest.wait_for(limit, |text| {
        show(text);
        text.contains(SHELL_UP).then_some(())
    });
    if matches!(up, Seen::Found(())) {
        for line in stdin().lines() {
            guest.send(&format!("{}\n", line?))?;
        }
        guest.send("exit\n")?;
    }
    let left = limit.saturating_sub(guest.age());
    match guest.wait_for(left, |text| {
        show(text);
        None::<()>
    }) {
        Seen::TimedOut => bail!("the machine did not end within {} s", limit.as_secs()),
        _ if matches!(up, Seen::Ended) => bail!("the machine ended before Dom0's shell was up"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The console is ours: QEMU reads the terminal and writes to it.
fn interact(args: &RunArgs, machine: &Machine, scratch: &Path) -> Result<ExitCode> {
    let watched = stdin().is_terminal() && stdout().is_terminal();
    let mut command = machine.command();
    command.args(["-serial", "mon:stdio"]);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", machine.qemu.display()))?;
    let limit = args.limit.or((!watched).then_some(UNWATCHED_LIMIT));
    let end = limit.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    if let (Some(file), Some(socket)) = (&args.trace, &machine.qmp) {
        let result = trace::at_end(socket, file, scratch, Duration::from_secs(limit.unwrap_or(86_400)));
        // The trace's reader has told QEMU to end, or could not reach it.
        let _ = child.kill();
        child.wait()?;
        return result.map(|()| ExitCode::SUCCESS);
    }
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if end.is_some_and(|end| Instant::now() > end) {
            child.kill()?;
            child.wait()?;
            bail!("the machine did not end within {} s", limit.unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(ExitCode::SUCCESS),
        (_, Some(signal)) => bail!("QEMU was ended by signal {signal}"),
        (code, _) => bail!("QEMU ended with {}", code.unwrap_or_default()),
    }
}

/// A command's output as it arrives, the hypervisor's lines taken out.
#[derive(Debug, Default)]
pub struct Extract {
    begun: Option<usize>,
    printed: usize,
}

impl Extract {
    /// Looks at the console's text so far: gives what is new of the command's output, and its exit status at its end.
    pub fn advance(&mut self, text: &str, mark: &str) -> (String, Option<u8>) {
        if self.begun.is_none() {
            let begin = format!("{mark} BEGIN\n");
            self.begun = text.find(&begin).map(|at| at + begin.len());
        }
        let Some(begun) = self.begun else {
            return (String::new(), None);
        };
        let body = &text[begun..];
        let end_mark = format!("\n{mark} END ");
        // The mark may follow the first line at once.
        let (output, status) = match body.find(&end_mark).map(|at| (at, at + end_mark.len())) {
            Some((at, after)) => match body[after..].split_once('\n') {
                Some((status, _)) => (&body[..at], Some(status.trim().parse().unwrap_or(u8::MAX))),
                None => (&body[..at], None),
            },
            // Keep back what may turn out to be the line break before the mark.
            None => (&body[..body.rfind('\n').unwrap_or(0)], None),
        };
        let new = output.get(self.printed..).unwrap_or_default();
        // Only whole lines can be judged; the last one waits for its end, unless the command has ended.
        let new = if status.is_some() {
            new
        } else {
            &new[..new.rfind('\n').map_or(0, |at| at + 1)]
        };
        self.printed += new.len();
        (new.to_owned(), status)
    }
}

/// Splits the hypervisor's own lines from a command's output.
pub fn split_hypervisor_lines(text: &str) -> (String, String) {
    text.split_inclusive('\n')
        .fold((String::new(), String::new()), |(mut guest, mut hv), line| {
            let own = HYPERVISOR_PREFIXES.iter().any(|prefix| line.starts_with(prefix));
            if own {
                hv.push_str(line)
            } else {
                guest.push_str(line)
            }
            (guest, hv)
        })
}

/// A finished command.
#[derive(Debug)]
pub struct Finished {
    /// What it printed, and nothing else.
    pub output: String,
    /// Its exit status.
    pub status: u8,
    /// The machine, about to power off.
    pub guest: Guest,
}

/// Boots a machine whose RAM disk holds a command and waits for that command's end. `show` sees each piece of output.
pub fn command_in_dom0(
    machine: &Machine,
    mark: &str,
    limit: Duration,
    mut show: impl FnMut(&str, &str),
) -> Result<Finished, Failed> {
    let guest = Guest::start(machine).map_err(|error| Failed {
        error,
        console: String::new(),
    })?;
    let mut extract = Extract::default();
    let mut output = String::new();
    let seen = guest.wait_for(limit, |text| {
        let (new, status) = extract.advance(text, mark);
        let (own, hypervisor) = split_hypervisor_lines(&new);
        show(&own, &hypervisor);
        output.push_str(&own);
        status
    });
    let why = match seen {
        Seen::Found(status) => return Ok(Finished { output, status, guest }),
        Seen::Ended => "the machine ended before the command did".to_owned(),
        Seen::TimedOut => format!("the command did not end within {} s", limit.as_secs()),
    };
    Err(Failed {
        error: anyhow!(why),
        console: guest.text(),
    })
}

/// A machine that did not come to its command's end.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: anyhow::Error,
    /// All that it printed.
    pub console: String,
}

fn execute(args: &RunArgs, machine: &Machine, mark: &str, scratch: &Path) -> Result<ExitCode> {
    let limit = Duration::from_secs(args.limit.unwrap_or(UNWATCHED_LIMIT));
    let show = |output: &str, hypervisor: &str| {
        eprint!("{hypervisor}");
        print!("{output}");
        // A reader that has gone away is no reason to stop the guest half way.
        let _ = stdout().flush();
    };
    let mut finished = match command_in_dom0(machine, mark, limit, show) {
        Ok(finished) => finished,
        Err(failed) => {
            eprint!("{}", failed.console);
            return Err(failed.error.context("the console is above"));
        }
    };
    if let (Some(file), Some(socket)) = (&args.trace, &machine.qmp) {
        trace::at_end(socket, file, scratch, POWER_OFF_LIMIT)?;
    } else if finished.guest.wait_end(POWER_OFF_LIMIT).is_err() {
        note(format!(
            "the machine did not power off within {} s",
            POWER_OFF_LIMIT.as_secs()
        ));
    }
    Ok(ExitCode::from(finished.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_stands_between_the_marks() {
        let mut extract = Extract::default();
        let text = "boot\n\n@@1 BEGIN\nxen\n2\n";
        assert_eq!(extract.advance("boot\n", "@@1"), (String::new(), None));
        assert_eq!(extract.advance(text, "@@1"), ("xen\n".to_owned(), None));
        let text = format!("{text}control_d\n\n@@1 END 7\n");
        assert_eq!(extract.advance(&text, "@@1"), ("2\ncontrol_d\n".to_owned(), Some(7)));
    }

    #[test]
    fn output_without_line_break_and_no_output() {
        let text = "@@1 BEGIN\nabc\n@@1 END 0\n";
        assert_eq!(Extract::default().advance(text, "@@1"), ("abc".to_owned(), Some(0)));
        let text = "@@1 BEGIN\n\n@@1 END 1\n";
        assert_eq!(Extract::default().advance(text, "@@1"), (String::new(), Some(1)));
    }

    #[test]
    fn hypervisor_lines_are_taken_out() {
        let (guest, hv) = split_hypervisor_lines("a\n(XEN) b\nc");
        assert_eq!((guest.as_str(), hv.as_str()), ("a\nc", "(XEN) b\n"));
    }
}
