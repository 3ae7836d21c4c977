//! The codec under arbitrary input: what is written is read back, and no input is misread or panics.

use proptest::prelude::*;
use xenstore_proto::{
    Access, Error, Header, Kind, PAYLOAD_MAX, Permission, append_message, fields, parse_number, path, perm, ring,
    split_message, split_value,
};

fn component() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_@-]{1,12}"
}

proptest! {
    #[test]
    fn messages_come_back(kind: u32, request: u32, transaction: u32, payload in prop::collection::vec(any::<u8>(), 0..=PAYLOAD_MAX)) {
        let mut bytes = Vec::new();
        append_message(&mut bytes, Kind(kind), request, transaction, &payload);
        let (header, body) = split_message(&bytes).unwrap().unwrap();
        prop_assert_eq!(header, Header { kind: Kind(kind), request, transaction, length: payload.len() as u32 });
        prop_assert_eq!(body, &payload[..]);
        for end in [0, 1, 15, bytes.len() - 1] {
            prop_assert_eq!(split_message(&bytes[..end]), Ok(None));
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused(length in PAYLOAD_MAX as u32 + 1..) {
        let header = Header { kind: Kind::READ, request: 1, transaction: 0, length };
        prop_assert!(split_message(&header.encode()).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = split_message(&bytes);
        let count = fields(&bytes).count();
        prop_assert_eq!(count, bytes.iter().filter(|&&byte| byte == 0).count());
        if let Some((head, tail)) = split_value(&bytes) {
            prop_assert_eq!([head, &[0], tail].concat(), bytes.clone());
        }
        let _ = (parse_number(&bytes), perm::parse_list(&bytes), Error::from_payload(&bytes));
        if path::is_valid(&bytes, true) {
            let above = path::parent(&bytes);
            prop_assert!(above.is_none_or(|above| path::is_valid(above, true)));
        }
    }

    #[test]
    fn access_lists_come_back(list in prop::collection::vec((any::<u16>(), 0usize..4), 1..10)) {
        let letters = [Access::None, Access::Read, Access::Write, Access::Both];
        let list: Vec<_> = list.into_iter().map(|(domain, at)| Permission::new(domain, letters[at])).collect();
        let mut bytes = Vec::new();
        perm::append_list(&mut bytes, &list);
        prop_assert_eq!(perm::parse_list(&bytes), Ok(list));
    }

    #[test]
    fn paths_are_taken_apart_and_put_together(parts in prop::collection::vec(component(), 1..8)) {
        let whole = format!("/{}", parts.join("/"));
        let whole = whole.as_bytes();
        prop_assert!(path::is_valid(whole, false));
        prop_assert!(path::components(whole).eq(parts.iter().map(String::as_bytes)));
        prop_assert_eq!(path::leaf(whole), parts[parts.len() - 1].as_bytes());
        let above = path::parent(whole).unwrap();
        prop_assert!(path::is_within(whole, above) && !path::is_within(above, whole));
        prop_assert!(path::is_within(whole, b"/") && path::is_within(whole, whole));
        let longer = [whole, b"x"].concat();
        prop_assert!(!path::is_within(&longer, whole), "a longer name is not below a shorter one");
    }

    #[test]
    fn ring_indexes_wrap(consumer: u32, length in 0u32..=ring::SIZE) {
        let producer = consumer.wrapping_add(length);
        prop_assert_eq!(ring::used(consumer, producer), Ok(length));
        prop_assert_eq!(ring::free(consumer, producer), Ok(ring::SIZE - length));
        let [(start, first), (again, second)] = ring::stretches(consumer, length);
        prop_assert_eq!(first + second, length as usize);
        prop_assert!(start + first <= ring::SIZE as usize && again + second <= ring::SIZE as usize);
        prop_assert_eq!(start, (consumer % ring::SIZE) as usize);
    }

    #[test]
    fn ring_indexes_that_lie_are_found(consumer: u32, length in ring::SIZE + 1..) {
        prop_assert!(ring::used(consumer, consumer.wrapping_add(length)).is_err());
    }
}

#[test]
fn malformed_paths_are_refused() {
    for bad in ["", "a", "//", "/a/", "/a//b", "/a b", "/a.b", "/é", "@", "@x/"] {
        assert!(!path::is_valid(bad.as_bytes(), false), "{bad}");
    }
    assert!(path::is_valid(b"/", false) && path::is_valid(b"@introduceDomain", true));
    let long = [b"/".to_vec(), vec![b'p'; xenstore_proto::ABSOLUTE_PATH_MAX]].concat();
    assert!(path::is_valid(&long[..xenstore_proto::ABSOLUTE_PATH_MAX], false) && !path::is_valid(&long, false));
}

#[test]
fn a_domains_own_directory_does_not_count_for_a_paths_length() {
    let name = [vec![b'p'; 2048]].concat();
    assert!(path::is_short_enough(
        &[b"/local/domain/12345/", &name[..]].concat(),
        2048
    ));
    assert!(!path::is_short_enough(
        &[b"/local/domain/123456/", &name[..]].concat(),
        2048
    ));
    assert!(!path::is_short_enough(&[b"/local/domain//", &name[..]].concat(), 2048));
    assert!(!path::is_short_enough(&[b"/", &name[..]].concat(), 2048));
}

#[test]
fn errors_travel_by_name() {
    for &error in Error::ALL {
        assert_eq!(Error::from_payload(format!("{}\0", error.name()).as_bytes()), error);
    }
    assert_eq!(Error::from_payload(b"EWHATEVER\0"), Error::EINVAL);
    assert_eq!(Error::EAGAIN.number(), 11);
}
