//! Guests in Rust (pv-frontends/guests), under Linux's backends and under the driver domain in Rust.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::super::room::Room;
use super::case::{Case, case, long};
use crate::bench::on_disk::OnDisk;
use crate::bench::{density, drivers, guest_paths};
use crate::conform::{self, ConformArgs, Frontend};
use crate::guest::iodom::{self, Load};
use crate::guest::needs::{self, Needs};
use crate::guest::outcome::{self, End};
use crate::guest::{self, Backend, GuestArgs, NewGuestArgs, linux};
use crate::setup::xen;
use crate::workspace;

/// The tests.
pub const CASES: &[Case] = &[
    case(
        "guest-hello",
        1,
        40,
        "a guest in Rust under Dom0's tools: greeting, status",
        hello,
    ),
    case(
        "guest-hello-iodom",
        1,
        20,
        "the same under the driver domain in Rust",
        hello_iodom,
    ),
    case(
        "guest-net",
        1,
        60,
        "an HTTP echo over Linux's netback, contents checked",
        net,
    ),
    case(
        "guest-net-iodom",
        1,
        20,
        "an HTTP echo over the driver domain, contents checked",
        net_iodom,
    ),
    case(
        "guest-blk",
        1,
        60,
        "a disk over Linux's blkback, checksums compared",
        blk,
    ),
    case(
        "guest-blk-iodom",
        1,
        30,
        "a disk over the driver domain, checksums compared",
        blk_iodom,
    ),
    case(
        "guest-shell",
        1,
        60,
        "what is typed at a guest's console; its death shows a backtrace",
        shell,
    ),
    case(
        "guest-abuse",
        1,
        90,
        "a guest attacks hypervisor, backends and store; a bystander and Dom0 go on",
        abuse,
    ),
    long(case(
        "guest-many-iodom",
        2,
        30,
        "several guests of several vcpus under the driver domain",
        many_iodom,
    )),
    long(case(
        "guest-xl-peer",
        1,
        300,
        "Debian's xl runs the guests on stock Xen",
        xl_peer,
    )),
    long(case(
        "guests-density",
        1,
        240,
        "forty small guests one after the other: none dearer than the first, nothing left behind",
        density,
    )),
    case("guest-new", 1, 20, "a guest made from the template boots", new_guest),
    case(
        "guest-costs",
        1,
        60,
        "no path between guest and hypervisor takes more instructions than stock Xen's",
        costs,
    ),
    long(case(
        "guest-drivers",
        1,
        120,
        "no request over the drivers in Rust takes more instructions than one over Linux's",
        drivers,
    )),
    case(
        "conform-linux",
        1,
        120,
        "conformance cases against Linux's backends",
        conform_linux,
    ),
    case(
        "conform-iodom",
        1,
        90,
        "conformance cases against the driver domain",
        conform_iodom,
    ),
    case(
        "conform-linux-guest",
        1,
        150,
        "conformance cases of a Linux guest's frontends against the driver domain, its reboot among them",
        conform_linux_guest,
    ),
    case(
        "conform-broken",
        1,
        40,
        "a case that is broken on purpose is found",
        conform_broken,
    ),
];

const XL_SCRIPT: &str = include_str!("xl_guests.sh");
/// Guests of the density test.
const MANY: u32 = 40;

/// Boots a guest and gives all that was printed.
fn boot(room: &mut Room<'_>, name: &str, backend: Backend, words: &str, typed: Option<&str>) -> Result<String> {
    let options = GuestArgs {
        smp: room.args.smp,
        limit: room.limit().as_secs(),
        typed: typed.map(str::to_owned),
        ..GuestArgs::plain(name, backend, Some(room.shared.hv.clone()))
    };
    let needs = needs::find(name)?;
    let mut console = String::new();
    let mut show = |line: &str| {
        console += line;
        console.push('\n');
    };
    let words = format!("{} {words}", needs.extra);
    let output = guest::run(
        &options,
        &room.shared.over,
        &needs,
        words.trim(),
        room.scratch(),
        &mut show,
    );
    room.keep_text(console);
    output?.context("nothing was printed")
}

