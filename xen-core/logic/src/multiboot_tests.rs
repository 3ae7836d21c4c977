use super::*;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

/// Memory that begins at address 0x1000.
struct Ram(Vec<u8>);

impl Memory for Ram {
    fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
        let at = addr.checked_sub(0x1000)? as usize;
        self.0.get(at..at.checked_add(len)?)
    }
}

#[derive(Default)]
struct Seen {
    cmdline: Vec<u8>,
    modules: Vec<(u64, u64, Vec<u8>)>,
    ranges: Vec<Range>,
    rsdp: usize,
}

impl Visitor<'_> for Seen {
    fn cmdline(&mut self, text: &[u8]) {
        self.cmdline = text.to_vec();
    }
    fn module(&mut self, start: u64, end: u64, cmdline: &[u8]) {
        self.modules.push((start, end, cmdline.to_vec()));
    }
    fn range(&mut self, range: Range) {
        self.ranges.push(range);
    }
    fn rsdp(&mut self, _: &[u8]) {
        self.rsdp += 1;
    }
    fn loader(&mut self, _: &[u8]) {}
}

fn put(ram: &mut [u8], at: usize, words: &[u32]) {
    for (i, w) in words.iter().enumerate() {
        ram[at + 4 * i..at + 4 * i + 4].copy_from_slice(&w.to_le_bytes());
    }
}

fn sample1() -> Ram {
    let mut ram = vec![0; 0x400];
    put(&mut ram, 0, &[1 << 2 | 1 << 3 | 1 << 6]);
    put(&mut ram, 16, &[0x1100, 1, 0x1140]);
    put(&mut ram, 44, &[48, 0x1180]);
    ram[0x100..0x10c].copy_from_slice(b"loglvl=all\0x");
    put(&mut ram, 0x140, &[0x20_0000, 0x30_0000, 0x1160, 0]);
    ram[0x160..0x168].copy_from_slice(b"dom0 arg");
    put(&mut ram, 0x180, &[20, 0, 0, 0x9_fc00, 0, 1]);
    put(&mut ram, 0x198, &[20, 0x10_0000, 0, 0x7ff0_0000, 0, 1]);
    Ram(ram)
}

#[test]
fn multiboot1() {
    let (ram, mut seen) = (sample1(), Seen::default());
    read(MAGIC1, 0x1000, &ram, &mut seen).unwrap();
    assert_eq!(seen.cmdline, b"loglvl=all");
    assert_eq!(seen.modules, [(0x20_0000, 0x30_0000, b"dom0 arg".to_vec())]);
    assert_eq!(
        seen.ranges[1],
        Range {
            start: 0x10_0000,
            end: 0x8000_0000,
            kind: Kind::RAM
        }
    );
}

#[test]
fn multiboot2() {
    let mut ram = vec![0; 0x100];
    put(&mut ram, 8, &[1, 8 + 5]);
    ram[16..21].copy_from_slice(b"com1\0");
    put(&mut ram, 24, &[6, 16 + 24, 24, 0, 0x10_0000, 0, 0x1000, 0, 1, 0]);
    put(&mut ram, 64, &[3, 8 + 8 + 2, 0x5000, 0x6000]);
    ram[80..82].copy_from_slice(b"k\0");
    put(&mut ram, 88, &[0, 8]);
    put(&mut ram, 0, &[96]);
    let (ram, mut seen) = (Ram(ram), Seen::default());
    read(MAGIC2, 0x1000, &ram, &mut seen).unwrap();
    assert_eq!(seen.cmdline, b"com1");
    assert_eq!(seen.modules, [(0x5000, 0x6000, b"k".to_vec())]);
    assert_eq!(
        seen.ranges,
        [Range {
            start: 0x10_0000,
            end: 0x10_1000,
            kind: Kind::RAM
        }]
    );
}

#[test]
fn refusals() {
    let ram = sample1();
    let seen = &mut Seen::default();
    assert_eq!(read(1, 0x1000, &ram, seen), Err(Error::Magic));
    assert_eq!(read(MAGIC1, 0x10, &ram, seen), Err(Error::Truncated));
    let mut ram = sample1();
    put(&mut ram.0, 0, &[0]);
    assert_eq!(read(MAGIC1, 0x1000, &ram, seen), Err(Error::NoMemoryMap));
    let mut ram = sample1();
    put(&mut ram.0, 20, &[0x1000_0000]);
    put(&mut ram.0, 0, &[1 << 6]);
    assert_eq!(
        read(MAGIC1, 0x1000, &ram, seen),
        Ok(()),
        "the count of modules counts only with its flag"
    );
    put(&mut ram.0, 0, &[1 << 3 | 1 << 6]);
    assert_eq!(read(MAGIC1, 0x1000, &ram, seen), Err(Error::Truncated));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(data in proptest::collection::vec(any::<u8>(), 0..600), two: bool) {
        let magic = if two { MAGIC2 } else { MAGIC1 };
        let _ = read(magic, 0x1000, &Ram(data), &mut Seen::default());
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0usize..0x200, value: u8) {
        let mut ram = sample1();
        ram.0[at] = value;
        let _ = read(MAGIC1, 0x1000, &ram, &mut Seen::default());
    }
}
