use super::*;
use proptest::prelude::*;

struct Space([u8; 256]);

impl ConfigRead for Space {
    fn read(&self, reg: u16, len: u8) -> u32 {
        assert_eq!(reg % len as u16, 0, "unaligned");
        (0..len as usize)
            .map(|i| (self.0[reg as usize + i] as u32) << (8 * i))
            .sum()
    }
}

impl Space {
    fn new() -> Self {
        Self([0; 256])
    }
    fn put(mut self, reg: usize, bytes: &[u8]) -> Self {
        self.0[reg..reg + bytes.len()].copy_from_slice(bytes);
        self
    }
}

/// A function with a vendor capability at 0x40, MSI (64 bits, maskable, 4 messages) at 0x50, MSI-X at 0x70.
fn both() -> Space {
    Space::new()
        .put(0x06, &[0x10, 0])
        .put(0x34, &[0x40])
        .put(0x40, &[0x09, 0x50])
        .put(0x50, &[0x05, 0x70, 0x84, 0x01])
        .put(0x70, &[0x11, 0x00, 0x03, 0x00, 0x04, 0x20, 0, 0, 0x04, 0x30, 0, 0])
        .put(0x20, &[0x0c, 0, 0, 0xfe, 0x12, 0, 0, 0])
}

#[test]
fn cf8_and_mmcfg_addresses() {
    let f = Sbdf::new(0, 3, 0x1a);
    assert_eq!(decode_cf8(encode_cf8(f, 0x5c), 0xcfe), Some((f, 0x5e)));
    assert_eq!(decode_cf8(encode_cf8(f, 0x5c) & !(1 << 31), 0xcfc), None);
    assert_eq!(decode_cf8(encode_cf8(f, 0x40) | 1 << 24, 0xcfc), Some((f, 0x140)));
    let window = Mmcfg {
        base: 0xb000_0000,
        seg: 0,
        first_bus: 2,
        last_bus: 4,
    };
    assert_eq!(window.bounds(), (0xb020_0000, 0xb04f_ffff));
    assert_eq!(window.address_of(f), Some(0xb031_a000));
    assert_eq!(window.decode(0xb031_a123), Some((f, 0x123)));
    assert_eq!(window.decode(0xb010_0000), None);
    assert_eq!(window.decode(0xb050_0000), None);
    assert_eq!(window.address_of(Sbdf::new(1, 3, 0)), None);
    assert_eq!(std::format!("{f}"), "0000:03:03.2");
}

#[test]
fn capabilities_are_found() {
    let space = both();
    let msi = MsiCap::find(&space).unwrap();
    assert_eq!(
        msi,
        MsiCap {
            pos: 0x50,
            is_64: true,
            maskable: true,
            messages: 4
        }
    );
    assert_eq!(
        (msi.data_reg(), msi.mask_reg(), msi.address_high_reg()),
        (0x5c, Some(0x60), Some(0x58))
    );
    let x = MsixCap::find(&space).unwrap();
    assert_eq!((x.pos, x.entries, x.table_bar, x.table_offset), (0x70, 4, 4, 0x2000));
    assert_eq!(
        (x.pba_bar, x.pba_offset, x.table_len(), x.pba_len()),
        (4, 0x3000, 64, 8)
    );
    assert_eq!(memory_bar(&space, 4), Some(0x12_fe00_0000));
    assert_eq!(memory_bar(&space, 0), None);
    assert_eq!(memory_bar(&space, 6), None);
}

#[test]
fn a_circular_list_ends() {
    let space = Space::new()
        .put(0x06, &[0x10, 0])
        .put(0x34, &[0x40])
        .put(0x40, &[0x09, 0x40]);
    assert_eq!(find_capability(&space, 0x05), None);
    let absent = Space([0xff; 256]);
    assert_eq!(find_capability(&absent, 0x05), None);
}

#[test]
fn io_and_bridge_bars_are_no_memory() {
    assert_eq!(memory_bar(&Space::new().put(0x10, &[0x01, 0xc0]), 0), None);
    assert_eq!(
        memory_bar(&Space::new().put(0x10, &[0, 0, 0, 0xfe]).put(0x0e, &[1]), 0),
        None
    );
    assert_eq!(
        memory_bar(&Space::new().put(0x10, &[0, 0, 0, 0xfe]).put(0x0e, &[0x80]), 0),
        Some(0xfe00_0000)
    );
    assert_eq!(memory_bar(&Space::new().put(0x24, &[4, 0, 0, 0xfe]), 5), None);
}

#[test]
fn only_the_switches_of_message_interrupts_pass() {
    let space = both();
    let (msi, msix) = (MsiCap::find(&space), MsixCap::find(&space));
    let write = |reg, len, value| filter_write(&space, msi.as_ref(), msix.as_ref(), reg, len, value);
    // Enable passes, the number of messages does not.
    assert_eq!(write(0x52, 2, 0x71), Some(0x185));
    assert_eq!(write(0x50, 4, 0xffff_ffff), Some(0x0185_7005));
    assert_eq!(write(0x54, 4, 0xfee0_0000), None);
    assert_eq!(write(0x58, 4, 1), None);
    assert_eq!(write(0x5c, 2, 0xfc), None);
    assert_eq!(write(0x60, 4, 0), None);
    assert_eq!(write(0x72, 2, 0xc000), Some(0xc003));
    assert_eq!(write(0x73, 1, 0x80), Some(0x80));
    assert_eq!(write(0x72, 1, 0xff), None);
    // Everything else is the domain's.
    assert_eq!(write(0x04, 2, 0x1_0006), Some(6));
    assert_eq!(write(0x20, 4, 0xffff_ffff), Some(0xffff_ffff));
    assert_eq!(filter_write(&space, None, None, 0x54, 4, 7), Some(7));
}

proptest! {
    #[test]
    fn no_walk_fails(bytes in proptest::collection::vec(any::<u8>(), 256)) {
        let space = Space(bytes.try_into().unwrap());
        let (msi, msix) = (MsiCap::find(&space), MsixCap::find(&space));
        for reg in (0..252).step_by(4) {
            filter_write(&space, msi.as_ref(), msix.as_ref(), reg, 4, 0x5555_5555);
        }
        for bar in 0..8 {
            memory_bar(&space, bar);
        }
    }

    #[test]
    fn decoding_is_total(latch: u32, port in 0xcfcu16..0xd00, base: u64, address: u64) {
        if let Some((_, reg)) = decode_cf8(latch, port) {
            prop_assert!(reg < 4096);
        }
        let window = Mmcfg { base, seg: 0, first_bus: 0, last_bus: 255 };
        if let Some((f, reg)) = window.decode(address) {
            prop_assert_eq!(window.address_of(f).unwrap() + reg as u64, address);
        }
    }
}
