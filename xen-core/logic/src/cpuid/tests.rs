//! The view against machines made up for the purpose.

use super::*;

/// A machine that has everything: every bit of every register, in every leaf.
fn everything(leaf: u32, subleaf: u32) -> Leaf {
    match leaf {
        0 => Leaf {
            a: 0x20,
            b: VENDOR_AMD_EBX,
            c: u32::from_le_bytes(*b"cAMD"),
            d: u32::from_le_bytes(*b"enti"),
        },
        0x8000_0000 => Leaf {
            a: 0x8000_00ff,
            ..Leaf::ZERO
        },
        0xd if subleaf == 0 => Leaf {
            a: 0x602e7,
            b: 2696,
            c: 11008,
            d: 0,
        },
        0xd => Leaf {
            a: 256,
            b: 64 + 256 * subleaf,
            c: 7,
            d: 9,
        },
        _ => Leaf {
            a: u32::MAX,
            b: u32::MAX,
            c: u32::MAX,
            d: u32::MAX,
        },
    }
}

/// A machine without anything.
fn nothing(leaf: u32, _: u32) -> Leaf {
    match leaf {
        0 => Leaf { a: 0xd, ..Leaf::ZERO },
        0x8000_0000 => Leaf {
            a: 0x8000_0021,
            ..Leaf::ZERO
        },
        _ => Leaf::ZERO,
    }
}

fn viewer() -> Viewer {
    Viewer {
        hardware_domain: true,
        vcpu_id: 3,
        osxsave: true,
        fsgsbase: true,
        clock: Clock {
            reliable: true,
            khz: 2_400_000,
            multiplier: 0xd555_5555,
            shift: -1,
        },
        machine_address_bits: 38,
    }
}

fn ask(leaf: u32, subleaf: u32) -> Leaf {
    guest_leaf(everything, &viewer(), leaf, subleaf)
}

/// What a paravirtual guest must not find, wherever the machine has it.
#[test]
fn hides_what_guests_cannot_have() {
    let one = ask(1, 0);
    for bit in [3, 13, 17] {
        assert_eq!(one.d >> bit & 1, 0, "EDX bit {bit}: PSE, PGE, PSE36");
    }
    for bit in [3, 5, 17, 21, 24] {
        assert_eq!(
            one.c >> bit & 1,
            0,
            "ECX bit {bit}: MONITOR, VMX, PCID, x2APIC, TSC-deadline"
        );
    }
    let seven = ask(7, 0);
    for bit in [7, 10, 14, 20] {
        assert_eq!(seven.b >> bit & 1, 0, "EBX bit {bit}: SMEP, INVPCID, MPX, SMAP");
    }
    for bit in [2, 3, 4, 7, 16] {
        assert_eq!(seven.c >> bit & 1, 0, "ECX bit {bit}: UMIP, PKU, OSPKE, CET, LA57");
    }
    assert_eq!(seven.d >> 20 & 1, 0, "CET");
    let extended = ask(0x8000_0001, 0);
    assert_eq!(extended.c >> 2 & 1, 0, "SVM");
    for bit in [3, 13, 17, 26] {
        assert_eq!(extended.d >> bit & 1, 0, "EDX bit {bit}: PSE, PGE, PSE36, 1 GiB pages");
    }
    assert_eq!(ask(0xd, 1).a >> 3, 0, "XSAVES and later");
    for leaf in [5, 6, 0xa, 0xb, 0x8000_000a, 0x8000_001e, 0x8000_001f] {
        assert_eq!(ask(leaf, 0), Leaf::ZERO, "leaf {leaf:#x}");
    }
}

#[test]
fn never_shows_what_the_machine_has_not() {
    let bare = Viewer {
        osxsave: false,
        ..viewer()
    };
    let one = guest_leaf(nothing, &bare, 1, 0);
    assert_eq!((one.c, one.d), (ECX1_HYPERVISOR, 0));
    for leaf in [7, 0xd, 0x8000_0001, 0x8000_0007, 0x8000_0021] {
        for subleaf in 0..3 {
            let l = guest_leaf(nothing, &bare, leaf, subleaf);
            assert_eq!((l.a, l.d), (0, 0), "leaf {leaf:#x} {subleaf}");
            assert!(leaf == 0xd || (l.b, l.c) == (0, 0), "leaf {leaf:#x} {subleaf}");
        }
    }
}

#[test]
fn follows_the_viewer() {
    assert_eq!(ask(1, 0).b >> 24, 6, "APIC ID is twice the vcpu number");
    assert_ne!(ask(1, 0).c & ECX1_OSXSAVE, 0);
    let other = Viewer {
        osxsave: false,
        hardware_domain: false,
        fsgsbase: false,
        ..viewer()
    };
    let one = guest_leaf(everything, &other, 1, 0);
    assert_eq!((one.c & ECX1_OSXSAVE, one.d & EDX1_MTRR), (0, 0));
    assert_ne!(ask(1, 0).d & EDX1_MTRR, 0);
    assert_eq!(guest_leaf(everything, &other, 7, 0).b & EBX7_FSGSBASE, 0);
    assert_eq!(guest_leaf(everything, &other, 0x8000_0007, 0).d, 0);
}

#[test]
fn hypervisor_leaves_are_those_of_xen() {
    let first = ask(0x4000_0000, 0);
    assert_eq!(
        first,
        Leaf {
            a: 0x4000_0005,
            b: 0x566e_6558,
            c: 0x6558_4d4d,
            d: 0x4d4d_566e
        }
    );
    assert_eq!(
        ask(0x4000_0001, 0),
        Leaf {
            a: 0x0004_0011,
            ..Leaf::ZERO
        }
    );
    assert_eq!(
        ask(0x4000_0002, 0),
        Leaf {
            a: 1,
            b: 0x4000_0000,
            c: 1,
            d: 0
        }
    );
    assert_eq!(
        ask(0x4000_0003, 0),
        Leaf {
            a: 6,
            b: 0,
            c: 2_400_000,
            d: 0
        }
    );
    assert_eq!(
        ask(0x4000_0003, 1),
        Leaf {
            a: 0,
            b: 0,
            c: 0xd555_5555,
            d: 0xffff_ffff
        }
    );
    assert_eq!(ask(0x4000_0004, 0), Leaf::ZERO);
    assert_eq!(ask(0x4000_0005, 0).b, 38);
    assert_eq!(ask(0x4000_0006, 0), Leaf::ZERO);
    assert_eq!(ask(0x4000_0100, 0), Leaf::ZERO);
}

#[test]
fn save_area_holds_usable_components_only() {
    let zero = ask(0xd, 0);
    assert_eq!((zero.a, zero.d), (0xe7, 0));
    // The last of the usable components here is number 7.
    assert_eq!(zero.c, 64 + 256 * 7 + 256);
    assert!(zero.b <= zero.c);
    assert_eq!(ask(0xd, 9), Leaf::ZERO);
    assert_eq!(ask(0xd, 2).b, 64 + 512);
}

#[test]
fn ends_where_the_limits_say() {
    assert_eq!(ask(0, 0).a, MAX_BASIC);
    assert_eq!(ask(0x8000_0000, 0).a, MAX_EXTENDED);
    for leaf in [0xe, 0x1f, 0x7fff_ffff, 0x8000_0022, u32::MAX] {
        assert_eq!(ask(leaf, 0), Leaf::ZERO, "leaf {leaf:#x}");
    }
}
