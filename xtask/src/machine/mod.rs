//! One emulated machine: what QEMU is told, and the running guest.

pub mod guest;
pub mod qmp;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the machine boots.
#[derive(Clone, Debug)]
pub enum Boot {
    /// Linux alone.
    Bare,
    /// A multiboot hypervisor, with its command line.
    Hypervisor(PathBuf, String),
    /// A CD, by the machine's own firmware.
    Cdrom(PathBuf),
}

/// A machine to boot. Fields are QEMU's own terms.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The emulator.
    pub qemu: PathBuf,
    /// What is booted.
    pub boot: Boot,
    /// Linux kernel and its command line; the first module.
    pub kernel: Option<(PathBuf, String)>,
    /// Initial RAM disk; the second module.
    pub initrd: Option<PathBuf>,
    /// CPUs.
    pub smp: u32,
    /// Memory in MiB.
    pub mem: u32,
    /// CPU model.
    pub cpu: String,
    /// Socket of the machine protocol.
    pub qmp: Option<PathBuf>,
    /// Where all that the serial port says is written as it comes.
    pub log: Option<PathBuf>,
    /// Count instructions in the place of time.
    pub icount: bool,
    /// Anything else.
    pub extra: Vec<OsString>,
}

/// A comma separates modules and options, so one inside is written twice.
fn doubled(text: &str) -> String {
    text.replace(',', ",,")
}

impl Machine {
    /// A machine without kernel and disks.
    pub fn new(qemu: &Path, boot: Boot) -> Self {
        Self {
            qemu: qemu.to_path_buf(),
            boot,
            kernel: None,
            initrd: None,
            smp: 1,
            mem: 2048,
            cpu: "max,-smap".to_owned(),
            qmp: None,
            log: None,
            icount: false,
            extra: Vec::new(),
        }
    }

    /// Adds QEMU arguments.
    pub fn extra(&mut self, words: &[&str]) {
        self.extra.extend(words.iter().map(OsString::from));
    }

    /// Adds a virtio disk from a raw file.
    pub fn disk(&mut self, file: &Path, snapshot: bool) {
        let snapshot = if snapshot { ",snapshot=on" } else { "" };
        let file = doubled(&file.to_string_lossy());
        self.extra(&["-drive", &format!("file={file},if=virtio,format=raw{snapshot}")]);
    }

    /// The character device `console` for who reads the serial port: QEMU's own input and output, and the log.
    fn console_device(&self) -> String {
        let log = self
            .log
            .as_ref()
            .map(|file| format!(",logfile={}", doubled(&file.to_string_lossy())));
        format!("stdio,id=console{}", log.unwrap_or_default())
    }

    /// QEMU's command line; the serial port is left to the caller.
    pub fn command(&self) -> Command {
        let mut line = Command::new(&self.qemu);
        line.args([
            "-machine",
            "q35",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
            "-cpu",
            &self.cpu,
        ]);
        line.args(["-m", &self.mem.to_string(), "-smp", &self.smp.to_string()]);
        if let Some(socket) = &self.qmp {
            line.arg("-qmp").arg(format!(
                "unix:{},server=on,wait=off",
                doubled(&socket.to_string_lossy())
            ));
        }
        if self.icount {
            line.args(["-icount", "shift=0,sleep=off"]);
        }
        match &self.boot {
            Boot::Bare => {
                if let Some((kernel, append)) = &self.kernel {
                    line.arg("-kernel").arg(kernel).args(["-append", append]);
                }
                if let Some(initrd) = &self.initrd {
                    line.arg("-initrd").arg(initrd);
                }
            }
            Boot::Hypervisor(image, options) => {
                line.arg("-kernel").arg(image).args(["-append", options]);
                let kernel = self
                    .kernel
                    .iter()
                    .map(|(file, args)| format!("{} {args}", file.display()));
                let initrd = self.initrd.iter().map(|file| file.display().to_string());
                let modules: Vec<String> = kernel.chain(initrd).map(|module| doubled(&module)).collect();
                if !modules.is_empty() {
                    line.args(["-initrd", &modules.join(",")]);
                }
            }
            Boot::Cdrom(file) => {
                line.args(["-boot", "d", "-cdrom"]).arg(file);
            }
        }
        line.args(&self.extra);
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_separated_by_single_commas() {
        let mut machine = Machine::new(
            Path::new("qemu"),
            Boot::Hypervisor("hv".into(), "loglvl=all".to_owned()),
        );
        machine.kernel = Some(("k".into(), "console=hvc0 x=1,2".to_owned()));
        machine.initrd = Some("i".into());
        let line = crate::command::describe(&machine.command());
        assert!(line.contains("-initrd k console=hvc0 x=1,,2,i"), "{line}");
    }
}
