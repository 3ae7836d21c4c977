//! Extra infos: slots in the midst of a packet that say more about it (`struct netif_extra_info`).

use core::num::NonZeroU16;

use xen_abi::{
    XEN_NETIF_EXTRA_FLAG_MORE, XEN_NETIF_EXTRA_TYPE_GSO, XEN_NETIF_EXTRA_TYPE_HASH, XEN_NETIF_EXTRA_TYPE_MAX,
    XEN_NETIF_EXTRA_TYPE_MCAST_ADD, XEN_NETIF_EXTRA_TYPE_MCAST_DEL, XEN_NETIF_EXTRA_TYPE_NONE, netif_extra_info,
};

use crate::meta::{Gso, GsoKind};

/// Why a packet's extra infos cannot be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadExtra {
    /// A type that the header does not know.
    Type(u8),
    /// Two of one type, or more than there are types.
    Repeated(u8),
    /// Segments of no bytes.
    GsoSize,
    /// Segments of an unknown protocol.
    GsoKind(u8),
    /// The ring ended before the last one.
    Missing,
}

/// A change to the list of multicast addresses that a frontend wants to hear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Multicast {
    /// Hear this one.
    Add([u8; 6]),
    /// No longer.
    Remove([u8; 6]),
}

/// The extra infos of one packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extras {
    /// The packet is one large segment.
    pub gso: Option<Gso>,
    /// The packet is none: it carries a change to the multicast list.
    pub multicast: Option<Multicast>,
    /// A hash over addresses, as the sender has computed it.
    pub hash: Option<u32>,
    /// Slots they took.
    pub slots: usize,
    seen: u8,
}

impl Extras {
    /// Takes slots from `next` until one says that it was the last.
    ///
    /// # Errors
    /// Anything the header does not allow. `self.slots` counts what was taken by then.
    pub(crate) fn read(&mut self, mut next: impl FnMut() -> Option<netif_extra_info>) -> Result<(), BadExtra> {
        loop {
            let info = next().ok_or(BadExtra::Missing)?;
            self.slots += 1;
            self.add(&info)?;
            if info.flags & XEN_NETIF_EXTRA_FLAG_MORE == 0 {
                return Ok(());
            }
        }
    }

    fn add(&mut self, info: &netif_extra_info) -> Result<(), BadExtra> {
        if info.r#type == XEN_NETIF_EXTRA_TYPE_NONE || info.r#type >= XEN_NETIF_EXTRA_TYPE_MAX {
            return Err(BadExtra::Type(info.r#type));
        }
        let bit = 1 << info.r#type;
        if self.seen & bit != 0 {
            return Err(BadExtra::Repeated(info.r#type));
        }
        self.seen |= bit;
        let [b0, b1, b2, b3, b4, b5] = info.u;
        match info.r#type {
            XEN_NETIF_EXTRA_TYPE_GSO => {
                let size = NonZeroU16::new(u16::from_le_bytes([b0, b1])).ok_or(BadExtra::GsoSize)?;
                let kind = GsoKind::from_wire(b2).ok_or(BadExtra::GsoKind(b2))?;
                self.gso = Some(Gso { kind, size });
            }
            XEN_NETIF_EXTRA_TYPE_MCAST_ADD => self.multicast = Some(Multicast::Add(info.u)),
            XEN_NETIF_EXTRA_TYPE_MCAST_DEL => self.multicast = Some(Multicast::Remove(info.u)),
            XEN_NETIF_EXTRA_TYPE_HASH => self.hash = Some(u32::from_le_bytes([b2, b3, b4, b5])),
            other => return Err(BadExtra::Type(other)),
        }
        Ok(())
    }
}

/// The slot that says that a packet is a large segment. It is the only extra info that this crate sends with data.
pub(crate) fn gso_info(gso: Gso) -> netif_extra_info {
    let [low, high] = gso.size.get().to_le_bytes();
    netif_extra_info {
        r#type: XEN_NETIF_EXTRA_TYPE_GSO,
        flags: 0,
        u: [low, high, gso.kind.to_wire(), 0, 0, 0],
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn read(infos: &[netif_extra_info]) -> (Extras, Result<(), BadExtra>) {
        let (mut extras, mut rest) = (Extras::default(), infos.iter().copied());
        let result = extras.read(|| rest.next());
        (extras, result)
    }

    fn info(kind: u8, more: bool, u: [u8; 6]) -> netif_extra_info {
        netif_extra_info {
            r#type: kind,
            flags: u8::from(more),
            u,
        }
    }

    #[test]
    fn a_segment_size_is_read_as_it_was_written() {
        let gso = Gso {
            kind: GsoKind::TcpV6,
            size: NonZeroU16::new(1448).unwrap(),
        };
        let (extras, result) = read(&[gso_info(gso), info(9, false, [0; 6])]);
        assert_eq!((result, extras.gso, extras.slots), (Ok(()), Some(gso), 1));
    }

    #[test]
    fn infos_follow_each_other_as_long_as_they_say_more() {
        let (extras, result) = read(&[
            info(XEN_NETIF_EXTRA_TYPE_HASH, true, [3, 1, 1, 2, 3, 4]),
            info(XEN_NETIF_EXTRA_TYPE_MCAST_DEL, false, [1, 0, 0x5e, 0, 0, 1]),
        ]);
        assert_eq!((result, extras.slots, extras.hash), (Ok(()), 2, Some(0x0403_0201)));
        assert_eq!(extras.multicast, Some(Multicast::Remove([1, 0, 0x5e, 0, 0, 1])));
    }

    #[test]
    fn what_the_header_does_not_know_is_refused() {
        let bad = [
            (vec![info(0, false, [0; 6])], BadExtra::Type(0)),
            (vec![info(5, false, [0; 6])], BadExtra::Type(5)),
            (vec![info(1, false, [0, 0, 1, 0, 0, 0])], BadExtra::GsoSize),
            (vec![info(1, false, [1, 0, 3, 0, 0, 0])], BadExtra::GsoKind(3)),
            (vec![info(4, true, [0; 6])], BadExtra::Missing),
            (vec![], BadExtra::Missing),
            (vec![info(4, true, [0; 6]); 300], BadExtra::Repeated(4)),
        ];
        for (infos, why) in bad {
            let (extras, result) = read(&infos);
            assert_eq!(result, Err(why));
            assert!(extras.slots <= 2, "{} slots taken", extras.slots);
        }
    }
}
