//! The boot tests by name.

mod bad_input;
mod devices;
pub mod guests;
mod kernels;
mod life;
mod loads;
mod migration;
mod parity;
mod rust_guests;
mod sizes;

use anyhow::Result;

use super::room::Room;

/// A boot test.
pub struct Case {
    /// Its name, on the command line and in docs/specification.md.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// CPUs of its machine.
    pub cpus: u32,
    /// Seconds that it takes on two quiet cores; ten times that is a hang.
    pub normal: u64,
    /// Only with `--long`.
    pub long: bool,
    /// The test.
    pub run: Run,
}

type Run = fn(&mut Room<'_>) -> Result<()>;

const fn case(name: &'static str, cpus: u32, normal: u64, about: &'static str, run: Run) -> Case {
    Case {
        name,
        about,
        cpus,
        normal,
        long: false,
        run,
    }
}

const fn long(mut case: Case) -> Case {
    case.long = true;
    case
}

/// All of them.
pub const ALL: &[Case] = &[
    case(
        "smp1",
        1,
        15,
        "one CPU: Dom0 sees Xen and is the control domain",
        sizes::smp,
    ),
    case("smp2", 2, 20, "two CPUs, two vcpus", sizes::smp),
    case("smp4", 4, 40, "four CPUs, four vcpus", sizes::smp),
    case("mem512", 1, 30, "a machine of 512 MiB, all of it Dom0's", sizes::mem512),
    case("mem6g", 1, 30, "a machine of 6 GiB, most of it Dom0's", sizes::mem6g),
    case(
        "max-vcpus",
        2,
        20,
        "dom0_max_vcpus limits Dom0's vcpus",
        sizes::max_vcpus,
    ),
    case(
        "exec-status",
        1,
        15,
        "run --exec ends with the command's status",
        sizes::status,
    ),
    case(
        "bzimage",
        1,
        40,
        "the hypervisor decompresses a bzImage",
        sizes::bzimage,
    ),
    case("iso", 1, 40, "GRUB boots the same from a CD (Multiboot 2)", life::iso),
    case("poweroff", 1, 15, "Dom0 powers off by ACPI", life::poweroff),
    case("reboot", 1, 15, "Dom0 reboots", life::reboot),
    case("crash", 1, 20, "Dom0's crash dumps its state and reboots", life::crash),
    case(
        "crash-noreboot",
        1,
        20,
        "with noreboot the machine stays after Dom0's crash",
        life::crash_noreboot,
    ),
    case(
        "nmi",
        1,
        20,
        "an NMI dumps registers, a backtrace with names and the trace; Dom0 goes on",
        life::nmi,
    ),
    case(
        "trace",
        1,
        30,
        "the trace of a boot becomes a Chrome trace",
        life::trace,
    ),
    case(
        "idle",
        2,
        30,
        "idle vcpus let the CPUs sleep, timers still fire",
        life::idle,
    ),
    case(
        "loads-1",
        1,
        40,
        "fork, mmap, signal, FPU and timer load on one vcpu",
        loads::one,
    ),
    case("loads-2", 2, 50, "the same on two vcpus", loads::two),
    case(
        "loads-4",
        2,
        60,
        "the same on four vcpus that share two CPUs",
        loads::four,
    ),
    long(case(
        "loads-4-long",
        2,
        400,
        "the same, ten times as long",
        loads::four_long,
    )),
    case(
        "virtio-blk",
        1,
        20,
        "a virtio disk keeps what Dom0 writes",
        devices::virtio_blk,
    ),
    case(
        "virtio-net",
        1,
        20,
        "a virtio network card carries pings",
        devices::virtio_net,
    ),
    case("ahci", 1, 20, "an AHCI disk keeps what Dom0 writes", devices::ahci),
    case("e1000", 1, 20, "an e1000 network card carries pings", devices::e1000),
    case(
        "rtc",
        1,
        15,
        "Dom0 reads the clock chip and its time agrees",
        devices::rtc,
    ),
    case(
        "msi-off",
        1,
        20,
        "a virtio disk by its interrupt line",
        devices::virtio_intx,
    ),
    case(
        "kernel-smap",
        1,
        10,
        "SMAP on, a guest that makes no far return: copies, traps, user mode",
        kernels::smap,
    ),
    case(
        "kernel-abuse",
        1,
        10,
        "every hypercall with bad pointers, frames and numbers gives an errno",
        kernels::abuse,
    ),
    case(
        "kernel-grants",
        1,
        10,
        "grants of both versions and event channels, used well and wrongly",
        kernels::grants,
    ),
    case(
        "kernel-grants-2",
        2,
        20,
        "the same, and two vcpus at the same entry, handle or port at once",
        kernels::grants,
    ),
    case(
        "kernel-foreign",
        2,
        10,
        "other domains' memory: limits, claims, foreign mappings, page tables, ends with frames in use",
        kernels::foreign,
    ),
    case(
        "kernel-churn-2",
        2,
        20,
        "page tables of two vcpus change at once, flushes cross",
        kernels::churn,
    ),
    case(
        "kernel-churn-4",
        4,
        40,
        "page tables of four vcpus change at once, flushes cross",
        kernels::churn,
    ),
    long(case(
        "kernel-churn-long",
        4,
        200,
        "the same, ten times as long",
        kernels::churn_long,
    )),
    case(
        "kernel-wild",
        1,
        20,
        "a wild Dom0 is killed and the hypervisor says why",
        kernels::wild,
    ),
    case(
        "guest-hello",
        1,
        40,
        "a guest in Rust under Dom0's tools: greeting, status",
        rust_guests::hello,
    ),
    case(
        "guest-hello-iodom",
        1,
        20,
        "the same under the driver domain in Rust",
        rust_guests::hello_iodom,
    ),
    case(
        "guest-net",
        1,
        60,
        "an HTTP echo over Linux's netback, contents checked",
        rust_guests::net,
    ),
    case(
        "guest-net-iodom",
        1,
        20,
        "an HTTP echo over the driver domain, contents checked",
        rust_guests::net_iodom,
    ),
    case(
        "guest-blk",
        1,
        60,
        "a disk over Linux's blkback, checksums compared",
        rust_guests::blk,
    ),
    case(
        "guest-blk-iodom",
        1,
        30,
        "a disk over the driver domain, checksums compared",
        rust_guests::blk_iodom,
    ),
    case(
        "guest-shell",
        1,
        60,
        "what is typed at a guest's console; its death shows a backtrace",
        rust_guests::shell,
    ),
    case(
        "guest-abuse",
        1,
        90,
        "a guest attacks hypervisor, backends and store; a bystander and Dom0 go on",
        rust_guests::abuse,
    ),
    long(case(
        "guest-many-iodom",
        2,
        30,
        "several guests of several vcpus under the driver domain",
        rust_guests::many_iodom,
    )),
    long(case(
        "guest-xl-peer",
        1,
        300,
        "Debian's xl runs the guests on stock Xen",
        rust_guests::xl_peer,
    )),
    long(case(
        "guests-density",
        1,
        240,
        "forty small guests one after the other: none dearer than the first, nothing left behind",
        rust_guests::density,
    )),
    long(case(
        "guest-new",
        1,
        60,
        "a guest made from the template boots",
        rust_guests::new_guest,
    )),
    case(
        "guest-costs",
        1,
        60,
        "no path between guest and hypervisor takes more instructions than stock Xen's",
        rust_guests::costs,
    ),
    case(
        "conform-linux",
        1,
        120,
        "conformance cases against Linux's backends",
        rust_guests::conform_linux,
    ),
    case(
        "conform-iodom",
        1,
        90,
        "conformance cases against the driver domain",
        rust_guests::conform_iodom,
    ),
    long(case(
        "conform-linux-guest",
        1,
        150,
        "conformance cases of a Linux guest's frontends against the driver domain, its reboot among them",
        rust_guests::conform_linux_guest,
    )),
    case(
        "conform-broken",
        1,
        40,
        "a case that is broken on purpose is found",
        rust_guests::conform_broken,
    ),
    case(
        "guests",
        1,
        120,
        "every command of xlr in a Linux guest's life; bad configurations",
        guests::commands,
    ),
    case(
        "guests-peer",
        1,
        120,
        "the same commands with stock Xen below the same tools",
        guests::peer,
    ),
    case(
        "guests-cycles",
        1,
        120,
        "guests come and go, daemons are killed: nothing is left behind, no guest is lost",
        guests::cycles,
    ),
    long(case(
        "guests-cycles-long",
        1,
        600,
        "200 small guests and 5 of Linux come and go",
        guests::cycles_long,
    )),
    case(
        "guests-consoles",
        1,
        80,
        "noisy, hostile and dying guests at the console daemon; its death loses no word",
        guests::consoles,
    ),
    long(case(
        "guests-save",
        1,
        200,
        "a Linux guest is saved and restored with all it has; broken images leave nothing",
        guests::save,
    )),
    case(
        "migration",
        1,
        240,
        "a guest under load moves to another host and back; its connection holds; a broken move leaves it where it is",
        migration::short,
    ),
    long(case(
        "migration-long",
        1,
        1200,
        "the same with twenty moves",
        migration::long,
    )),
    long(case(
        "guests-images",
        1,
        300,
        "an image that Debian's xl has saved is restored by xlr, and the other way round",
        guests::images,
    )),
    long(case(
        "guests-images-peer",
        1,
        400,
        "the same on stock Xen",
        guests::images_peer,
    )),
    long(case(
        "guests-save-peer",
        1,
        300,
        "the same on stock Xen",
        guests::save_peer,
    )),
    long(case(
        "guests-rare",
        1,
        120,
        "a watchdog expires, a guest ends with an interrupt bound, a driver domain serves by xlr devd",
        guests::rare,
    )),
    long(case(
        "guests-pvgrub",
        1,
        80,
        "GRUB for paravirtual guests reads the guest's disk and starts Linux in its own place",
        guests::pvgrub,
    )),
    case(
        "guests-smp",
        2,
        100,
        "a guest with four vcpus under load, its results checked",
        guests::smp,
    ),
    long(case(
        "guests-smp-long",
        2,
        400,
        "the same, five times as long",
        guests::smp_long,
    )),
    case(
        "guests-shares",
        1,
        60,
        "two guests and Dom0 share a CPU by weight and cap",
        guests::shares,
    ),
    long(case(
        "guests-nat",
        1,
        60,
        "guests that are routed, and behind NAT",
        guests::nat,
    )),
    long(case(
        "sides",
        1,
        150,
        "xl and xlr manage each other's guests over Debian's xenstored, under either console daemon",
        guests::sides,
    )),
    long(case(
        "sides-ours",
        1,
        150,
        "the same over our xenstored",
        guests::sides_ours,
    )),
    long(case(
        "sides-peer",
        1,
        150,
        "the same over our xenstored with stock Xen below",
        guests::sides_peer,
    )),
    long(case(
        "virsh",
        2,
        150,
        "a guest's life by Debian's libvirt",
        guests::virsh,
    )),
    long(case(
        "virsh-migrate",
        1,
        300,
        "a guest moves from one host to another and back by Debian's libvirt",
        migration::virsh,
    )),
    long(case(
        "virsh-peer",
        1,
        150,
        "the same with stock Xen below",
        guests::virsh_peer,
    )),
    long(case(
        "parity",
        2,
        240,
        "Debian's own tools print the same on both hypervisors: errors, events and xenstore, information",
        parity::short,
    )),
    long(case("parity-long", 2, 2400, "the same, all areas", parity::long)),
    case("bad-no-module", 1, 3, "no kernel: one clear line", bad_input::no_module),
    case(
        "bad-not-elf",
        1,
        3,
        "a kernel that is none: one clear line",
        bad_input::not_elf,
    ),
    case(
        "bad-truncated-elf",
        1,
        5,
        "an ELF kernel cut short: one clear line",
        bad_input::truncated_elf,
    ),
    case(
        "bad-truncated-bz",
        1,
        20,
        "a bzImage cut short: one clear line",
        bad_input::truncated_bzimage,
    ),
    case(
        "bad-not-pv",
        1,
        3,
        "an ELF file that is no PV kernel: one clear line",
        bad_input::not_pv,
    ),
    case(
        "bad-initrd",
        1,
        5,
        "an initrd that does not fit: one clear line",
        bad_input::initrd_too_large,
    ),
    case(
        "bad-memory",
        1,
        3,
        "too little memory: one clear line",
        bad_input::too_little_memory,
    ),
    case(
        "bad-dom0-mem",
        1,
        5,
        "dom0_mem beyond the machine: one clear line",
        bad_input::dom0_mem_too_large,
    ),
    case(
        "bad-sched",
        1,
        15,
        "an unknown scheduler is named in a warning",
        bad_input::unknown_sched,
    ),
    case(
        "bad-option",
        1,
        15,
        "an unknown option is named in a warning",
        bad_input::unknown_option,
    ),
];

/// Prints names and what each shows.
pub fn list() {
    for case in ALL {
        let note = if case.long { " (--long)" } else { "" };
        println!("{:<18} {}{note}", case.name, case.about);
    }
}
