//! What a person can get wrong: each ends in one clear line and a machine that stops.

use anyhow::{Result, ensure};

use super::super::room::Room;
use super::case::{Case, case};
use crate::dom0::payload;
use crate::machine::Machine;
use crate::setup::kernel;
use crate::workspace;

/// The tests.
pub const CASES: &[Case] = &[
    case("bad-no-module", 1, 3, "no kernel: one clear line", no_module),
    case("bad-not-elf", 1, 3, "a kernel that is none: one clear line", not_elf),
    case(
        "bad-truncated-elf",
        1,
        5,
        "an ELF kernel cut short: one clear line",
        truncated_elf,
    ),
    case(
        "bad-truncated-bz",
        1,
        20,
        "a bzImage cut short: one clear line",
        truncated_bzimage,
    ),
    case(
        "bad-not-pv",
        1,
        3,
        "an ELF file that is no PV kernel: one clear line",
        not_pv,
    ),
    case(
        "bad-initrd",
        1,
        5,
        "an initrd that does not fit: one clear line",
        initrd_too_large,
    ),
    case(
        "bad-memory",
        1,
        3,
        "too little memory: one clear line",
        too_little_memory,
    ),
    case(
        "bad-dom0-mem",
        1,
        5,
        "dom0_mem beyond the machine: one clear line",
        dom0_mem_too_large,
    ),
    case(
        "bad-sched",
        1,
        15,
        "an unknown scheduler is named in a warning",
        unknown_sched,
    ),
    case(
        "bad-option",
        1,
        15,
        "an unknown option is named in a warning",
        unknown_option,
    ),
];

/// One line says why, Dom0 does not come up, and the machine ends by itself.
fn refused(room: &mut Room<'_>, machine: &Machine, why: &str) -> Result<()> {
    let guest = room.expect_any(machine, &["cannot boot: "])?;
    room.expect_end(guest)?;
    let lines: Vec<&str> = room
        .console()
        .lines()
        .filter(|line| line.contains("cannot boot: "))
        .collect();
    ensure!(lines.len() == 1, "one line expected: {lines:?}");
    ensure!(lines[0].contains(why), "`{why}` expected in `{}`", lines[0]);
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
fn no_module(room: &mut Room<'_>) -> Result<()> {
    let mut machine = room.machine(None)?;
    machine.kernel = None;
    machine.initrd = None;
    refused(room, &machine, "no module")
}

/// A text file.
fn not_elf(room: &mut Room<'_>) -> Result<()> {
    let machine = with_kernel(room, &b"This is a text, and no kernel.\n".repeat(400))?;
    refused(room, &machine, "neither an ELF file nor a bzImage")
}

fn vmlinux(room: &Room<'_>) -> Result<Vec<u8>> {
    workspace::read(&payload::vmlinux(&kernel::find(&room.shared.over)?.image)?)
}

/// Half a kernel.
fn truncated_elf(room: &mut Room<'_>) -> Result<()> {
    let mut bytes = vmlinux(room)?;
    bytes.truncate(bytes.len() / 3);
    let machine = with_kernel(room, &bytes)?;
    refused(room, &machine, "truncated ELF file")
}

/// Half a bzImage.
fn truncated_bzimage(room: &mut Room<'_>) -> Result<()> {
    let mut bytes = workspace::read(&kernel::find(&room.shared.over)?.image)?;
    if bytes.starts_with(b"\x7fELF") {
        return Ok(());
    }
    bytes.truncate(bytes.len() / 2);
    let machine = with_kernel(room, &bytes)?;
    refused(room, &machine, "truncated")
}

/// A good ELF executable without Xen's notes: one segment of one page.
fn plain_elf() -> Vec<u8> {
    let base: u64 = 0x20_0000;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let halves = |file: &mut Vec<u8>, list: &[u16]| list.iter().for_each(|half| file.extend(half.to_le_bytes()));
    let words = |file: &mut Vec<u8>, list: &[u64]| list.iter().for_each(|word| file.extend(word.to_le_bytes()));
    // Executable, x86-64, version 1; entry, program headers behind this header, no sections.
    halves(&mut file, &[2, 62, 1, 0]);
    words(&mut file, &[base, 64, 0]);
    halves(&mut file, &[0, 0, 64, 56, 1, 64, 0, 0]);
    // A segment to load, readable and executable.
    words(&mut file, &[1 | 5 << 32, 4096, base, base, 4096, 4096, 4096]);
    file.resize(4096, 0);
    file.resize(8192, 0xf4);
    file
}

/// No PV kernel.
fn not_pv(room: &mut Room<'_>) -> Result<()> {
    let machine = with_kernel(room, &plain_elf())?;
    refused(room, &machine, "no Xen notes")
}

/// A RAM disk larger than Dom0's memory.
fn initrd_too_large(room: &mut Room<'_>) -> Result<()> {
    room.args.mem = 1024;
    room.args.hv_append = "dom0_mem=256M".to_owned();
    let initrd = room.blank_file("initrd-large", 400 << 20)?;
    let mut machine = room.machine(None)?;
    machine.initrd = Some(initrd);
    refused(room, &machine, "the initrd does not fit")
}

/// A machine that holds the hypervisor, and little else.
fn too_little_memory(room: &mut Room<'_>) -> Result<()> {
    room.args.mem = 16;
    let mut machine = with_kernel(room, &plain_elf())?;
    machine.initrd = None;
    refused(room, &machine, "too little memory")
}

/// More memory than there is.
fn dom0_mem_too_large(room: &mut Room<'_>) -> Result<()> {
    room.args.hv_append = "dom0_mem=64G".to_owned();
    let machine = room.machine(None)?;
    refused(room, &machine, "dom0_mem= asks for 65536 MiB")
}

/// Dom0 boots, but a warning names the word.
fn warned(room: &mut Room<'_>, option: &str, warning: &str) -> Result<()> {
    room.args.hv_append = option.to_owned();
    let output = room.must("echo up")?;
    ensure!(output == "up\n", "Dom0 says {output:?}");
    ensure!(room.console().contains(warning), "no line says `{warning}`");
    Ok(())
}

/// `sched=` with a name that is none.
fn unknown_sched(room: &mut Room<'_>) -> Result<()> {
    warned(room, "sched=lottery", "unknown scheduler 'lottery'")
}

/// An option that is none.
fn unknown_option(room: &mut Room<'_>) -> Result<()> {
    warned(room, "frobnicate=7", "unknown option 'frobnicate'")
}
