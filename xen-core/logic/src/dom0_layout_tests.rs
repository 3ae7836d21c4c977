use super::*;
use proptest::prelude::*;
use std::string::ToString;

const LINUX: Request = Request {
    virt_base: 0xffff_ffff_8000_0000,
    kernel_end: 0xffff_ffff_84a0_0000,
    init_p2m: Some(0x80_0000_0000),
    mod_start_pfn: true,
    initrd_len: 2_000_000,
    nr_pages: 1 << 18,
};

/// What must hold for every layout.
fn check(ask: &Request, layout: &Layout) {
    let mapped = layout.mapped();
    let kernel = Frames {
        pfn: 0,
        count: (ask.kernel_end - ask.virt_base).div_ceil(PAGE),
    };
    let parts = [
        kernel,
        layout.initrd,
        layout.start_info,
        layout.tables,
        layout.stack,
        layout.p2m,
        layout.p2m_tables,
    ];
    for (i, a) in parts.iter().enumerate() {
        assert!(
            a.end() <= layout.first_free.max(mapped) && a.end() <= ask.nr_pages,
            "{layout:?}"
        );
        assert!(
            parts[..i]
                .iter()
                .all(|b| a.count == 0 || b.count == 0 || a.end() <= b.pfn || b.end() <= a.pfn)
        );
    }
    for inside in [kernel, layout.start_info, layout.tables, layout.stack] {
        assert!(inside.end() <= mapped);
    }
    assert_eq!(layout.v_end % SUPERPAGE, 0);
    assert!(layout.v_end - layout.va(layout.stack.end()) >= PADDING);
    assert_eq!(
        layout.initrd.end() <= mapped,
        layout.initrd_mapped || ask.initrd_len == 0 && layout.initrd.pfn <= mapped
    );
    assert_eq!(layout.tables.count, 1 + layout.table_count.total());
    assert!(layout.table_count.l1 * 512 >= mapped);
    assert_eq!(layout.p2m.count, (ask.nr_pages * 8).div_ceil(PAGE));
    assert!(layout.first_free <= ask.nr_pages);
}

#[test]
fn linux_with_a_gibibyte() {
    let layout = Layout::compute(&LINUX).unwrap();
    check(&LINUX, &layout);
    assert_eq!(layout.v_start, LINUX.virt_base);
    assert_eq!(layout.start_info.pfn, 0x4a00);
    assert_eq!(layout.tables.pfn, 0x4a01);
    assert_eq!(layout.v_end, 0xffff_ffff_84c0_0000);
    // 76 MiB: 38 L1 tables, one L2, one L3.
    assert_eq!(layout.table_count, TableCount { l1: 38, l2: 1, l3: 1 });
    assert_eq!(
        layout.p2m,
        Frames {
            pfn: 0x4c00,
            count: 512
        }
    );
    assert_eq!(layout.p2m_table_count, TableCount { l1: 1, l2: 1, l3: 1 });
    assert_eq!(layout.initrd.pfn, 0x4c00 + 512 + 3);
}

#[test]
fn kernel_without_wishes() {
    let ask = Request {
        init_p2m: None,
        mod_start_pfn: false,
        ..LINUX
    };
    let layout = Layout::compute(&ask).unwrap();
    check(&ask, &layout);
    assert!(layout.initrd_mapped);
    assert_eq!(layout.p2m_va, layout.va(layout.p2m.pfn));
    assert_eq!(layout.p2m_tables.count, 0);
}

#[test]
fn refusals() {
    let of = |ask: Request| Layout::compute(&ask).unwrap_err();
    let small = of(Request {
        nr_pages: 1 << 12,
        ..LINUX
    });
    assert!(small.to_string().starts_with("too little memory for Dom0"), "{small}");
    let big = of(Request {
        initrd_len: 2 << 30,
        ..LINUX
    });
    assert!(
        big.to_string().starts_with("the initrd does not fit: it has 2048 MiB"),
        "{big}"
    );
    // Kernel and initrd fit, but not with what comes between.
    assert!(matches!(
        of(Request {
            nr_pages: 0x4d00,
            ..LINUX
        }),
        LayoutError::TooSmall { .. }
    ));
    for va in [
        0xffff_8000_0000_0000,
        0x8000_0000_0000,
        0x80_0000_0001,
        0xffff_ffff_0000_0000,
        u64::MAX - 4095,
    ] {
        assert_eq!(
            of(Request {
                init_p2m: Some(va),
                ..LINUX
            }),
            LayoutError::BadInitP2m,
            "{va:x}"
        );
    }
    for base in [
        0xffff_8000_0000_0000,
        0xffff_87ff_ff00_0000,
        0x7fff_ffc0_0000,
        0x8000_0000_0000,
        u64::MAX << 22,
        0x1000,
    ] {
        let ask = Request {
            virt_base: base,
            kernel_end: base.saturating_add(0x40_0000),
            ..LINUX
        };
        assert_eq!(of(ask), LayoutError::BadVirtBase, "{base:x}");
    }
    assert_eq!(of(Request { kernel_end: 0, ..LINUX }), LayoutError::BadVirtBase);
}

fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        any::<u64>().prop_map(|v| v & !0x3f_ffff),
        Just(0),
        (0u64..512).prop_map(|slot| ((slot << 55) as i64 >> 16) as u64),
        Just(LINUX.virt_base)
    ]
}

proptest! {
    #[test]
    fn holds_for_any_request(
        virt_base in address(), size in prop_oneof![0u64..1 << 32, any::<u64>()],
        init_p2m in prop::option::of(address()), mod_start_pfn: bool,
        initrd_len in prop_oneof![Just(0), 0u64..1 << 32, any::<u64>()],
        nr_pages in prop_oneof![0u64..1 << 22, any::<u64>()],
    ) {
        let kernel_end = virt_base.wrapping_add(size);
        let ask = Request { virt_base, kernel_end, init_p2m, mod_start_pfn, initrd_len, nr_pages };
        if let Ok(layout) = Layout::compute(&ask) {
            check(&ask, &layout);
        }
    }
}
