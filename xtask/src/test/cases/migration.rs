//! A guest that goes to and fro between two machines, which a network of datagrams joins.

use std::thread;

use anyhow::{Context, Result, anyhow, ensure};

use super::super::room::Room;
use super::guests;
use crate::run;

/// MiB of each machine.
const MEMORY: u32 = 2048;

/// The guest moves twice.
pub fn short(room: &mut Room<'_>) -> Result<()> {
    moves(room, 2)
}

/// Twenty times.
pub fn long(room: &mut Room<'_>) -> Result<()> {
    moves(room, 20)
}

fn moves(room: &mut Room<'_>, count: u32) -> Result<()> {
    room.args.tools = true;
    room.args.mem = MEMORY;
    for script in [guests::LIB, guests::MIGRATE] {
        room.files.push(script.into());
    }
    let command = |role: &str| format!("echo SCENARIO {role}; sh /paravane/migrate.sh {role} {count}; true");
    let sockets = ["here", "there"].map(|role| room.scratch().join(role).display().to_string());
    let wire = |own: usize, mac: &str| {
        let (local, remote) = (&sockets[own], &sockets[1 - own]);
        [
            "-netdev".to_owned(),
            format!("dgram,id=lan,local.type=unix,local.path={local},remote.type=unix,remote.path={remote}"),
            "-device".to_owned(),
            format!("virtio-net-pci,netdev=lan,mac={mac}"),
        ]
    };
    let mark = run::fresh_mark();
    let mut other = room.machine(Some((command("there"), mark.clone())))?;
    other.qmp = Some(room.scratch().join("qmp-there"));
    other.log = other.log.map(|log| log.with_extension("there.log"));
    // The RAM disk is made anew for the machine here.
    let initrd = room.scratch().join("initrd-there");
    std::fs::rename(room.scratch().join("initrd"), &initrd).context("the other machine's RAM disk")?;
    other.initrd = Some(initrd);
    other.extra(&wire(1, "52:54:00:00:00:03").each_ref().map(String::as_str));
    let limit = room.limit();
    let there = thread::spawn(move || run::command_in_dom0(&other, &mark, limit, |_, _| {}));
    room.args.qemu_args.extend(wire(0, "52:54:00:00:00:01").map(Into::into));
    let here = room.exec(&command("here"));
    let there = there.join().map_err(|_| anyhow!("the other machine's thread ended"))?;
    let here = here.context("the host that the guest starts on")?.0;
    let there = there.map_err(|failed| {
        let lines: Vec<&str> = failed.console.lines().rev().take(30).collect();
        let tail: Vec<&str> = lines.into_iter().rev().collect();
        failed
            .error
            .context(format!("the other host; it said last:\n{}", tail.join("\n")))
    })?;
    let both = format!("{here}\n{}", there.output);
    let told = both.lines().filter(|line| line.starts_with("MOVE ")).count();
    for line in both.lines().filter(|line| line.starts_with("MOVE ")) {
        crate::progress::note(line.to_owned());
    }
    guests::judge(&both, 2)?;
    ensure!(told == count as usize, "{told} of {count} moves told what they took");
    Ok(())
}
