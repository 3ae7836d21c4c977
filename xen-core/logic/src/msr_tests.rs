//! The answers that guests rely on.

use super::*;

fn dom0() -> Viewer {
    Viewer {
        hardware_domain: true,
        boot_vcpu: true,
        amd: true,
        arch_capabilities: false,
        prediction_barrier: false,
        tsc_aux: true,
        machine_check: true,
    }
}

#[test]
fn segment_bases_must_be_canonical() {
    for (msr, reg) in [
        (0xc000_0100, GuestReg::FsBase),
        (0xc000_0101, GuestReg::GsBase),
        (0xc000_0102, GuestReg::ShadowGsBase),
    ] {
        assert_eq!(read(msr, &dom0()), Read::Guest(reg));
        assert_eq!(write(msr, 0xffff_8881_0000_0000, &dom0()), Write::Guest(reg));
        assert_eq!(write(msr, 0x0000_7fff_ffff_ffff, &dom0()), Write::Guest(reg));
        for bad in [0x0000_8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
            assert_eq!(write(msr, bad, &dom0()), Write::Fault { known: true });
        }
    }
}

#[test]
fn cache_types_are_read_and_never_changed() {
    assert_eq!(read(0x277, &dom0()), Read::Machine(u64::MAX));
    assert_eq!(write(0x277, 0, &dom0()), Write::IfSame);
    let guest = Viewer {
        hardware_domain: false,
        ..dom0()
    };
    assert_eq!(read(0xfe, &dom0()), Read::Machine(u64::MAX));
    assert_eq!(read(0xfe, &guest), Read::Fault { known: true });
    assert_eq!(write(0x2ff, 6, &dom0()), Write::IfSame);
    assert_eq!(write(0x2ff, 6, &guest), Write::Fault { known: false });
}

#[test]
fn only_vcpu_0_is_the_boot_cpu() {
    assert_eq!(read(0x1b, &dom0()), Read::Value(0xfee0_0900));
    assert_eq!(
        read(
            0x1b,
            &Viewer {
                boot_vcpu: false,
                ..dom0()
            }
        ),
        Read::Value(0xfee0_0800)
    );
}

/// The hypervisor's own entry points, APIC, interrupt routing and paging modes stay its own.
#[test]
fn registers_of_the_hypervisor_are_never_written() {
    let entries = [0x174, 0x175, 0x176, 0xc000_0081, 0xc000_0082, 0xc000_0083, 0xc000_0084];
    let others = [
        0x1b,
        0x3a,
        0x48,
        0x10b,
        0xda0,
        0xc000_0080,
        0xc001_0114,
        0xc001_0117,
        0x80b,
        0x830,
    ];
    for msr in entries.into_iter().chain(others) {
        for amd in [false, true] {
            let answer = write(msr, 0, &Viewer { amd, ..dom0() });
            assert!(
                matches!(answer, Write::Fault { .. } | Write::IfSame),
                "{msr:#x}: {answer:?}"
            );
        }
    }
    for msr in (0..0x2000)
        .chain(0xc000_0000..0xc000_2000)
        .chain(0xc001_0000..0xc001_2000)
    {
        let answer = write(msr, u64::MAX, &dom0());
        assert!(
            !matches!(answer, Write::Machine(_)) || msr == 0x49,
            "{msr:#x}: {answer:?}"
        );
    }
}

#[test]
fn hypercall_page_names_a_frame() {
    assert_eq!(write(0x4000_0000, 0x1234_5000, &dom0()), Write::HypercallPage(0x12345));
}

#[test]
fn barrier_passes_only_where_shown() {
    let with = Viewer {
        prediction_barrier: true,
        ..dom0()
    };
    assert_eq!(write(0x49, 1, &with), Write::Machine(1));
    assert!(matches!(write(0x49, 1, &dom0()), Write::Fault { .. }));
}

#[test]
fn what_is_saved_of_a_vcpu_is_taken_back_and_no_more() {
    for msr in SAVED {
        assert!(may_restore(msr, 0, true), "{msr:#x}");
        assert_eq!(may_restore(msr, 7, true), msr == SAVED_TSC_AUX, "{msr:#x}");
    }
    assert!(!may_restore(SAVED_TSC_AUX, 7, false));
    assert!(!may_restore(SAVED_TSC_AUX, 1 << 32, true));
    assert!(!may_restore(0xc000_0080, 0, true), "EFER");
}

#[test]
fn a_policy_only_takes_away() {
    assert!(policy_allows(0xce, 1 << 31, 0) && policy_allows(0xce, 0, 0));
    assert!(!policy_allows(0xce, 1 << 30, u64::MAX));
    assert!(policy_allows(0x10a, 1, 1) && policy_allows(0x10a, 0, 0));
    assert!(!policy_allows(0x10a, 1, 0) && !policy_allows(0x10a, 2, 2));
    assert!(!policy_allows(0x1b, 0, u64::MAX));
}
