use super::*;
use proptest::prelude::*;
use std::io::Write;
use std::process::{Command, Stdio};
use std::string::ToString;
use std::vec;
use std::vec::Vec;

/// Something that packs well, with parts that do not.
fn sample() -> Vec<u8> {
    let mut state = 1u32;
    let noise = (0..50_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let text = (0..200_000u32).flat_map(|i| (i / 7).to_le_bytes());
    noise.chain(text).collect()
}

/// Packs by a command of the system, if it has it.
fn pack(command: &[&str], data: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(command[0]);
    child
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = child.spawn().ok()?;
    let mut input = child.stdin.take()?;
    let data = data.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&data));
    let output = child.wait_with_output().ok()?;
    writer.join().ok()?.ok()?;
    output.status.success().then_some(output.stdout)
}

/// As Linux's build packs its payloads.
const COMMANDS: [(Packing, &[&str]); 4] = [
    (Packing::Gzip, &["gzip", "-n", "-9"]),
    (Packing::Xz, &["xz", "--check=crc32", "--x86", "--lzma2=dict=32MiB"]),
    (Packing::Zstd, &["zstd", "-19", "--ultra", "--stdout"]),
    (Packing::Lz4, &["lz4", "-l", "-9", "--stdout"]),
];

#[test]
fn round_trips() {
    let data = sample();
    for (packing, command) in COMMANDS {
        let Some(packed) = pack(command, &data) else {
            std::println!("no {} here: {packing:?} is not tested", command[0]);
            continue;
        };
        let mut out = vec![0; data.len()];
        assert_eq!(unpack(packing, &packed, &mut out), Ok(()), "{packing:?}");
        assert!(out == data, "{packing:?}");
        // One byte too few and one too many in the trailer.
        assert!(
            unpack(packing, &packed, &mut vec![0; data.len() - 1]).is_err(),
            "{packing:?}"
        );
        assert!(
            unpack(packing, &packed, &mut vec![0; data.len() + 1]).is_err(),
            "{packing:?}"
        );
        for cut in [0, 3, 20, packed.len() / 2, packed.len() - 1] {
            assert!(
                unpack(packing, &packed[..cut], &mut out).is_err(),
                "{packing:?} cut at {cut}"
            );
        }
    }
}

#[test]
fn plain() {
    let mut out = [0; 3];
    assert_eq!(unpack(Packing::Plain, b"abc", &mut out), Ok(()));
    assert_eq!(&out, b"abc");
    assert!(
        unpack(Packing::Plain, b"abcd", &mut out)
            .unwrap_err()
            .to_string()
            .contains("another length")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn damage_is_no_panic(at in 0usize..2000, value: u8, tail in prop::collection::vec(any::<u8>(), 0..200)) {
        static PACKED: std::sync::OnceLock<Vec<(Packing, Vec<u8>)>> = std::sync::OnceLock::new();
        let data = vec![b'x'; 3000];
        let packed = PACKED.get_or_init(|| {
            COMMANDS.iter().filter_map(|(packing, command)| Some((*packing, pack(command, &data)?))).collect()
        });
        let mut out = vec![0; data.len()];
        for (packing, bytes) in packed {
            let mut bytes = bytes.clone();
            let len = bytes.len();
            bytes[at % len] = value;
            let _ = unpack(*packing, &bytes, &mut out);
            let keep = (at % len).min(16);
            bytes.truncate(keep);
            bytes.extend(&tail);
            let _ = unpack(*packing, &bytes, &mut out);
        }
    }
}
