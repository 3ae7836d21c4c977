//! A guest under the driver domain in Rust, which is the machine's hardware domain and builds the guest itself.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::GuestArgs;
use super::needs::Needs;
use crate::dom0::cpio::Archive;
use crate::machine::guest::{Guest, Seen};
use crate::machine::{Boot, Machine};
use crate::setup::Overrides;
use crate::{command, guest_program, image, setup, workspace};

/// MiB of the driver domain's own memory, beside the boot module's.
const MEMORY: u64 = 96;
/// MiB of the machine, beside the guest's and the boot module's, which it holds twice while it starts.
const MACHINE_MIB: u64 = 256;
/// The driver domain's last line; stock Xen does not leave QEMU by itself.
const LAST_LINE: &str = "iodom: no guest is left";
/// Lines of others than the guest.
const OTHERS: [&str; 3] = ["(XEN)", "(PV)", "iodom: "];
/// How often the counterpart is looked at.
const GLANCE: Duration = Duration::from_secs(1);
const END_LIMIT: Duration = Duration::from_secs(20);

/// A guest for the driver domain, and what it needs of the machine.
#[derive(Clone, Debug)]
pub struct Load {
    /// Its name.
    pub name: String,
    /// Its kernel, an ELF file.
    pub kernel: Vec<u8>,
    /// Its initial RAM disk.
    pub initrd: Option<Vec<u8>>,
    /// Lines of `iodom_core::config`.
    pub config: String,
    /// MiB of its memory, as the configuration has it.
    pub memory: u64,
    /// MiB of the machine's disk; 0 for none.
    pub disk: u64,
    /// The machine has a network card.
    pub net: bool,
}

impl Load {
    /// A guest in Rust under any name; its disk, if it has one, is the machine's of this number.
    pub fn of_guest(name: &str, needs: &Needs, words: &str, disk: usize) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            kernel: workspace::read(&guest_program::guest(&needs.name)?)?,
            initrd: None,
            config: config(needs, words, disk),
            memory: needs.memory,
            disk: needs.disk,
            net: needs.net,
        })
    }

    fn add_to(&self, archive: &mut Archive) {
        let folder = format!("guests/{}", self.name);
        archive.folders(&folder);
        archive.file(&format!("{folder}/kernel"), 0o644, &self.kernel);
        if let Some(initrd) = &self.initrd {
            archive.file(&format!("{folder}/initrd"), 0o644, initrd);
        }
        archive.file(&format!("{folder}/config"), 0o644, self.config.as_bytes());
    }
}

/// The boot module from which the driver domain builds its guests.
fn module(loads: &[Load]) -> Vec<u8> {
    let mut archive = Archive::new();
    loads.iter().for_each(|load| load.add_to(&mut archive));
    archive.finish()
}

fn config(needs: &Needs, words: &str, disk: usize) -> String {
    let mut text = format!("memory={}\nvcpus={}\nextra={words}\n", needs.memory, needs.vcpus);
    if needs.disk > 0 {
        text += &format!("disk=xvda,{disk}\n");
    }
    if needs.net {
        text += "net=yes\n";
    }
    text
}

/// A port of this machine that nobody listens at.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Runs a guest and gives what it and its counterpart printed.
pub fn run(
    args: &GuestArgs,
    over: &Overrides,
    needs: &Needs,
    words: &str,
    scratch: &Path,
    show: &mut dyn FnMut(&str),
) -> Result<Option<String>> {
    let load = Load::of_guest(&needs.name, needs, words, 0)?;
    run_load(args, over, &load, scratch, show).map(Some)
}

/// The same with any guest. What stands beside it in `pv-frontends/guests` runs on this machine.
pub fn run_load(
    args: &GuestArgs,
    over: &Overrides,
    load: &Load,
    scratch: &Path,
    show: &mut dyn FnMut(&str),
) -> Result<String> {
    let port = free_port()?;
    let machine = machine(args, over, std::slice::from_ref(load), scratch, port)?;
    let mut guest = Guest::start(&machine)?;
    let mut counterpart = Counterpart::start(&load.name, port, scratch)?;
    let mut output = follow(&mut guest, Duration::from_secs(args.limit), &mut counterpart, show)?;
    if let Some(counterpart) = counterpart {
        let said = counterpart.end()?;
        said.lines().for_each(&mut *show);
        output += &said;
    }
    if load.disk > 0 {
        // The machine has written all when it is gone.
        if guest.wait_end(END_LIMIT).is_err() {
            guest.kill();
        }
        let said = disk_sum(&output, &disk_of(scratch, 0))?;
        said.lines().for_each(&mut *show);
        output += &said;
    }
    Ok(output)
}

/// Runs several guests and gives what they printed, each line behind its guest's name and `| `. Nobody looks at their
/// disks.
pub fn run_many(args: &GuestArgs, over: &Overrides, loads: &[Load], scratch: &Path) -> Result<String> {
    let machine = machine(args, over, loads, scratch, free_port()?)?;
    let mut guest = Guest::start(&machine)?;
    follow(&mut guest, Duration::from_secs(args.limit), &mut None, &mut |_| ())
}

/// The image of the machine's disk of a number.
fn disk_of(scratch: &Path, number: usize) -> PathBuf {
    scratch.join(format!("disk{number}.img"))
}