/// The guest must end with 0, and its counterpart agree.
fn good(room: &mut Room<'_>, name: &str, backend: Backend) -> Result<String> {
    let output = boot(room, name, backend, "", None)?;
    let end = outcome::end(&output);
    ensure!(end == End::Exit(0), "the guest's end is {end:?}");
    match outcome::disagreement(&output) {
        Some(why) => bail!(why),
        None => Ok(output),
    }
}

/// The greeting.
fn hello(room: &mut Room<'_>) -> Result<()> {
    let output = good(room, "hello", Backend::Linux)?;
    ensure!(output.contains("Hello from a guest in Rust."), "no greeting");
    Ok(())
}

/// The greeting, soon.
fn hello_iodom(room: &mut Room<'_>) -> Result<()> {
    let output = good(room, "hello", Backend::Iodom)?;
    ensure!(output.contains("Hello from a guest in Rust."), "no greeting");
    let up = output
        .lines()
        .find_map(|line| line.strip_prefix("the hypervisor has been up for "));
    // Told, not judged: what else this machine does is in it.
    println!(
        "     guest-hello-iodom: greeting after {}",
        up.context("the guest did not tell the time")?
    );
    Ok(())
}

/// The HTTP echo, its contents checked from outside.
fn net(room: &mut Room<'_>) -> Result<()> {
    served(&good(room, "net", Backend::Linux)?)
}

/// The same under the driver domain.
fn net_iodom(room: &mut Room<'_>) -> Result<()> {
    served(&good(room, "net", Backend::Iodom)?)
}

fn served(output: &str) -> Result<()> {
    ensure!(output.contains("peer: exit 0"), "nobody asked the guest for anything");
    Ok(())
}

/// The disk, its contents checked from outside.
fn blk(room: &mut Room<'_>) -> Result<()> {
    summed(&good(room, "blk", Backend::Linux)?)
}

/// The same under the driver domain.
fn blk_iodom(room: &mut Room<'_>) -> Result<()> {
    summed(&good(room, "blk", Backend::Iodom)?)
}

fn summed(output: &str) -> Result<()> {
    ensure!(output.contains("peer: disk "), "nobody looked at the disk");
    Ok(())
}

/// Attacks, with a bystander.
fn abuse(room: &mut Room<'_>) -> Result<()> {
    let output = good(room, "abuse", Backend::Linux)?;
    ensure!(output.contains("the bystander answered "), "there was no bystander");
    let failed: Vec<&str> = output.lines().filter(|line| line.starts_with("FAIL ")).collect();
    ensure!(failed.is_empty(), "{failed:?}");
    Ok(())
}

const TYPED: &str =
    "info\nmem 100\nevtchn loop 10\nread name\nwrite data/x typed\nread data/x\ndevices\nmem 100000\npanic\n";

/// What is typed at the shell, and its death: a backtrace.
fn shell(room: &mut Room<'_>) -> Result<()> {
    let output = boot(room, "shell", Backend::Linux, "", Some(TYPED))?;
    for expected in [
        "100 pages hold what was written: true",
        "10 of 10 arrived",
        "typed",
        "device/vbd/51712: state",
        "no memory after ",
        "guest: called from 0x",
    ] {
        ensure!(output.contains(expected), "no `{expected}`");
    }
    ensure!(outcome::end(&output) == End::Panic, "the guest did not die");
    Ok(())
}

/// A guest made from the template boots, and its error is its status.
fn new_guest(room: &mut Room<'_>) -> Result<()> {
    let name = format!("probe-{}", std::process::id());
    let _left = Removed {
        folder: workspace::root().join("pv-frontends/guests").join(&name),
        lock: workspace::root().join("Cargo.lock"),
        locked: workspace::read(&workspace::root().join("Cargo.lock"))?,
    };
    guest::new_guest(&NewGuestArgs::plain(&name))?;
    let output = good(room, &name, Backend::Iodom)?;
    ensure!(output.contains(&format!("{name} is up")), "no greeting");
    let output = boot(room, &name, Backend::Iodom, "fail", None)?;
    let end = outcome::end(&output);
    ensure!(end == End::Exit(1), "the guest that was to fail ended with {end:?}");
    ensure!(output.contains("guest: error: as asked"), "the error was not printed");
    Ok(())
}

