use super::{image, records};
use crate::handshake::Message;
use crate::libxc::{self, Record};
use crate::{Error, PAGE_SIZE, PageKind, Source, libxl, xl};

#[test]
fn a_domain_is_read_as_it_was_written() {
    let bytes = image();
    let mut from = Source::new(&bytes[..]);
    let header = xl::read(&mut from).expect("xl's header");
    assert_eq!(header.config, b"{}");
    assert_eq!(header.info, (3, 0, 7));
    libxl::read_header(&mut from).expect("libxl's header");
    assert_eq!(libxl::read_record(&mut from).expect("a record"), libxl::Record::Libxc);
    let header = libxc::read_header(&mut from).expect("libxc's header");
    assert_eq!((header.version, header.xen), (3, (4, 17)));
    for record in records() {
        assert_eq!(libxc::read_record(&mut from).expect("a record"), record);
    }
    let Record::Pages(pages) = libxc::read_record(&mut from).expect("a record") else {
        panic!("memory is next");
    };
    let kinds: Vec<_> = pages.frames.iter().map(|(pfn, kind)| (*pfn, kind.level())).collect();
    assert_eq!(kinds, [(0, None), (1, None), (600, Some(4))]);
    assert!(pages.frames[2].1.is_pinned() && !pages.frames[1].1.has_data());
    let all: Vec<u8> = pages.pages().flatten().copied().collect();
    assert_eq!(all, (0..2 * PAGE_SIZE).map(|at| at as u8).collect::<Vec<_>>());
    assert_eq!(libxc::read_record(&mut from).expect("a record"), Record::End);
    assert_eq!(libxl::read_record(&mut from).expect("a record"), libxl::Record::End);
    assert_eq!(from.position(), bytes.len() as u64);
    assert!(matches!(libxl::read_record(&mut from), Err(Error::Ended(_))));
}

/// The start of a file that stock Xen 4.17's `xl save` wrote, its configuration shortened, as hexadecimal digits.
#[test]
fn what_stock_xen_wrote_is_what_is_written_here() {
    let mut stock =
        b"Xen saved domain, xl format\n \0 \r\x04\x03\x02\x01\x03\0\0\0\0\0\0\0\x07\0\0\0\x03\0\0\0{}\0".to_vec();
    stock.extend_from_slice(b"LibxlFmt\0\0\0\x02\0\0\0\0\x01\0\0\0\0\0\0\0");
    stock.extend_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xffXENF\0\0\0\x03\0\0\0\0\0\0\0\0");
    stock.extend_from_slice(b"\x01\0\0\0\x0c\0\0\0\x04\0\0\0\x11\0\0\0");
    stock.extend_from_slice(b"\x02\0\0\0\x08\0\0\0\x08\x04\0\0\0\0\0\0");
    assert_eq!(image()[..stock.len()], stock);
}

#[test]
fn kinds_of_pages_are_those_of_the_public_header() {
    for bits in 0..16 {
        let kind = PageKind::from_bits(bits);
        assert_eq!(kind.is_none(), matches!(bits, 5..=8), "{bits}");
        let Some(kind) = kind else { continue };
        assert_eq!(PageKind::from_info(u32::from(bits) << 28), Some(kind));
        assert_eq!(kind.has_data(), bits < 0xd, "{bits}");
        assert_eq!(kind.level(), matches!(bits, 1..=4 | 9..=12).then_some(bits & 7));
        assert_eq!(kind.is_pinned(), (9..=12).contains(&bits));
    }
}

#[test]
fn messages_are_heard_or_what_was_said_instead_is_told() {
    for message in [Message::Banner, Message::Ready, Message::Go, Message::Report] {
        let mut bytes = Vec::new();
        message.send(&mut bytes).expect("sent");
        bytes.push(7);
        let mut from = Source::new(&bytes[..]);
        message.expect(&mut from).expect("heard");
        assert_eq!(from.array::<1>().expect("what follows"), [7]);
    }
    let said = |text: &[u8]| {
        let error = Message::Banner
            .expect(&mut Source::new(text))
            .expect_err("not the banner");
        error.to_string()
    };
    assert!(said(b"sh: xlr: not found\n").contains("xlr: not found"));
    assert!(said(b"").contains("ends at byte 0"));
    assert!(said(b"xl migration").contains("\"xl migration\""));
}
