//! A guest that goes to and fro between two machines, which a network joins.

use std::thread;
use std::time::{Duration, Instant};

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
    let wire = room.scratch().join("wire");
    let card = |server: &str, mac: &str| {
        [
            "-netdev".to_owned(),
            format!(
                "stream,id=lan,server={server},addr.type=unix,addr.path={}",
                wire.display()
            ),
            "-device".to_owned(),
            // Large packets: an emulated card costs by the packet.
            format!("virtio-net-pci,netdev=lan,mac={mac},host_mtu=9000"),
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
    other.extra(&card("off", "52:54:00:00:00:03").each_ref().map(String::as_str));
    let words = card("on", "52:54:00:00:00:01").map(Into::into);
    room.args.qemu_args.extend(words);
    let limit = room.limit();
    let there = thread::spawn(move || {
        // The machine here makes the wire, unless it cannot even be started.
        let end = Instant::now() + limit;
        while !wire.exists() && Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
        run::command_in_dom0(&other, &mark, limit, |_, _| {})
    });
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
        crate::progress::note(line);
    }
    guests::judge(&both, 2)?;
    ensure!(told == count as usize, "{told} of {count} moves told what they took");
    Ok(())
}