/// Takes the new guest out of the workspace again.
struct Removed {
    folder: PathBuf,
    lock: PathBuf,
    locked: Vec<u8>,
}

impl Drop for Removed {
    fn drop(&mut self) {
        // What is left behind would be seen in the checkout.
        let _ = std::fs::remove_dir_all(&self.folder);
        let _ = workspace::write(&self.lock, &self.locked);
    }
}

fn conformance(
    room: &mut Room<'_>,
    cases: &str,
    pair: (Frontend, Backend),
    broken: Option<&str>,
) -> Result<conform::Matrix> {
    let limit = room.limit().as_secs();
    let args = ConformArgs::plain(cases, pair, broken, Some(room.shared.hv.clone()), limit);
    let matrix = conform::run(&args, &room.shared.over)?;
    room.keep_text(conform::terminal(&matrix));
    Ok(matrix)
}

fn conforms(room: &mut Room<'_>, frontend: Frontend, backend: Backend) -> Result<()> {
    let matrix = conformance(room, "", (frontend, backend), None)?;
    let [passed, ..] = matrix.0[0].counts();
    ensure!(matrix.failures() == 0, "{}", conform::terminal(&matrix));
    ensure!(passed > 20, "only {passed} cases passed");
    Ok(())
}

/// No request over the drivers in Rust is dearer than one over Linux's.
fn drivers(room: &mut Room<'_>) -> Result<()> {
    let rows = drivers::measure(&room.shared.hv, &room.shared.over)?;
    room.keep_text(format!("{rows:#?}"));
    let dearer: Vec<_> = rows.iter().filter(|row| row.ours > row.linux).collect();
    ensure!(dearer.is_empty(), "dearer than Linux's: {dearer:?}");
    ensure!(rows.len() > 10, "only {} kinds of request were measured", rows.len());
    Ok(())
}

/// All cases.
fn conform_linux(room: &mut Room<'_>) -> Result<()> {
    conforms(room, Frontend::Ours, Backend::Linux)
}

/// All cases.
fn conform_iodom(room: &mut Room<'_>) -> Result<()> {
    conforms(room, Frontend::Ours, Backend::Iodom)
}

/// All cases of a Linux guest's frontends, its reboot among them; one broken on purpose is found.
fn conform_linux_guest(room: &mut Room<'_>) -> Result<()> {
    conforms(room, Frontend::Linux, Backend::Iodom)?;
    let pair = (Frontend::Linux, Backend::Iodom);
    let matrix = conformance(room, "xenbus/", pair, Some("xenbus/remove"))?;
    ensure!(
        matrix.failures() == 1,
        "xenbus/remove was broken, and {} failed",
        matrix.failures()
    );
    Ok(())
}

/// A case that is broken on purpose must be found, and no other.
fn conform_broken(room: &mut Room<'_>) -> Result<()> {
    const CASE: &str = "xenbus/write-read";
    const OURS: (Frontend, Backend) = (Frontend::Ours, Backend::Iodom);
    let sound = conformance(room, "xenbus/", OURS, None)?;
    let case = sound
        .cases()
        .into_iter()
        .find(|&name| name == CASE)
        .or_else(|| sound.cases().first().copied());
    let case = case.context("there are no cases")?.to_owned();
    let matrix = conformance(room, &case, OURS, Some(&case))?;
    ensure!(
        matrix.failures() == 1,
        "{case} was broken, and {} failed",
        matrix.failures()
    );
    Ok(())
}

