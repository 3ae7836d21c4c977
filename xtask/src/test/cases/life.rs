//! Ways in and out: a CD, power-off, reboot, crash; and doing nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::room::Room;
use super::case::{Case, case};
use crate::iso;
use crate::machine::guest::{Guest, Seen};
use crate::machine::{Boot, Machine};
use crate::run;
use crate::setup;

/// The tests.
pub const CASES: &[Case] = &[
    case("iso", 1, 40, "GRUB boots the same from a CD (Multiboot 2)", iso),
    case("poweroff", 1, 15, "Dom0 powers off by ACPI", poweroff),
    case("reboot", 1, 15, "Dom0 reboots", reboot),
    case("crash", 1, 20, "Dom0's crash dumps its state and reboots", crash),
    case(
        "crash-noreboot",
        1,
        20,
        "with noreboot the machine stays after Dom0's crash",
        crash_noreboot,
    ),
    case(
        "nmi",
        1,
        20,
        "an NMI dumps registers, a backtrace with names and the trace; Dom0 goes on",
        nmi,
    ),
    case("trace", 1, 30, "the trace of a boot becomes a Chrome trace", trace),
    case("idle", 2, 30, "idle vcpus let the CPUs sleep, timers still fire", idle),
];

/// GRUB on a CD.
fn iso(room: &mut Room<'_>) -> Result<()> {
    let mark = run::fresh_mark();
    let command = Some(("cat /sys/hypervisor/type".to_owned(), mark.clone()));
    let modules = room.machine(command)?;
    let file = room.scratch().join("boot.iso");
    iso::make(&modules, &file)?;
    let mut machine = Machine::new(&setup::qemu(&room.shared.over)?, Boot::Cdrom(file));
    machine.extra(&["-vga", "std"]);
    match run::command_in_dom0(&machine, &mark, room.limit(), |_, _| {}) {
        Ok(finished) => {
            room.keep(&finished.guest);
            ensure!(finished.output == "xen\n", "Dom0 says {:?}", finished.output);
            Ok(())
        }
        Err(failed) => Err(failed.error.context(failed.console)),
    }
}

/// The machine ends by itself, and cleanly.
fn poweroff(room: &mut Room<'_>) -> Result<()> {
    let (_, _, guest) = room.exec("true")?;
    room.expect_end(guest)
}

/// QEMU ends at a reboot, as it is told to; the reason tells it from a power-off.
fn reboot(room: &mut Room<'_>) -> Result<()> {
    let mut machine = room.machine(Some(("reboot -f; sleep 100".to_owned(), run::fresh_mark())))?;
    machine.extra(&["-no-shutdown"]);
    ends_by(room, &machine, "guest-reset")
}

/// Waits until the machine has stopped, and why.
fn ends_by(room: &mut Room<'_>, machine: &Machine, reason: &str) -> Result<()> {
    let mut guest = Guest::start(machine)?;
    let stopped = machine.qmp.as_ref().map(|socket| {
        let mut qmp = guest.qmp(socket)?;
        qmp.wait_shutdown(room.limit())
    });
    room.keep(&guest);
    let said = stopped.transpose()?.unwrap_or_default();
    ensure!(said == reason, "the machine stopped by {said}, not by {reason}");
    Ok(())
}

/// An NMI makes each CPU say what it does, with names, and Dom0 goes on.
fn nmi(room: &mut Room<'_>) -> Result<()> {
    let command = "echo ready; sleep 8; echo still here";
    let machine = room.machine(Some((command.to_owned(), run::fresh_mark())))?;
    let mut guest = Guest::start(&machine)?;
    let told = guest.expect("\nready\n", room.limit()).and_then(|()| {
        let socket = machine.qmp.as_ref().context("no monitor")?;
        // By then Dom0 sleeps, so the CPU is idle, in the hypervisor.
        std::thread::sleep(Duration::from_secs(3));
        guest.qmp(socket)?.execute("inject-nmi", &serde_json::json!({}))?;
        guest.expect("NMI on CPU 0", room.limit())?;
        guest.expect("\nstill here\n", room.limit())
    });
    room.keep(&guest);
    told?;
    let after = room.console().split_once("NMI on CPU 0").map_or("", |(_, after)| after);
    for wanted in ["rip", "last trace entries of CPU 0"] {
        ensure!(after.contains(wanted), "no `{wanted}` in the dump");
    }
    ensure!(after.contains("exit_slow+0x"), "no names in the backtrace");
    Ok(())
}

