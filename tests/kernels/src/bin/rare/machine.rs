//! The machine's clock, firmware and power, as Dom0 sets and asks them.
use crate::control::{is, platform};
use guest_rt::{check, clock, trap, window};
use xen_abi::*;

fn set_short(secs: u32, nsecs: u32, system_time: u64) -> i64 {
    let time = xenpf_settime32 {
        secs,
        nsecs,
        system_time,
    };
    platform(XENPF_settime32, |r| r.set_payload(&time)).0
}

fn set_long(secs: u64, nsecs: u32, mbz: u32, system_time: u64) -> i64 {
    let time = xenpf_settime64 {
        secs,
        nsecs,
        mbz,
        system_time,
    };
    platform(XENPF_settime64, |r| r.set_payload(&time)).0
}

/// The wall clock is told as the time when the system's time was 0.
fn wall_clock() {
    let (secs, nsecs) = clock::wall_clock_base();
    check!(
        "settime/before",
        secs > 1_600_000_000 && nsecs < 1_000_000_000,
        "{secs} {nsecs}"
    );
    let answer = set_short(secs as u32 + 100, 500_000_000, 3_000_000_000);
    let now = clock::wall_clock_base();
    check!(
        "settime32/seen",
        answer == 0 && now == (secs + 97, 500_000_000),
        "{answer} {now:?}"
    );
    // Beyond 32 bits of seconds.
    let answer = set_long(secs + (1 << 32), 7, 0, 1_000_000_000);
    let now = clock::wall_clock_base();
    check!(
        "settime64/seen",
        answer == 0 && now == (secs + (1 << 32) - 1, 7),
        "{answer} {now:?}"
    );
    let answer = set_long(secs, 0, 1, 0);
    check!("settime64/not-zero", is(answer, Errno::EINVAL), "{answer}");
    let answers = (
        set_short(secs as u32, 1_000_000_000, 0),
        set_long(secs, 1_500_000_000, 0, 0),
    );
    let now = clock::wall_clock_base();
    check!(
        "settime/nanoseconds",
        answers == (0, 0) && now == (secs + 1, 500_000_000),
        "{answers:?} {now:?}"
    );
    let answer = set_long(secs, nsecs, 0, 0);
    let now = clock::wall_clock_base();
    check!(
        "settime64/back",
        answer == 0 && now == (secs, nsecs),
        "{answer} {now:?}"
    );
}

fn firmware() {
    let ask = |typ: u32, index: u32| {
        let info = xenpf_firmware_info {
            typ,
            index,
            ..Default::default()
        };
        let (answer, request) = platform(XENPF_firmware_info, |r| r.set_payload(&info));
        (answer, request.payload::<xenpf_firmware_info>().u[0])
    };
    let (answer, flags) = ask(XEN_FW_KBD_SHIFT_FLAGS, 0);
    // BIOS's own place for them, where this kernel may look at it.
    let own = window::map_device(0x410, 16).ok().and_then(|at| trap::read(at).ok());
    let holds = own.is_none_or(|words| words >> 56 == flags & 0xff);
    check!(
        "firmware_info/keys",
        answer == 0 && holds,
        "{answer} {flags:#x} {own:x?}"
    );
    for (name, typ, index, errno) in [
        ("keyboard", XEN_FW_KBD_SHIFT_FLAGS, 1, Errno::ESRCH),
        ("disk", XEN_FW_DISK_INFO, 200, Errno::ESRCH),
        ("record", XEN_FW_DISK_MBR_SIGNATURE, 200, Errno::ESRCH),
        ("display", XEN_FW_VBEDDC_INFO, 1, Errno::ESRCH),
        ("type", 99, 0, Errno::EINVAL),
    ] {
        let (answer, _) = ask(typ, index);
        check!(format_args!("firmware_info/no-{name}"), is(answer, errno), "{answer}");
    }
}

fn processors() {
    let ask = |typ: u32, id: u32| {
        let info = xenpf_set_processor_pminfo {
            id,
            typ,
            ..Default::default()
        };
        platform(XENPF_set_processor_pminfo, |r| r.set_payload(&info)).0
    };
    for (name, typ) in [("idle", XEN_PM_CX), ("frequency", XEN_PM_PX)] {
        let answer = ask(typ, 0);
        check!(format_args!("set_processor_pminfo/{name}"), answer == 0, "{answer}");
    }
    let answer = ask(XEN_PM_TX, 0);
    check!("set_processor_pminfo/throttle", is(answer, Errno::ENOSYS), "{answer}");
    let answer = ask(99, 0);
    check!("set_processor_pminfo/type", is(answer, Errno::EINVAL), "{answer}");
    let mut words = [1u32, 1, 0x3f];
    let mut info = xenpf_set_processor_pminfo {
        typ: XEN_PM_PDC,
        ..Default::default()
    };
    info.u[0] = crate::control::at(&mut words);
    let answer = platform(XENPF_set_processor_pminfo, |r| r.set_payload(&info)).0;
    check!("set_processor_pminfo/capabilities", answer == 0, "{answer} {words:x?}");
}

pub fn run() {
    wall_clock();
    firmware();
    processors();
}
