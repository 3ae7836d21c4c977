//! What a boot test works with: a machine to put together, a guest to talk to, a log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::cases::Case;
use crate::dom0::initramfs::Additions;
use crate::machine::Machine;
use crate::machine::guest::Guest;
use crate::run::{self, RunArgs};
use crate::setup::{Overrides, rootdisk};
use crate::workspace::{self, Scratch};

/// A hang is what takes this many times the normal time.
const HANG_FACTOR: u64 = 10;

/// Drivers of Dom0 that Debian's disk, which has none of its own, needs for guests.
const DEBIAN_MODULES: &str = "xen_evtchn xen_gntdev xen_gntalloc xen_privcmd xen_blkback xen_netback bridge loop tun xenfs veth nft_chain_nat nft_masq";

/// What Dom0 runs on.
#[derive(Clone, Copy, Debug)]
pub enum Root {
    /// The RAM disk that xtask makes: busybox and our tools.
    RamDisk,
    /// Debian's disk: Debian's tools beside ours (`/run/tools`), bash, the files added here below `/paravane`.
    Debian,
}

/// What all tests share.
#[derive(Debug)]
pub struct Shared {
    /// Given kernel and QEMU.
    pub over: Overrides,
    /// The hypervisor under test.
    pub hv: PathBuf,
}

impl Shared {
    /// For one run of the tests.
    pub fn new(over: Overrides, hv: PathBuf) -> Self {
        // Boot tests make their own RAM disks.
        Self {
            over: Overrides { initrd: None, ..over },
            hv,
        }
    }
}

/// One test's surroundings.
#[derive(Debug)]
pub struct Room<'a> {
    /// Shared by all tests.
    pub shared: &'a Shared,
    /// Options of the machine, to be changed before it boots.
    pub args: RunArgs,
    /// More files for Dom0.
    pub files: Vec<(String, Vec<u8>)>,
    name: &'static str,
    limit: Duration,
    scratch: Scratch,
    console: String,
}

impl<'a> Room<'a> {
    /// An empty room for a test.
    pub fn new(case: &Case, shared: &'a Shared) -> Result<Self> {
        let mut args = RunArgs::plain();
        args.smp = case.cpus;
        args.hv = Some(shared.hv.clone());
        let limit = Duration::from_secs(case.normal * HANG_FACTOR);
        let scratch = Scratch::new()?;
        Ok(Self {
            shared,
            args,
            files: Vec::new(),
            name: case.name,
            limit,
            scratch,
            console: String::new(),
        })
    }

    /// The longest that anything here may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// A folder for files.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A file of zeros in that folder.
    pub fn blank_file(&self, name: &str, bytes: u64) -> Result<PathBuf> {
        let path = self.scratch().join(name);
        std::fs::File::create(&path)?.set_len(bytes)?;
        Ok(path)
    }

    /// Puts the machine together; `command` and its mark go into the RAM disk.
    pub fn machine(&self, command: Option<(String, String)>) -> Result<Machine> {
        let additions = Additions {
            command,
            files: self.files.clone(),
            tools: self.args.tools,
            cold: self.args.cold,
        };
        let mut machine = run::machine(&self.args, &self.shared.over, &additions, self.scratch())?;
        machine.qmp = Some(self.scratch().join("qmp"));
        machine.log = Some(self.log());
        Ok(machine)
    }

    /// The same with a command for Dom0, whose output stands between two marks.
    pub fn machine_for(&mut self, root: Root, command: &str, mark: &str) -> Result<Machine> {
        match root {
            Root::RamDisk => self.machine(Some((command.to_owned(), mark.to_owned()))),
            Root::Debian => self.machine_on_debian(command, mark),
        }
    }

    /// Boots, runs a command in Dom0 and gives its output, its status and the guest that is about to power off.
    pub fn exec(&mut self, command: &str) -> Result<(String, u8, Guest)> {
        self.exec_on(Root::RamDisk, command)
    }

