use super::*;
use alloc::vec;
use proptest::prelude::*;

/// A table with a right length and checksum.
fn build(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut t = vec![0; HEADER_LEN];
    t[..4].copy_from_slice(signature);
    t.extend_from_slice(body);
    let len = t.len() as u32;
    t[4..8].copy_from_slice(&len.to_le_bytes());
    t[9] = t.iter().fold(0u8, |s, b| s.wrapping_sub(*b));
    t
}

fn madt_body() -> Vec<u8> {
    let mut b = vec![0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
    b.extend([0, 8, 0, 0, 1, 0, 0, 0]); // CPU 0
    b.extend([0, 8, 1, 1, 1, 0, 0, 0]); // CPU 1
    b.extend([0, 8, 2, 2, 0, 0, 0, 0]); // not enabled
    b.extend([1, 12, 5, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
    b.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    b.extend([4, 6, 0xff, 0, 0, 1]);
    b.extend([9, 16, 0, 0, 0x2c, 1, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0]); // x2APIC 300
    b
}

#[test]
fn madt() {
    let t = build(b"APIC", &madt_body());
    let madt = Madt::parse(table(&t).unwrap()).unwrap();
    assert_eq!(madt.lapic_address, 0xfee0_0000);
    assert!(madt.has_pic);
    let ids: Vec<_> = madt.cpus.iter().map(|c| (c.apic_id, c.acpi_id)).collect();
    assert_eq!(ids, [(0, 0), (1, 1), (300, 7)]);
    assert_eq!(
        madt.ioapics,
        [IoApic {
            id: 5,
            address: 0xfec0_0000,
            gsi_base: 0
        }]
    );
    assert_eq!(
        madt.overrides,
        [Override {
            irq: 0,
            gsi: 2,
            flags: 0
        }]
    );
    assert_eq!(
        madt.nmis,
        [LocalNmi {
            acpi_id: u32::MAX,
            flags: 0,
            lint: 1
        }]
    );
}

#[test]
fn madt_with_a_zero_length_entry_ends() {
    let mut body = madt_body();
    body.extend([1, 0, 0, 0]);
    let madt = Madt::parse(&build(b"APIC", &body)).unwrap();
    assert_eq!(madt.ioapics.len(), 1);
}

#[test]
fn checksum_and_length_count() {
    let mut t = build(b"APIC", &madt_body());
    assert!(table(&t).is_some());
    assert!(table(&t[..t.len() - 1]).is_none());
    t[40] ^= 1;
    assert!(table(&t).is_none());
}

#[test]
fn root_pointer() {
    let mut area = vec![0u8; 256];
    let mut r = *b"RSD PTR \0BOCHS \0\0\0\x40\x12";
    r[8] = r.iter().fold(0u8, |s, b| s.wrapping_sub(*b));
    area[48..48 + 20].copy_from_slice(&r);
    assert_eq!(
        Rsdp::search(&area),
        Some((
            48,
            Rsdp {
                rsdt: 0x1240_0000,
                xsdt: None
            }
        ))
    );
    area[60] ^= 1;
    assert_eq!(Rsdp::search(&area), None);
}

#[test]
fn mcfg_and_hpet() {
    let mut body = vec![0; 8];
    body.extend([0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0]);
    let t = build(b"MCFG", &body);
    assert_eq!(
        parse_mcfg(&t),
        [EcamRange {
            base: 0xb000_0000,
            segment: 0,
            first_bus: 0,
            last_bus: 255
        }]
    );
    let t = build(
        b"HPET",
        &[1, 0x86, 0x80, 0x80, 0, 64, 0, 0, 0, 0, 0xd0, 0xfe, 0, 0, 0, 0],
    );
    assert_eq!(parse_hpet(&t), Some(0xfed0_0000));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Rsdp::search(&data);
        let _ = table(&data);
        let _ = Madt::parse(&data);
        let _ = Fadt::parse(&data);
        let _ = parse_hpet(&data);
        let _ = parse_mcfg(&data);
        let _ = root_entries(&data, true).count();
    }
}
