//! Network devices (`public/io/netif.h`): the slots of the transmit, receive and control rings.
//!
//! The header's rings hold unions of request and response: a transmit slot has 12 bytes, a receive slot 8, a control
//! slot 16. Extra infos take slots of either data ring.
#![allow(missing_docs)]
use crate::grant_table::grant_ref_t;

consts! { usize:
    /// Slots a packet may take in any backend, and that a frontend must be able to take.
    XEN_NETIF_NR_SLOTS_MIN = 18;
    /// Largest packet, in bytes: `netif_tx_request.size` counts the whole of it.
    XEN_NETIF_MAX_TX_SIZE = 0xffff;
}

consts! { u16:
    /// The checksum field holds the sum of the pseudo-header alone.
    NETTXF_csum_blank = 1 << 0;
    /// The data need not be checked.
    NETTXF_data_validated = 1 << 1;
    NETTXF_more_data = 1 << 2;
    NETTXF_extra_info = 1 << 3;
    NETRXF_data_validated = 1 << 0;
    NETRXF_csum_blank = 1 << 1;
    NETRXF_more_data = 1 << 2;
    NETRXF_extra_info = 1 << 3;
    NETRXF_gso_prefix = 1 << 4;
}

consts! { i16:
    NETIF_RSP_DROPPED = -2;
    NETIF_RSP_ERROR = -1;
    NETIF_RSP_OKAY = 0;
    /// What answers a slot that was an extra info.
    NETIF_RSP_NULL = 1;
}

consts! { u8:
    XEN_NETIF_EXTRA_TYPE_NONE = 0;
    XEN_NETIF_EXTRA_TYPE_GSO = 1;
    XEN_NETIF_EXTRA_TYPE_MCAST_ADD = 2;
    XEN_NETIF_EXTRA_TYPE_MCAST_DEL = 3;
    XEN_NETIF_EXTRA_TYPE_HASH = 4;
    XEN_NETIF_EXTRA_TYPE_MAX = 5;
    XEN_NETIF_EXTRA_FLAG_MORE = 1 << 0;
    XEN_NETIF_GSO_TYPE_NONE = 0;
    XEN_NETIF_GSO_TYPE_TCPV4 = 1;
    XEN_NETIF_GSO_TYPE_TCPV6 = 2;
}

consts! { u16:
    XEN_NETIF_CTRL_TYPE_INVALID = 0;
    XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS = 1;
    XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS = 2;
    XEN_NETIF_CTRL_TYPE_SET_HASH_KEY = 3;
    XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE = 4;
    XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE = 5;
    XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING = 6;
    XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM = 7;
    XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE = 8;
    XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING = 9;
    XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING = 10;
}

consts! { u32:
    XEN_NETIF_CTRL_STATUS_SUCCESS = 0;
    XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED = 1;
    XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER = 2;
    XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW = 3;
    XEN_NETIF_CTRL_HASH_ALGORITHM_NONE = 0;
    XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ = 1;
}

structs! {
    /// A piece of a packet to send. In a packet's first piece, `size` counts the whole packet.
    struct netif_tx_request {
        gref: grant_ref_t,
        offset: u16,
        /// `NETTXF_*`.
        flags: u16,
        id: u16,
        size: u16,
    }

    struct netif_tx_response {
        id: u16,
        /// `NETIF_RSP_*`.
        status: i16,
    }

    /// A page to receive into.
    struct netif_rx_request {
        id: u16,
        pad: u16,
        gref: grant_ref_t,
    }

    struct netif_rx_response {
        id: u16,
        offset: u16,
        /// `NETRXF_*`.
        flags: u16,
        /// Bytes of this piece, or `NETIF_RSP_*` if negative.
        status: i16,
    }

    /// What a packet carries beside its data; the union `u` as bytes.
    struct netif_extra_info {
        /// `XEN_NETIF_EXTRA_TYPE_*`.
        r#type: u8,
        /// `XEN_NETIF_EXTRA_FLAG_*`.
        flags: u8,
        /// `gso`: size (16 bits), type, pad, features (16 bits); `mcast`: the address; `hash`: type, algorithm, value.
        u: [u8; 6],
    }

    struct xen_netif_ctrl_request {
        id: u16,
        /// `XEN_NETIF_CTRL_TYPE_*`.
        r#type: u16,
        data: [u32; 3],
    }

    struct xen_netif_ctrl_response {
        id: u16,
        r#type: u16,
        /// `XEN_NETIF_CTRL_STATUS_*`.
        status: u32,
        data: u32,
    }

    struct xen_netif_gref {
        r#ref: grant_ref_t,
        flags: u16,
        status: u16,
    }
}