fn machine(args: &GuestArgs, over: &Overrides, loads: &[Load], scratch: &Path, port: u16) -> Result<Machine> {
    let is_xen = args.hv.as_ref().is_some_and(|hv| hv.as_os_str() == "xen");
    let hv = match &args.hv {
        Some(_) if is_xen => setup::xen::find()?,
        Some(file) => file.clone(),
        None => image::up_to_date()?.elf32,
    };
    let for_stock_xen = if is_xen { setup::xen::OPTIONS } else { "" };
    let module = module(loads);
    let module_mib = (module.len() as u64).div_ceil(1 << 20);
    let memory = MEMORY + module_mib;
    let options = format!(
        "console=com1 com1=115200 dom0_mem={memory}M {for_stock_xen} {}",
        args.hv_append
    );
    let mut machine = Machine::new(&setup::qemu(over)?, Boot::Hypervisor(hv, options));
    machine.kernel = Some((guest_program::guest("iodom")?, String::new()));
    let archive = scratch.join("guests.cpio");
    workspace::write(&archive, &module)?;
    machine.initrd = Some(archive);
    machine.smp = args.smp;
    let guests: u64 = loads.iter().map(|load| load.memory).sum();
    machine.mem = u32::try_from(MACHINE_MIB + guests + 2 * module_mib)?;
    machine.icount = args.icount;
    let disks = loads.iter().map(|load| load.disk).filter(|&size| size > 0);
    for (number, size) in disks.enumerate() {
        let disk = disk_of(scratch, number);
        File::create(&disk)?.set_len(size << 20)?;
        machine.disk(&disk, false);
    }
    if loads.iter().any(|load| load.net) {
        let forward = format!("hostfwd=tcp:127.0.0.1:{port}-10.0.0.2:80");
        // A card made by -nic has no MSI-X.
        machine.extra(&[
            "-netdev",
            &format!("user,id=net0,net=10.0.0.0/24,host=10.0.0.1,{forward}"),
        ]);
        machine.extra(&["-device", "virtio-net-pci,netdev=net0"]);
    }
    Ok(machine)
}

/// The lines of a console that are the guest's.
fn is_guests(line: &str) -> bool {
    !OTHERS.iter().any(|prefix| line.starts_with(prefix))
}

/// Shows what the guest prints until the driver domain has ended, or until the counterpart has given up; gives it.
fn follow(
    guest: &mut Guest,
    limit: Duration,
    counterpart: &mut Option<Counterpart>,
    show: &mut dyn FnMut(&str),
) -> Result<String> {
    let mut output = String::new();
    let mut seen = 0;
    while guest.age() < limit {
        let ended = guest.wait_for(GLANCE, |text| {
            let whole = text.rfind('\n').map_or(0, |at| at + 1);
            for line in text.get(seen..whole).unwrap_or_default().lines() {
                if is_guests(line) {
                    show(line);
                    output += line;
                    output.push('\n');
                } else {
                    eprintln!("{line}");
                }
            }
            seen = seen.max(whole);
            let _ = std::io::stdout().flush();
            text.contains(LAST_LINE).then_some(())
        });
        match ended {
            Seen::TimedOut if counterpart.as_mut().is_some_and(Counterpart::has_failed) => return Ok(output),
            Seen::TimedOut => {}
            Seen::Ended if output.is_empty() => bail!("the machine ended before the guest spoke: {}", guest.text()),
            _ => return Ok(output),
        }
    }
    bail!("the guest did not end within {} s", limit.as_secs())
}

/// What runs on this machine beside the guest: `peer.sh` of the guest's folder, which reaches it at `GUEST_URL`.
struct Counterpart(Child);

impl Counterpart {
    fn start(name: &str, port: u16, scratch: &Path) -> Result<Option<Self>> {
        let script = workspace::root().join(format!("pv-frontends/guests/{name}/peer.sh"));
        if !script.is_file() {
            return Ok(None);
        }
        // The same programs as in Dom0.
        let busybox = setup::busybox()?;
        let bin = scratch.join("bin");
        std::fs::create_dir_all(&bin)?;
        command::run(Command::new(&busybox).args(["--install", "-s"]).arg(&bin))?;
        // See `fetch`.
        let wget = bin.join("wget");
        std::fs::remove_file(&wget)?;
        std::os::unix::fs::symlink(std::env::current_exe()?, wget)?;
        // Not busybox's shell, which would take its own programs whatever PATH says.
        let child = Command::new("/bin/sh")
            .arg(&script)
            .env("PATH", &bin)
            .env("GUEST_URL", format!("http://127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("the guest's counterpart")?;
        Ok(Some(Self(child)))
    }

    fn has_failed(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(Some(status)) if !status.success())
    }

    /// Waits for its end; its output, with its status as the last line.
    fn end(self) -> Result<String> {
        let output = self.0.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: String = text.lines().map(|line| format!("peer: {line}\n")).collect();
        Ok(format!("{lines}peer: exit {}\n", output.status.code().unwrap_or(255)))
    }
}

/// The disk's sum by the method that the guest named.
fn disk_sum(output: &str, disk: &PathBuf) -> Result<String> {
    let Some(algorithm) = output
        .lines()
        .rev()
        .find_map(|line| line.split_once("guest: disk ")?.1.split(' ').next())
    else {
        return Ok(String::new());
    };
    ensure!(
        ["md5", "sha256", "crc32"].contains(&algorithm),
        "a checksum that is not known: {algorithm}"
    );
    let program = if algorithm == "crc32" {
        "crc32".to_owned()
    } else {
        format!("{algorithm}sum")
    };
    let text = command::capture(Command::new(setup::busybox()?).arg(program).arg(disk))?;
    let sum = text.split_whitespace().next().unwrap_or_default();
    Ok(format!("peer: disk {algorithm} {sum}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_guests_lines_are_its_own() {
        assert!(is_guests("hello") && is_guests("guest: exit 0"));
        assert!(!is_guests("(PV) x") && !is_guests("iodom: up at 7 ms"));
    }
}
