//! Which I/O ports Dom0 may touch.

use crate::rangeset::RangeSet;

/// Ports that Dom0 has no business at, with inclusive bounds: the hypervisor drives these devices itself, or a
/// write would take the machine away from it.
///
/// 0xCF8 and 0xCFC..=0xCFF are not here: they go through the hypervisor's configuration-space code.
const DENIED: [(u16, u16); 9] = [
    (0x20, 0x21),   // first interrupt controller
    (0x40, 0x43),   // interval timer
    (0x61, 0x61),   // its gate, and the speaker
    (0x92, 0x92),   // reset and A20
    (0xa0, 0xa1),   // second interrupt controller
    (0xf0, 0xf0),   // coprocessor error
    (0x4d0, 0x4d1), // trigger modes of the interrupt controllers
    (0xcf9, 0xcf9), // chipset reset
    (0xcfc, 0xcff), // configuration data: by emulation only
];

/// The ports that Dom0 may use directly. `pm_timer` is the power-management timer's port and width in bytes.
pub fn dom0_ports(pm_timer: Option<(u16, u8)>) -> RangeSet {
    let mut ports = RangeSet::new();
    ports.insert(0, 0xffff);
    for (first, last) in DENIED {
        ports.remove(first as u64, last as u64);
    }
    if let Some((port, width)) = pm_timer {
        ports.remove(port as u64, port as u64 + width.max(1) as u64 - 1);
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dom0_has_devices_but_not_the_chipset() {
        let ports = dom0_ports(Some((0x608, 4)));
        for port in [
            0x20, 0x21, 0x43, 0x61, 0x92, 0xa1, 0xf0, 0x4d1, 0xcf9, 0xcfc, 0xcff, 0x608, 0x60b,
        ] {
            assert!(!ports.contains(port), "{port:#x}");
        }
        for port in [0, 0x60, 0x64, 0x70, 0x71, 0x3f8, 0x604, 0x60c, 0xc000, 0xffff] {
            assert!(ports.contains(port), "{port:#x}");
        }
        assert!(dom0_ports(None).contains(0x608));
    }
}
