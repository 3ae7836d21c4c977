//! Checksums and segmentation, against sums that are added byte by byte.

use std::num::NonZeroU16;

use proptest::prelude::*;
use pv_net::checksum::{blank, complete, is_right};
use pv_net::{Gso, GsoKind, segment};

/// The one's complement sum, as slow as the definition.
fn slow_sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .fold(0, |sum, word| {
            let sum = sum + word;
            (sum & 0xffff) + (sum >> 16)
        })
}

fn fold(sum: u32) -> u16 {
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[derive(Clone, Debug)]
struct Packet {
    is_v6: bool,
    is_tcp: bool,
    is_tagged: bool,
    payload: Vec<u8>,
}

impl Packet {
    fn ip(&self) -> usize {
        if self.is_tagged { 18 } else { 14 }
    }

    fn body(&self) -> usize {
        self.ip() + if self.is_v6 { 40 } else { 20 }
    }

    fn field(&self) -> usize {
        self.body() + if self.is_tcp { 16 } else { 6 }
    }

    fn frame(&self) -> Vec<u8> {
        let mut frame = vec![2; 12];
        if self.is_tagged {
            frame.extend([0x81, 0, 0, 5]);
        }
        frame.extend(if self.is_v6 { [0x86, 0xdd] } else { [8, 0] });
        let header = if self.is_tcp { 20 } else { 8 };
        let len = (header + self.payload.len()) as u16;
        let protocol = if self.is_tcp { 6 } else { 17 };
        if self.is_v6 {
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend((0..32u8).map(|byte| byte.wrapping_mul(37)));
        } else {
            frame.extend([0x45, 0]);
            frame.extend((20 + len).to_be_bytes());
            frame.extend([0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 192, 168, 7, 9]);
        }
        if self.is_tcp {
            frame.extend([
                0x12, 0x34, 0, 80, 0, 0, 3, 0xe8, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0,
            ]);
        } else {
            frame.extend([0x12, 0x34, 0, 53]);
            frame.extend(len.to_be_bytes());
            frame.extend([0, 0]);
        }
        frame.extend(&self.payload);
        frame
    }

    /// The sum of the pseudo-header.
    fn pseudo(&self, frame: &[u8]) -> u32 {
        let ip = self.ip();
        let addresses = if self.is_v6 {
            &frame[ip + 8..ip + 40]
        } else {
            &frame[ip + 12..ip + 20]
        };
        let len = (frame.len() - self.body()) as u32;
        slow_sum(addresses) + len + if self.is_tcp { 6 } else { 17 }
    }
}

fn packets() -> impl Strategy<Value = Packet> {
    (any::<[bool; 3]>(), prop::collection::vec(any::<u8>(), 0..1500)).prop_map(
        |([is_v6, is_tcp, is_tagged], payload)| Packet {
            is_v6,
            is_tcp,
            is_tagged,
            payload,
        },
    )
}

proptest! {
    #[test]
    fn a_completed_sum_is_the_right_one(packet in packets()) {
        let mut frame = packet.frame();
        prop_assert!(complete(&mut frame));
        let total = fold(packet.pseudo(&frame) + slow_sum(&frame[packet.body()..]));
        prop_assert_eq!(fold(total.into()), 0xffff);
        prop_assert!(is_right(&frame));
        prop_assert_ne!(&frame[packet.field()..packet.field() + 2], &[0, 0][..]);
        // Frames carry padding behind the packet.
        frame.extend([0xaa; 7]);
        prop_assert!(is_right(&frame));
    }

    #[test]
    fn one_bit_makes_a_sum_wrong(packet in packets(), at: prop::sample::Index, bit in 0u8..8) {
        let mut frame = packet.frame();
        complete(&mut frame);
        let at = packet.body() + at.index(frame.len() - packet.body());
        frame[at] ^= 1 << bit;
        // A length or header size that has changed makes another packet, or none; a UDP sum of 0 says that there is none.
        let is_sum_of_none = !packet.is_tcp && !packet.is_v6 && frame[packet.field()..packet.field() + 2] == [0, 0];
        prop_assume!(!is_sum_of_none);
        prop_assert!(!is_right(&frame));
    }

    #[test]
    fn a_blank_sum_is_that_of_the_pseudo_header_and_completes(packet in packets()) {
        let mut frame = packet.frame();
        prop_assert!(blank(&mut frame));
        let field = packet.field();
        prop_assert_eq!(u16::from_be_bytes([frame[field], frame[field + 1]]), fold(packet.pseudo(&frame)));
        // What a device does: the sum over the body, field included, inverted.
        let value = !fold(slow_sum(&frame[packet.body()..]));
        let mut completed = frame.clone();
        complete(&mut completed);
        let value = if value == 0 && !packet.is_tcp { 0xffff } else { value };
        prop_assert_eq!(u16::from_be_bytes([completed[field], completed[field + 1]]), value);
    }

    #[test]
    fn no_bytes_make_them_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0usize..4, size in 1u16..) {
        // Near enough to a packet to get further than the type.
        if bytes.len() > 40 {
            let (ethertype, version) = [([8, 0], 0x45), ([0x86, 0xdd], 0x60), ([0x81, 0], 0x45), ([8, 0], 0x4f)][kind];
            bytes[12..14].copy_from_slice(&ethertype);
            bytes[14] = version;
            bytes[23] = 6;
            bytes[20] &= 0x1f;
        }
        is_right(&bytes);
        let mut copy = bytes.clone();
        complete(&mut copy);
        blank(&mut copy);
        for kind in [GsoKind::TcpV4, GsoKind::TcpV6] {
            let gso = Gso { kind, size: NonZeroU16::new(size).unwrap() };
            let mut pieces = 0;
            let _ = segment::cut(&bytes, gso, &mut Vec::new(), |_| {
                pieces += 1;
                true
            });
            prop_assert!(pieces <= 1 + bytes.len() / usize::from(segment::LEAST));
        }
    }

    #[test]
    fn segments_are_right_and_put_together_again(packet in packets(), size in segment::LEAST..1600) {
        prop_assume!(packet.is_tcp);
        let (frame, mut payload, mut count) = (packet.frame(), Vec::new(), 0);
        let gso = Gso { kind: GsoKind::TcpV4, size: NonZeroU16::new(size).unwrap() };
        let headers = packet.body() + 20;
        let result = segment::cut(&frame, gso, &mut Vec::new(), |piece| {
            assert!(is_right(piece));
            assert!(piece.len() <= headers + usize::from(size));
            let at = packet.body() + 4;
            let sequence = u32::from_be_bytes(piece[at..at + 4].try_into().unwrap());
            assert_eq!(sequence, 1000 + payload.len() as u32);
            payload.extend_from_slice(&piece[headers..]);
            count += 1;
            true
        });
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(&payload, &packet.payload);
        prop_assert_eq!(count, packet.payload.len().div_ceil(size.into()).max(1));
    }
}

