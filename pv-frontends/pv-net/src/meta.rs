//! What travels beside a frame: the state of its checksum, and whether it is one large segment still to be cut.

use core::num::NonZeroU16;

use xen_abi::{
    NETRXF_csum_blank, NETRXF_data_validated, NETTXF_csum_blank, NETTXF_data_validated, XEN_NETIF_GSO_TYPE_TCPV4,
    XEN_NETIF_GSO_TYPE_TCPV6,
};

/// What is known of the TCP or UDP checksum of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Checksum {
    /// It should be right, and nobody has looked.
    #[default]
    Unknown,
    /// It has been found right.
    Valid,
    /// The field holds the sum of the pseudo-header alone; the rest has never been added. The data has not been on a
    /// wire, so there is nothing to check.
    Blank,
}

/// Over which protocol the segments of a large frame travel (`XEN_NETIF_GSO_TYPE_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
}

impl GsoKind {
    /// From the number in an extra info.
    pub fn from_wire(number: u8) -> Option<Self> {
        match number {
            XEN_NETIF_GSO_TYPE_TCPV4 => Some(Self::TcpV4),
            XEN_NETIF_GSO_TYPE_TCPV6 => Some(Self::TcpV6),
            _ => None,
        }
    }

    /// The number in an extra info.
    pub fn to_wire(self) -> u8 {
        match self {
            Self::TcpV4 => XEN_NETIF_GSO_TYPE_TCPV4,
            Self::TcpV6 => XEN_NETIF_GSO_TYPE_TCPV6,
        }
    }
}

/// A frame that is one large TCP segment, to be cut into smaller ones where it leaves for a wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gso {
    /// The protocol.
    pub kind: GsoKind,
    /// Most bytes of payload in each piece: the connection's maximum segment size.
    pub size: NonZeroU16,
}

/// All that travels beside a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Meta {
    /// What is known of the checksum.
    pub checksum: Checksum,
    /// Set where the frame is larger than the link takes.
    pub gso: Option<Gso>,
}

impl Meta {
    /// From the flags of a packet's first transmit request.
    pub(crate) fn from_tx_flags(flags: u16) -> Self {
        Self::from_flags(flags & NETTXF_csum_blank != 0, flags & NETTXF_data_validated != 0)
    }

    /// From the flags of a packet's first receive response.
    pub(crate) fn from_rx_flags(flags: u16) -> Self {
        Self::from_flags(flags & NETRXF_csum_blank != 0, flags & NETRXF_data_validated != 0)
    }

    fn from_flags(blank: bool, validated: bool) -> Self {
        let checksum = match (blank, validated) {
            (true, _) => Checksum::Blank,
            (false, true) => Checksum::Valid,
            (false, false) => Checksum::Unknown,
        };
        Self { checksum, gso: None }
    }

    /// `NETTXF_*` for a packet's first request. Linux sets both bits for a blank sum, and so does this.
    pub(crate) fn tx_flags(self) -> u16 {
        match self.checksum {
            Checksum::Blank => NETTXF_csum_blank | NETTXF_data_validated,
            Checksum::Valid => NETTXF_data_validated,
            Checksum::Unknown => 0,
        }
    }

    /// `NETRXF_*` for a packet's first response.
    pub(crate) fn rx_flags(self) -> u16 {
        match self.checksum {
            Checksum::Blank => NETRXF_csum_blank | NETRXF_data_validated,
            Checksum::Valid => NETRXF_data_validated,
            Checksum::Unknown => 0,
        }
    }
}
