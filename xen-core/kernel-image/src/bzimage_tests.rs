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
        let bare = find_payload(&data).unwrap();
        assert_eq!((bare.packing, bare.data, bare.unpacked_len), (packing, &data[..], None));
        let file = image(&data);
        let payload = find_payload(&file).unwrap();
        let (packed, length) = match packing {
            Packing::Plain => (&data[..], None),
            Packing::Gzip => (&data[..], Some(77)),
            _ => (&data[..data.len() - 4], Some(77)),
        };
        assert_eq!(
            (payload.packing, payload.data, payload.unpacked_len),
            (packing, packed, length)
        );
    }
}

#[test]
fn refusals() {
    let good = image(b"\x1f\x8b......");
    assert_eq!(find_payload(&good[..good.len() - 1]), Err(BzImageError::Truncated));
    assert_eq!(find_payload(&good[..0x20a]), Err(BzImageError::Truncated));
    assert_eq!(find_payload(b"MZ"), Err(BzImageError::Unknown));
    assert_eq!(find_payload(b"text"), Err(BzImageError::Unknown));
    assert_eq!(find_payload(&image(b"BZh9....")), Err(BzImageError::Packing(*b"BZh9")));
    assert_eq!(find_payload(&image(b"\x1f")), Err(BzImageError::Truncated));
    let mut old = good;
    old[0x206] = 7;
    assert_eq!(find_payload(&old), Err(BzImageError::TooOld(0x207)));
}

proptest! {
    #[test]
    fn any_bytes_are_safe(tail in prop::collection::vec(any::<u8>(), 0..2000), at in 0usize..4000, value: u8) {
        let _ = find_payload(&tail);
        let mut bytes = image(&tail);
        let len = bytes.len();
        bytes[at % len] = value;
        let _ = find_payload(&bytes);
        bytes.truncate(at);
        let _ = find_payload(&bytes);
    }
}
