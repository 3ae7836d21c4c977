use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// A bzImage with two setup sectors and `payload` 16 bytes into the protected-mode part.
fn image(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 3 * 512 + 16];
    bytes[0x1f1] = 2;
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    bytes[0x248..0x24c].copy_from_slice(&16u32.to_le_bytes());
    bytes[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend(payload);
    bytes
}

#[test]
fn kinds() {
    for (magic, packing) in MAGICS {
        let data = [magic, b"....", &77u32.to_le_bytes()].concat();
        let bytes = image(&data);
        let payload = payload(&bytes).unwrap();
        assert_eq!(payload.packing, packing);
        match packing {
            Packing::Plain => assert_eq!((payload.data, payload.unpacked_len), (&data[..], data.len())),
            Packing::Gzip => assert_eq!((payload.data, payload.unpacked_len), (&data[..], 77)),
            _ => assert_eq!((payload.data, payload.unpacked_len), (&data[..data.len() - 4], 77)),
        }
    }
}

#[test]
fn refusals() {
    let good = image(b"\x1f\x8b......");
    assert_eq!(payload(&good[..good.len() - 1]), Err(BzImageError::Truncated));
    assert_eq!(payload(&good[..0x20a]), Err(BzImageError::Truncated));
    assert_eq!(payload(b"MZ"), Err(BzImageError::NotBzImage));
    assert_eq!(
        payload(&image(b"BZh9....")),
        Err(BzImageError::UnknownPacking(*b"BZh9"))
    );
    assert_eq!(payload(&image(b"\x1f")), Err(BzImageError::Truncated));
    let mut old = good;
    old[0x206] = 7;
    assert_eq!(payload(&old), Err(BzImageError::TooOld(0x207)));
}

proptest! {
    #[test]
    fn any_bytes_are_safe(tail in prop::collection::vec(any::<u8>(), 0..2000), at in 0usize..4000, value: u8) {
        let _ = payload(&tail);
        let mut bytes = image(&tail);
        let len = bytes.len();
        bytes[at % len] = value;
        let _ = payload(&bytes);
        bytes.truncate(at);
        let _ = payload(&bytes);
    }
}