/// Several guests, with disks and with vcpus beyond the first, at the same time.
fn many_iodom(room: &mut Room<'_>) -> Result<()> {
    const MEMBERS: [(&str, &str, u64); 4] = [
        ("one", "hello", 4),
        ("two", "blk", 2),
        ("three", "blk", 1),
        ("four", "hello", 1),
    ];
    let mut loads = Vec::new();
    let mut disks = 0;
    for (name, kind, vcpus) in MEMBERS {
        let needs = Needs {
            vcpus,
            ..needs::find(kind)?
        };
        let words = format!("{} requests=200", needs.extra);
        loads.push(Load::of_guest(name, &needs, &words, disks)?);
        disks += usize::from(needs.disk > 0);
    }
    let args = GuestArgs {
        smp: room.args.smp,
        limit: room.limit().as_secs(),
        ..GuestArgs::plain("hello", Backend::Iodom, Some(room.shared.hv.clone()))
    };
    let output = iodom::run_many(&args, &room.shared.over, &loads, room.scratch())?;
    room.keep_text(output.clone());
    let mut sums = Vec::new();
    for (name, kind, vcpus) in MEMBERS {
        let own: String = output
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{name}| ")))
            .map(|line| format!("{line}\n"))
            .collect();
        let end = outcome::end(&own);
        ensure!(end == End::Exit(0), "{name}'s end is {end:?}");
        let running = own.lines().filter(|line| line.ends_with(" runs, too")).count() as u64;
        ensure!(
            kind != "hello" || running + 1 == vcpus,
            "{name}: {running} further vcpus run"
        );
        sums.extend(
            own.lines()
                .find(|line| line.starts_with("guest: disk "))
                .map(str::to_owned),
        );
    }
    ensure!(
        sums.len() == 2 && sums[0] == sums[1],
        "disks written alike differ: {sums:?}"
    );
    Ok(())
}

/// Guests that stock Xen runs, too, under Debian's own tools.
const ON_STOCK: [&str; 4] = ["hello", "blk", "net", "bench"];

/// Debian's `xl` on stock Xen.
fn xl_peer(room: &mut Room<'_>) -> Result<()> {
    let mut files = Vec::new();
    for name in ON_STOCK {
        let needs = needs::find(name)?;
        files.extend(linux::files_for_dom0(&needs, &needs.extra)?);
    }
    let script = format!("GUESTS='{}'\n{XL_SCRIPT}", ON_STOCK.join(" "));
    let place = OnDisk {
        hv: &xen::find()?,
        tool: "xl",
        script: ["", &script],
        end: "GUESTS-END",
        files,
        mem: 2048,
        icount: false,
        limit: room.limit(),
        log: "guest-xl-peer".to_owned(),
    };
    let console = place.run(&room.shared.over)?;
    room.keep_text(console.clone());
    for name in ON_STOCK {
        let output = console
            .split_once(&format!("GUEST {name}\n"))
            .and_then(|(_, rest)| rest.split_once("GUEST-END"))
            .with_context(|| format!("{name} did not run"))?
            .0;
        let end = outcome::end(output);
        ensure!(end == End::Exit(0), "{name}'s end is {end:?}");
        if let Some(why) = outcome::disagreement(output) {
            bail!("{name}: {why}");
        }
    }
    Ok(())
}

/// Many guests, one after the other.
fn density(room: &mut Room<'_>) -> Result<()> {
    let limit = room.limit();
    let (table, complaints) = density::check(&room.shared.hv, MANY, limit, &room.shared.over)?;
    room.keep_text(table);
    ensure!(complaints.is_empty(), "{}", complaints.join("; "));
    Ok(())
}

/// No path between guest and hypervisor is dearer than stock Xen's.
fn costs(room: &mut Room<'_>) -> Result<()> {
    let rows = guest_paths::compare(&xen::find()?, &room.shared.hv, &room.shared.over, true)?;
    let table: BTreeMap<&str, (u64, u64)> = rows
        .iter()
        .map(|row| (row.name.as_str(), (row.xen, row.ours)))
        .collect();
    room.keep_text(format!("{table:#?}"));
    let dearer: Vec<_> = table.iter().filter(|(_, (xen, ours))| ours > xen).collect();
    ensure!(dearer.is_empty(), "dearer than stock Xen: {dearer:?}");
    ensure!(table.len() > 15, "only {} paths were measured", table.len());
    Ok(())
}
