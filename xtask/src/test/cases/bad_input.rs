//! What a person can get wrong: each ends in one clear line and a machine that stops.

use anyhow::{Context, Result, ensure};

use super::super::room::Room;
use crate::dom0::payload;
use crate::machine::Machine;
use crate::setup::kernel;
use crate::workspace;

/// The line comes, Dom0 does not, and the machine ends by itself.
fn refused(room: &mut Room<'_>, machine: &Machine, texts: &[&str]) -> Result<()> {
    let guest = room.expect_any(machine, texts)?;
    room.expect_end(guest)?;
    ensure!(!room.console().contains("INIT UP"), "Dom0 booted all the same");
    Ok(())
}

/// A machine whose kernel is some bytes.
fn with_kernel(room: &Room<'_>, bytes: &[u8]) -> Result<Machine> {
    let file = room.scratch().join("kernel");
    std::fs::write(&file, bytes)?;
    let mut machine = room.machine(None)?;
    machine.kernel = Some((file, "console=hvc0".to_owned()));
    Ok(machine)
}

/// No module at all.
pub fn no_module(room: &mut Room<'_>) -> Result<()> {
    let mut machine = room.machine(None)?;
    machine.kernel = None;
    machine.initrd = None;
    refused(room, &machine, &["no kernel", "no module", "no dom0"])
}

/// A text file.
pub fn not_elf(room: &mut Room<'_>) -> Result<()> {
    let machine = with_kernel(room, &b"This is a text, and no kernel.\n".repeat(400))?;
    refused(room, &machine, &["neither elf nor bzimage", "not an elf", "no elf", "neither an elf", "unrecognised"])
}

fn vmlinux(room: &Room<'_>) -> Result<Vec<u8>> {
    workspace::read(&payload::vmlinux(&kernel::find(&room.shared.over)?.image)?)
}

/// Half a kernel.
pub fn truncated_elf(room: &mut Room<'_>) -> Result<()> {
    let mut bytes = vmlinux(room)?;
    bytes.truncate(bytes.len() / 3);
    let machine = with_kernel(room, &bytes)?;
    refused(room, &machine, &["truncated", "cut short", "past the end", "outside", "beyond"])
}

/// Half a bzImage.
pub fn truncated_bzimage(room: &mut Room<'_>) -> Result<()> {
    let mut bytes = workspace::read(&kernel::find(&room.shared.over)?.image)?;
    if bytes.starts_with(b"\x7fELF") {
        return Ok(());
    }
    bytes.truncate(bytes.len() / 2);
    let machine = with_kernel(room, &bytes)?;
    refused(room, &machine, &["truncated", "cut short", "past the end", "outside", "beyond", "bzimage"])
}

/// A good ELF file without Xen's notes: this program.
pub fn not_pv(room: &mut Room<'_>) -> Result<()> {
    let program = workspace::read(&std::env::current_exe().context("where is this program?")?)?;
    let machine = with_kernel(room, &program)?;
    refused(room, &machine, &["note", "not a pv", "no pv", "no xen", "cannot be loaded"])
}

/// A RAM disk larger than Dom0's memory.
pub fn initrd_too_large(room: &mut Room<'_>) -> Result<()> {
    room.args.mem = 1024;
    room.args.hv_append = "dom0_mem=256M".to_owned();
    let initrd = room.blank_file("initrd-large", 400 << 20)?;
    let mut machine = room.machine(None)?;
    machine.initrd = Some(initrd);
    refused(room, &machine, &["initrd", "ramdisk", "ram disk"])
}

/// A machine that holds hypervisor and modules, and nothing else.
pub fn too_little_memory(room: &mut Room<'_>) -> Result<()> {
    let mut machine = room.machine(None)?;
    machine.mem = 128;
    refused(room, &machine, &["too little memory", "not enough memory", "out of memory", "memory"])
}

/// More memory than there is.
pub fn dom0_mem_too_large(room: &mut Room<'_>) -> Result<()> {
    room.args.hv_append = "dom0_mem=64G".to_owned();
    let machine = room.machine(None)?;
    refused(room, &machine, &["dom0_mem"])
}

/// Dom0 boots, but a warning names the word.
fn warned(room: &mut Room<'_>, option: &str, word: &str) -> Result<()> {
    room.args.hv_append = option.to_owned();
    let output = room.must("echo up")?;
    ensure!(output == "up\n", "Dom0 says {output:?}");
    let line = room.console().lines().find(|line| line.contains(word) && !line.contains("dom0_mem"));
    line.map(|_| ()).with_context(|| format!("no line names {word}"))
}

/// `sched=` with a name that is none.
pub fn unknown_sched(room: &mut Room<'_>) -> Result<()> {
    warned(room, "sched=lottery", "lottery")
}

/// An option that is none.
pub fn unknown_option(room: &mut Room<'_>) -> Result<()> {
    warned(room, "frobnicate=7", "frobnicate")
}
