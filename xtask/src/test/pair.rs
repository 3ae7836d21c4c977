//! Two machines that a network joins, each with a command of its own for Dom0.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::room::{Room, Root};
use crate::run;

/// Boots both from the same options and files, and gives what the commands printed, first `here`'s.
pub fn exec(room: &mut Room<'_>, root: Root, here: &str, there: &str) -> Result<[String; 2]> {
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
    let mut other = room.machine_for(root, there, &mark)?;
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
    let here = room.exec_on(root, here);
    let there = there.join().map_err(|_| anyhow!("the other machine's thread ended"))?;
    let here = here.context("the host that the guest starts on")?.0;
    let there = there.map_err(|failed| {
        let lines: Vec<&str> = failed.console.lines().rev().take(30).collect();
        let tail: Vec<&str> = lines.into_iter().rev().collect();
        failed
            .error
            .context(format!("the other host; it said last:\n{}", tail.join("\n")))
    })?;
    Ok([here, there.output])
}
