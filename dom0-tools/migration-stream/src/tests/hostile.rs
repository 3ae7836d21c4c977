use std::io::Read;

use proptest::prelude::*;

use super::image;
use crate::libxc::{self, Record};
use crate::{Error, Source, libxl, xl};

/// Reads all that can be read; how it ended.
fn read_all(from: &mut Source<impl Read>) -> Result<(), Error> {
    xl::read(from)?;
    libxl::read_header(from)?;
    loop {
        match libxl::read_record(from)? {
            libxl::Record::End => return Ok(()),
            libxl::Record::Libxc => {
                libxc::read_header(from)?;
                while libxc::read_record(from)? != Record::End {}
            }
            _ => {}
        }
    }
}

#[test]
fn the_image_itself_is_good() {
    assert!(read_all(&mut Source::new(&image()[..])).is_ok());
}

#[test]
fn a_stream_may_end_anywhere() {
    let whole = image();
    for len in (0..whole.len()).step_by(7) {
        let error = read_all(&mut Source::new(&whole[..len])).expect_err("it is short");
        assert!(matches!(error, Error::Ended(_)), "{len}: {error}");
    }
}

/// The libxc part of the image, and where its records begin in it.
fn records() -> Vec<u8> {
    let whole = image();
    let start = whole.windows(4).position(|bytes| bytes == b"XENF").expect("a header") + 32;
    whole[start..].to_vec()
}

fn first_error(bytes: &[u8]) -> String {
    let mut from = Source::new(bytes);
    loop {
        match libxc::read_record(&mut from) {
            Ok(Record::End) => panic!("nothing was refused"),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
    }
}

#[test]
fn wrong_records_are_refused_with_their_place() {
    let record = |kind: u32, body: &[u8]| {
        let mut bytes = [kind.to_le_bytes(), (body.len() as u32).to_le_bytes()].concat();
        bytes.extend_from_slice(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    let long = [1u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
    let many = [u32::MAX.to_le_bytes(), [0; 4]].concat();
    let kind = [1u64.to_le_bytes(), (7u64 << 60).to_le_bytes()].concat();
    let backwards = [9u32.to_le_bytes(), 3u32.to_le_bytes()].concat();
    let endless = [0u32.to_le_bytes(), u32::MAX.to_le_bytes()].concat();
    for (bytes, said) in [
        (long, "8388608 are the most"),
        (record(1, &many), "speaks of 4294967295 pages"),
        (record(1, &[0; 8]), "speaks of 0 pages"),
        (record(1, &kind), "kind 0x7"),
        (
            record(1, &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            "in the place of 4112",
        ),
        (record(3, &backwards), "from 0x9 to 0x3"),
        (record(3, &endless), "X86_PV_P2M_FRAMES has 8 bytes"),
        (record(4, &[0; 8]), "without contents"),
        (record(6, &vec![0; 9 + (64 << 10)]), "65536 are the most"),
        (record(7, &[0; 8]), "SHARED_INFO has 8 bytes"),
        (record(9, &[0; 8]), "must not be passed over"),
        (record(0x11, &[0; 23]), "not a multiple of 24"),
        (record(0x10, &[0; 1]), "in the place of 0"),
    ] {
        let error = first_error(&bytes);
        assert!(error.contains(said) && error.contains("at byte 0"), "{error}");
    }
    let mut from = record(0x8000_0042, &[1; 5]);
    from.extend(record(0, &[]));
    let mut from = Source::new(&from[..]);
    assert_eq!(
        libxc::read_record(&mut from).expect("passed over"),
        Record::Unknown(0x8000_0042)
    );
    assert_eq!(libxc::read_record(&mut from).expect("the next"), Record::End);
}

proptest! {
    /// Whatever is changed: it is read, or refused, and no panic and no large memory comes of it.
    #[test]
    fn changed_bytes_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = image();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read_all(&mut Source::new(&bytes[..]));
    }

    #[test]
    fn changed_words_of_records_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..4)) {
        let mut bytes = records();
        for (at, word) in changes {
            let at = at.index(bytes.len() / 4) * 4;
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        let mut from = Source::new(&bytes[..]);
        while matches!(libxc::read_record(&mut from), Ok(record) if record != Record::End) {}
    }
}
