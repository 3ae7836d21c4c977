//! Configurations as people write them, broken in every way that a random generator thinks of: nothing panics, nothing
//! takes long, and what is wrong is said with a line that exists.
//!
//! A run is the same each time. `XL_CONFIG_FUZZ_ROUNDS=1000000` makes it a long one; a failure prints the input.

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use xl_config::{DomainConfig, Severity, interpret, parse, parse_pair};

const SEEDS: &[&str] = &[
    "name = 'demo'\nkernel = \"/boot/vmlinuz\"\nramdisk='/boot/initrd.img'\nmemory = 256\nvcpus=2\nextra = \"console=hvc0 quiet\"\n\
     disk = [ 'phy:/dev/vg/demo,xvda,w', 'format=raw, vdev=xvdb, access=ro, target=/srv/a b.img' ]\n\
     vif = [ 'bridge=xenbr0,mac=00:16:3e:11:22:33,ip=10.0.0.2,rate=10Mb/s' ]\n",
    "# comment\nname=\"x\" # another\nkernel='/k'\nmaxmem=0x200\nmemory=0100\nmaxvcpus=4\nvcpus=1\ncpus=\"0-3,^1\"\n\
     cpus_soft=['0','1']\ncpu_weight=512\ncap=50\non_poweroff=\"destroy\"\non_reboot='restart'\non_crash=\"preserve\"\n",
    "uuid=\"85b0c0da-2995-44f6-82f5-66a287169965\"\nname='y'; kernel='/k'\ndisk=[\n 'file:/x,hda,r', # first\n \
     'qcow2:/y,xvdc,w',\n]\ndisk += [ '/z,raw,xvdd,rw' ]\nroot='/dev/xvda1 ro'\nextra='a \\'quoted\\' word'\n",
    "name='z'\nkernel='/k'\ntype=\"pv\"\nvif=['']\nmax_grant_frames=64\nmax_maptrack_frames=0\nevent_channels=127\n\
     tsc_mode='native'\nrtc_timeoffset=-3600\nmsr_relaxed=1\nlocaltime=0\ndriver_domain=1\n",
];

/// Pieces that a parser of this syntax trips over, if over anything.
const PIECES: &[&str] = &[
    "'",
    "\"",
    "[",
    "]",
    ",",
    "=",
    "+=",
    "#",
    "\n",
    "\r\n",
    ";",
    "\\",
    "\\x41",
    "\\777",
    "\\",
    "0x",
    "-1",
    "08",
    "9223372036854775808",
    "-9223372036854775808",
    "99999999999999999999999",
    "\0",
    "\u{feff}",
    "é",
    "[[",
    "]]",
    "()",
    "'''",
    "\"\"\"",
    "disk",
    "vif",
    "memory",
    "cpus=\"",
    "0-",
    "^",
    "all",
    "nodes:0",
    "0-4294967295",
    "rate=",
    "Mb/s",
    "1e9GB/s@1us",
    "@",
    "mac=",
    "00:16:3e",
    "script=",
    "target=",
    "format=qcow2",
    "access=",
    "vdev=",
    "xvdaa",
    "sda1",
    "d0p0",
    "d16383p15",
    "hdc:cdrom",
    "on_crash=",
    "coredump-restart",
    "tap:aio:",
    "phy:",
    ",,",
    "name = 'a'\n",
];

/// Marsaglia's xorshift: the same numbers on each machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// A place between two characters.
fn boundary(text: &str, random: &mut Random) -> usize {
    let mut at = random.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn mutate(text: &mut String, random: &mut Random) {
    let (a, b) = (boundary(text, random), boundary(text, random));
    let range = a.min(b)..a.max(b);
    match random.below(6) {
        0 => text.insert_str(a, random.pick(PIECES)),
        1 => text.replace_range(range, ""),
        2 => {
            let copy = text[range].to_owned();
            text.insert_str(a, &copy);
        }
        3 => text.replace_range(range, random.pick(PIECES)),
        4 => {
            let seed = random.pick(SEEDS);
            let (c, d) = (boundary(seed, random), boundary(seed, random));
            text.insert_str(a, &seed[c.min(d)..c.max(d)]);
        }
        _ => {
            let byte = char::from(random.below(128) as u8);
            text.insert(a, byte);
        }
    }
    // Doubling again and again would test the machine's memory.
    while text.len() > 20_000 {
        text.pop();
    }
}

/// What holds for every text.
fn check(text: &str) {
    let lines = text.split('\n').count() as u32 + 1;
    let (document, mut problems) = parse("fuzz.cfg", text);
    let syntax_is_good = problems.is_empty();
    let (config, meaning) = interpret(&document);
    problems.extend(meaning);
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    assert!(config.is_some() || refused, "no domain and no error");
    for problem in &problems {
        assert!(
            problem.place.line <= lines,
            "line {} of {lines}: {problem}",
            problem.place.line
        );
        assert_eq!(&*problem.place.source, "fuzz.cfg");
        assert!(!problem.message.is_empty());
        assert!(
            !problem.to_string().contains(['\0', '\x1b']),
            "control bytes reach a terminal: {problem:?}"
        );
    }
    if let (true, Some(config)) = (syntax_is_good, config) {
        // What is written down for the next life is what is read back.
        let json = serde_json::to_string(&config).expect("serializes");
        let back: DomainConfig = serde_json::from_str(&json).expect("parses what it has written");
        assert_eq!(back, config);
        assert!(config.vcpus <= config.max_vcpus && config.memory_kib <= config.max_memory_kib);
    }
}

#[test]
fn broken_configurations_are_refused_in_good_order() {
    let rounds = std::env::var("XL_CONFIG_FUZZ_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(4000);
    let mut random = Random(0x5eed_0fac_0f1a);
    for round in 0..rounds {
        let mut text = random.pick(SEEDS).to_owned();
        for _ in 0..=random.below(8) {
            mutate(&mut text, &mut random);
        }
        let start = Instant::now();
        let input = text.clone();
        if catch_unwind(move || check(&input)).is_err() {
            panic!(
                "round {round}: this input breaks it:\n{text}\n--- as bytes: {:?}",
                text.as_bytes()
            );
        }
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "round {round} took {:?}:\n{text}",
            start.elapsed()
        );
        let _ = parse_pair(&text);
    }
}

#[test]
fn unbroken_configurations_make_domains() {
    for seed in SEEDS {
        let (document, problems) = parse("seed.cfg", seed);
        assert!(problems.is_empty(), "{problems:?}\n{seed}");
        let (config, problems) = interpret(&document);
        assert!(config.is_some(), "{problems:?}\n{seed}");
    }
}

#[test]
fn deep_and_long_inputs_end() {
    for text in [
        format!("a={}", "[".repeat(100_000)),
        format!("a={}1{}", "[".repeat(5000), "]".repeat(5000)),
        format!("disk=[{}]", "'phy:/x,xvda,w',".repeat(10_000)),
        "a=1\n".repeat(50_000),
        format!("a='{}'", "\\".repeat(100_001)),
        format!("cpus='{}'", "0-4294967295,".repeat(2000)),
        format!("x{}=1", "y".repeat(100_000)),
    ] {
        let start = Instant::now();
        let (document, _) = parse("deep.cfg", &text);
        let _ = interpret(&document);
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{:?} for {}…",
            start.elapsed(),
            &text[..40]
        );
    }
}