#[test]
fn fragments_and_other_protocols_have_no_sum_to_check() {
    let packet = Packet {
        is_v6: false,
        is_tcp: true,
        is_tagged: false,
        payload: vec![1; 100],
    };
    for (at, value) in [(20, 0x20), (21, 1), (23, 1), (12, 9)] {
        let mut frame = packet.frame();
        frame[at] = value;
        assert!(is_right(&frame), "byte {at}");
        assert!(!complete(&mut frame), "byte {at}");
        assert!(!blank(&mut frame), "byte {at}");
    }
}

#[test]
fn nobody_has_a_frame_cut_into_dust() {
    let packet = Packet {
        is_v6: false,
        is_tcp: true,
        is_tagged: false,
        payload: vec![1; 60000],
    };
    let gso = |size| Gso {
        kind: GsoKind::TcpV4,
        size: NonZeroU16::new(size).unwrap(),
    };
    let mut count = 0;
    let mut cut = |size, most| {
        count = 0;
        let result = segment::cut(&packet.frame(), gso(size), &mut Vec::new(), |_| {
            count += 1;
            count < most
        });
        (result, count)
    };
    for size in [1, segment::LEAST - 1] {
        assert_eq!(cut(size, usize::MAX), (Err(segment::Uncuttable::TooSmall), 0));
    }
    assert_eq!(
        cut(segment::LEAST, usize::MAX),
        (Ok(()), 60000 / usize::from(segment::LEAST))
    );
    assert_eq!(cut(1448, 3), (Ok(()), 3), "no more than are wanted");
}
