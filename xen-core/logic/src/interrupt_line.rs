//! How an interrupt line is told to the hardware: IO-APIC redirection entries and MSI messages.

/// When a line counts as asserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// On a change.
    Edge,
    /// As long as it holds its level.
    Level,
}

/// Which level counts as asserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Polarity {
    /// High.
    High,
    /// Low.
    Low,
}

/// What an IO-APIC pin is set to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Vector delivered.
    pub vector: u8,
    /// Local APIC that gets it (physical destination).
    pub apic_id: u8,
    /// Edge or level.
    pub trigger: Trigger,
    /// High or low.
    pub polarity: Polarity,
    /// Kept from interrupting.
    pub masked: bool,
}

/// Bit of a redirection entry that keeps the pin from interrupting.
pub const RTE_MASKED: u32 = 1 << 16;

impl Route {
    /// The redirection entry's two words, low first: fixed delivery to a physical destination.
    pub fn encode(self) -> [u32; 2] {
        let low = self.vector as u32
            | if self.polarity == Polarity::Low { 1 << 13 } else { 0 }
            | if self.trigger == Trigger::Level { 1 << 15 } else { 0 }
            | if self.masked { RTE_MASKED } else { 0 };
        [low, (self.apic_id as u32) << 24]
    }
}

/// The settings of a pin before anybody says otherwise: ISA lines are edge and high, PCI lines level and low.
pub fn default_mode(gsi: u32) -> (Trigger, Polarity) {
    if gsi < 16 {
        (Trigger::Edge, Polarity::High)
    } else {
        (Trigger::Level, Polarity::Low)
    }
}

/// Applies the flags of an ACPI interrupt source override (MPS INTI flags) to an ISA line.
///
/// Field values: 0 as the bus has it, 1 high or edge, 3 low or level.
pub fn override_mode(flags: u16) -> (Trigger, Polarity) {
    let polarity = if flags & 3 == 3 { Polarity::Low } else { Polarity::High };
    let trigger = if flags >> 2 & 3 == 3 {
        Trigger::Level
    } else {
        Trigger::Edge
    };
    (trigger, polarity)
}

/// What a device writes to signal an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsiMessage {
    /// Where to: the local APICs' window.
    pub address: u64,
    /// What: the vector, edge, fixed delivery.
    pub data: u32,
}

/// First address of the window that local APICs take messages in.
pub const MSI_WINDOW: u64 = 0xfee0_0000;
/// Last address of that window.
pub const MSI_WINDOW_LAST: u64 = 0xfeef_ffff;

impl MsiMessage {
    /// The message that raises `vector` at the local APIC `apic_id` (physical destination).
    pub fn new(vector: u8, apic_id: u8) -> Self {
        Self {
            address: MSI_WINDOW | (apic_id as u64) << 12,
            data: vector as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirection_entries() {
        let route = Route {
            vector: 0x31,
            apic_id: 2,
            trigger: Trigger::Edge,
            polarity: Polarity::High,
            masked: false,
        };
        assert_eq!(route.encode(), [0x31, 0x0200_0000]);
        let pci = Route {
            trigger: Trigger::Level,
            polarity: Polarity::Low,
            masked: true,
            ..route
        };
        assert_eq!(pci.encode(), [0x1_a031, 0x0200_0000]);
    }

    #[test]
    fn override_flags() {
        // QEMU's overrides: IRQ 0 "as the bus has it", 5, 9, 10 and 11 high and level.
        assert_eq!(override_mode(0), (Trigger::Edge, Polarity::High));
        assert_eq!(override_mode(0xd), (Trigger::Level, Polarity::High));
        assert_eq!(override_mode(0xf), (Trigger::Level, Polarity::Low));
        assert_eq!(override_mode(0x5), (Trigger::Edge, Polarity::High));
        assert_eq!(default_mode(8), (Trigger::Edge, Polarity::High));
        assert_eq!(default_mode(16), (Trigger::Level, Polarity::Low));
    }

    #[test]
    fn messages() {
        assert_eq!(
            MsiMessage::new(0x41, 3),
            MsiMessage {
                address: 0xfee0_3000,
                data: 0x41
            }
        );
        assert!(MsiMessage::new(0xff, 0xff).address <= MSI_WINDOW_LAST);
    }
}