    /// The same on a root of choice.
    pub fn exec_on(&mut self, root: Root, command: &str) -> Result<(String, u8, Guest)> {
        let mark = run::fresh_mark();
        let machine = self.machine_for(root, command, &mark)?;
        self.finish(&machine, &mark)
    }

    fn finish(&mut self, machine: &Machine, mark: &str) -> Result<(String, u8, Guest)> {
        match run::command_in_dom0(machine, mark, self.limit, |_, _| {}) {
            Ok(finished) => {
                self.keep(&finished.guest);
                Ok((finished.output, finished.status, finished.guest))
            }
            Err(failed) => {
                self.console.push_str(&failed.console);
                Err(failed.error)
            }
        }
    }

    fn machine_on_debian(&mut self, command: &str, mark: &str) -> Result<Machine> {
        let script = format!(
            "export PATH=/usr/bin:/bin:/usr/sbin:/sbin:/usr/lib/xen-4.17/bin HOME=/root\n\
             ln -sfn /run /paravane\nprintf '\\n{mark} BEGIN\\n'\n(\n{command}\n) < /dev/null 2>&1\n\
             printf '\\n{mark} END %d\\n' $?\nsync\n/run/busybox poweroff -f\n"
        );
        self.files.retain(|(name, _)| name != "script" && name != "modules");
        self.files.push(("script".to_owned(), script.into_bytes()));
        self.files
            .push(("modules".to_owned(), DEBIAN_MODULES.as_bytes().to_vec()));
        self.args.tools = true;
        let mut machine = self.machine(None)?;
        machine.disk(&rootdisk::find()?, true);
        Ok(machine)
    }

    /// Runs a command that must succeed and gives its output.
    pub fn must(&mut self, command: &str) -> Result<String> {
        let (output, status, _) = self.exec(command)?;
        ensure!(status == 0, "the command ended with {status}; it printed:\n{output}");
        Ok(output)
    }

    /// Boots a machine and waits for the first of some texts.
    pub fn expect_any(&mut self, machine: &Machine, texts: &[&str]) -> Result<Guest> {
        let guest = Guest::start(machine)?;
        let seen = guest.wait_for(self.limit, |text| {
            texts.iter().any(|wanted| text.contains(wanted)).then_some(())
        });
        self.keep(&guest);
        match seen {
            crate::machine::guest::Seen::Found(()) => Ok(guest),
            _ => bail!("none of these came: {texts:?}"),
        }
    }

    /// Takes over what a guest has printed.
    pub fn keep(&mut self, guest: &Guest) {
        self.console = guest.text();
    }

    /// Takes over text that came some other way.
    pub fn keep_text(&mut self, text: String) {
        self.console = text;
    }

    /// The last console text that was kept.
    pub fn console(&self) -> &str {
        &self.console
    }

    /// Waits for the machine's own end.
    pub fn expect_end(&mut self, mut guest: Guest) -> Result<()> {
        let ended = guest.wait_end(self.limit);
        self.keep(&guest);
        let status = ended?;
        ensure!(status.success(), "QEMU ended with {status}");
        Ok(())
    }

    /// The console's log, which grows while the machine runs.
    fn log(&self) -> PathBuf {
        workspace::image_dir().join("logs").join(format!("{}.log", self.name))
    }

    /// Writes the console to its log file.
    pub fn write_log(&self) -> PathBuf {
        let path = self.log();
        // The log is a help; the test's result does not depend on it.
        let _ = std::fs::write(&path, &self.console);
        path
    }

    /// The end of the console's text, indented.
    pub fn tail(&self) -> String {
        let lines: Vec<&str> = self.console.lines().collect();
        let from = lines.len().saturating_sub(40);
        lines[from..].iter().map(|line| format!("    {line}\n")).collect()
    }

    /// Reads a file for Dom0.
    pub fn add_file(&mut self, name: &str, path: &Path) -> Result<()> {
        let bytes = workspace::read(path).context("a program for Dom0")?;
        self.files.push((name.to_owned(), bytes));
        Ok(())
    }
}