/// The trace of a whole boot can be read and holds hypercalls.
fn trace(room: &mut Room<'_>) -> Result<()> {
    let file = room.scratch().join("trace.json");
    room.args.trace = Some(file.clone());
    let mut machine = room.machine(Some(("ls /".to_owned(), run::fresh_mark())))?;
    machine.extra(&["-no-shutdown"]);
    let guest = Guest::start(&machine)?;
    let socket = machine.qmp.as_ref().context("no monitor")?;
    let written = crate::trace::at_end(socket, &file, room.scratch(), room.limit());
    room.keep(&guest);
    written?;
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let events = json["traceEvents"].as_array().context("no events")?;
    let count = |name: &str| events.iter().filter(|event| event["name"] == name).count();
    for name in ["sched_op", "mmuext_op", "d0v0"] {
        ensure!(count(name) > 0, "no {name} among {} events", events.len());
    }
    Ok(())
}

const CRASH: &str = "echo c > /proc/sysrq-trigger; sleep 100";

/// A crash of Dom0 is dumped, then the machine is reset.
fn crash(room: &mut Room<'_>) -> Result<()> {
    room.args.append = "panic=1".to_owned();
    let mut machine = room.machine(Some((CRASH.to_owned(), run::fresh_mark())))?;
    machine.extra(&["-no-shutdown"]);
    ends_by(room, &machine, "guest-reset")?;
    dumped(room.console())
}

/// The dump names the domain and shows registers.
fn dumped(console: &str) -> Result<()> {
    let text = console.to_lowercase();
    ensure!(text.contains("sysrq"), "Linux did not say that it crashed");
    ensure!(
        text.contains("hardware domain crashed"),
        "the hypervisor did not say that Dom0 crashed"
    );
    ensure!(text.contains("rip"), "no registers in the dump");
    Ok(())
}

/// The machine stays as it is.
fn crash_noreboot(room: &mut Room<'_>) -> Result<()> {
    room.args.append = "panic=1".to_owned();
    room.args.hv_append = "noreboot".to_owned();
    let machine = room.machine(Some((CRASH.to_owned(), run::fresh_mark())))?;
    let guest = room.expect_any(&machine, &["sysrq triggered crash", "sysrq: Trigger a crash"])?;
    let said = guest.expect("noreboot: the machine stays as it is", room.limit());
    let more = guest.wait_for(Duration::from_secs(3), |_| None::<()>);
    room.keep(&guest);
    said?;
    ensure!(matches!(more, Seen::TimedOut), "the machine ended all the same");
    dumped(room.console())
}

/// CPU seconds that QEMU has used.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or_default()
    };
    Ok((ticks(11) + ticks(12)) / 100.0)
}

/// Ten seconds of sleep leave the CPUs asleep, too.
fn idle(room: &mut Room<'_>) -> Result<()> {
    let mark = run::fresh_mark();
    let command = "sleep 1; echo begin; a=$(cut -d. -f1 /proc/uptime); sleep 10; b=$(cut -d. -f1 /proc/uptime); echo slept $((b-a))";
    let machine = room.machine(Some((command.to_owned(), mark)))?;
    let guest = Guest::start(&machine)?;
    let begun = guest
        .expect("\nbegin\n", room.limit())
        .and_then(|()| cpu_seconds(guest.id()));
    let ended = guest
        .expect("\nslept 1", room.limit())
        .and_then(|()| cpu_seconds(guest.id()));
    room.keep(&guest);
    let used = ended? - begun?;
    // Busy waiting on two CPUs would use twenty.
    ensure!(used < 5.0, "QEMU used {used:.1} CPU seconds while Dom0 slept for 10");
    Ok(())
}
