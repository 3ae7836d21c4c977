use super::*;
use proptest::prelude::*;
use std::vec::Vec;

fn range(start: u64, end: u64, kind: Kind) -> Range {
    Range { start, end, kind }
}

#[test]
fn sorts_merges_and_resolves() {
    let map = Map::sanitise([
        range(0x10_0000, 0x50_0000, Kind::RAM),
        range(0, 0x9_fc00, Kind::RAM),
        range(0x20_0000, 0x30_0000, Kind::RESERVED),
        range(0x50_0000, 0x60_0000, Kind::RAM),
        range(0x28_0000, 0x38_0000, Kind::ACPI),
        range(0x70_0000, 0x70_0000, Kind::RAM),
        range(9, 3, Kind::RAM),
    ]);
    assert_eq!(
        map.ranges(),
        [
            range(0, 0x9_fc00, Kind::RAM),
            range(0x10_0000, 0x20_0000, Kind::RAM),
            range(0x20_0000, 0x30_0000, Kind::RESERVED),
            range(0x30_0000, 0x38_0000, Kind::ACPI),
            range(0x38_0000, 0x60_0000, Kind::RAM),
        ]
    );
    assert_eq!(map.ram_end(), 0x60_0000);
    assert!(map.covers(0x38_0000, 0x60_0000, Kind::RAM) && !map.covers(0x2f_0000, 0x31_0000, Kind::RESERVED));
}

#[test]
fn denied_ranges_are_reserved() {
    let map = Map::sanitise([range(0, 0x1000, Kind::RAM)]);
    let seen = map.with_reserved([(0xfee0_0000, 0xfee0_1000), (0xfec0_0000, 0xfec0_1000)]);
    assert_eq!(seen.ranges()[1], range(0xfec0_0000, 0xfec0_1000, Kind::RESERVED));
    assert_eq!(seen.ranges()[2], range(0xfee0_0000, 0xfee0_1000, Kind::RESERVED));
}

#[test]
fn too_many_ranges() {
    let map = Map::sanitise((0..MAX_RANGES as u64 + 5).map(|i| range(i * 2, i * 2 + 1, Kind::RAM)));
    assert!(map.overflowed);
    assert_eq!(map.ranges().len(), MAX_RANGES);
}

fn any_range() -> impl Strategy<Value = Range> {
    let end = prop_oneof![0u64..64, Just(u64::MAX), Just(u64::MAX - 1)];
    (0u64..64, end, 0u32..8).prop_map(|(start, end, kind)| range(start, end, Kind(kind)))
}

proptest! {
    /// Byte by byte, the kind is the most careful of those that claim it.
    #[test]
    fn against_a_simple_model(input in prop::collection::vec(any_range(), 0..12)) {
        let map = Map::sanitise(input.iter().copied());
        for pair in map.ranges().windows(2) {
            prop_assert!(pair[0].end <= pair[1].start);
            prop_assert!(pair[0].end < pair[1].start || pair[0].kind != pair[1].kind);
        }
        for at in 0..70 {
            let claims: Vec<Kind> = input.iter().filter(|r| r.start <= at && at < r.end).map(|r| r.kind).collect();
            let found = map.ranges().iter().find(|r| r.start <= at && at < r.end).map(|r| r.kind);
            let best = claims.iter().map(|k| k.weight()).max();
            prop_assert_eq!(found.map(Kind::weight), best);
        }
    }
}
