//! The same requests to this daemon and to Debian's C xenstored: the same answers, the same events.
//!
//! Needs the C daemon: `XENSTORED_PEER` names the directory that Debian's packages xen-utils-4.17, libxenmisc4.17,
//! libxenevtchn1, libxengnttab1 and what they need are unpacked in. Without it the test says so and passes; with it, it
//! runs anywhere, since both daemons get a hypervisor that is made of files.

mod rig;

use rig::process::{Client, Machine, Message, peer, peer_command};
use xenstore_proto::Kind;

/// A small generator of numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    fn path(&mut self) -> String {
        let start = self.pick(&[
            "/local/domain/1",
            "/local/domain/2",
            "/local/domain/1",
            "/shared",
            "/tool",
            "",
            "rel",
        ]);
        let mut path = start.to_owned();
        for _ in 0..self.below(3) {
            path.push('/');
            path.push_str(self.pick(&["a", "b", "c", "data"]));
        }
        match self.below(40) {
            0 => path.push('/'),
            1 => path.push_str("//x"),
            2 => path.push_str(" y"),
            3 => path.push_str(&"/long".repeat(500)),
            4 => path = "@introduceDomain".into(),
            5 => path = "/".into(),
            _ => {}
        }
        if path.is_empty() { "/shared".into() } else { path }
    }

    /// A request that only looks.
    fn look(&mut self) -> (Kind, Vec<u8>) {
        let path = self.path();
        match self.below(8) {
            0..=3 => (Kind::READ, format!("{path}\0").into_bytes()),
            4 | 5 => (Kind::DIRECTORY, format!("{path}\0").into_bytes()),
            6 => (
                Kind::DIRECTORY_PART,
                format!("{path}\0{}\0", self.below(20)).into_bytes(),
            ),
            _ => (Kind::GET_PERMS, format!("{path}\0").into_bytes()),
        }
    }

    /// A request that changes nodes.
    fn change(&mut self) -> (Kind, Vec<u8>) {
        let path = self.path();
        match self.below(8) {
            0..=3 => (
                Kind::WRITE,
                format!("{path}\0{}", self.pick(&["", "x", "value", "another value"])).into_bytes(),
            ),
            4 => (Kind::MKDIR, format!("{path}\0").into_bytes()),
            5 | 6 => (Kind::RM, format!("{path}\0").into_bytes()),
            _ => {
                let owner = self.pick(&["n0", "r0", "b0", "n1", "b1", "r2", "n2"]);
                let other = self.pick(&["", "\0r1", "\0b2", "\0r1\0w2", "\0n2", "\0r1\0r2\0r1\0r2\0r1"]);
                // The C daemon removes the root when the domain that it was given to ends.
                let path = if path == "/" { "/shared" } else { &path };
                (Kind::SET_PERMS, format!("{path}\0{owner}{other}\0").into_bytes())
            }
        }
    }

    /// A request that has nothing to do with transactions.
    fn other(&mut self) -> (Kind, Vec<u8>) {
        let path = self.path();
        match self.below(4) {
            0 | 1 => (
                Kind::WATCH,
                format!("{path}\0{}\0", self.pick(&["t", "u"])).into_bytes(),
            ),
            2 => (
                Kind::UNWATCH,
                format!("{path}\0{}\0", self.pick(&["t", "u"])).into_bytes(),
            ),
            _ => {
                let kinds = [
                    Kind::GET_DOMAIN_PATH,
                    Kind::IS_DOMAIN_INTRODUCED,
                    Kind::RESUME,
                    Kind(20),
                    Kind(77),
                ];
                (
                    kinds[self.below(kinds.len())],
                    format!("{}\0", self.below(4)).into_bytes(),
                )
            }
        }
    }
}

/// One daemon with its four clients: two processes, two domains.
struct Side {
    clients: Vec<Client>,
    machine: Machine,
    _daemon: rig::process::Daemon,
}

impl Side {
    fn new(c_daemon: Option<&std::path::Path>) -> Side {
        let machine = Machine::new();
        let daemon = match c_daemon {
            Some(peer) => machine.start_command(peer_command(peer, &machine)),
            None => machine.start(),
        };
        let mut clients = vec![machine.connect(), machine.connect()];
        for domain in [1u16, 2] {
            machine.make_domain(domain);
            let tools = &mut clients[0];
            let answer = tools.call(Kind::INTRODUCE, 0, format!("{domain}\x001\x005\0").as_bytes());
            assert_eq!(answer.kind, Kind::INTRODUCE, "{answer:?}");
            tools.call(Kind::WRITE, 0, format!("/local/domain/{domain}\0").as_bytes());
            tools.call(
                Kind::SET_PERMS,
                0,
                format!("/local/domain/{domain}\0n{domain}\0").as_bytes(),
            );
            clients.push(machine.ring(domain, 5));
        }
        clients[0].call(Kind::WRITE, 0, b"/shared\0");
        clients[0].call(Kind::SET_PERMS, 0, b"/shared\0b0\0");
        Side {
            clients,
            machine,
            _daemon: daemon,
        }
    }

    /// Carries out a request; gives its answer, and the events that each client got by it.
    fn step(&mut self, who: usize, kind: Kind, transaction: u32, payload: &[u8]) -> (Message, Vec<Vec<Vec<u8>>>) {
        let mut all = self.clients[who].exchange(kind, transaction, payload);
        let answer = all.pop().unwrap();
        let mut events = vec![Vec::new(); self.clients.len()];
        events[who].extend(all.into_iter().map(|message| message.payload));
        for (client, events) in self.clients.iter_mut().zip(&mut events) {
            let mut all = client.exchange(Kind::GET_DOMAIN_PATH, 0, b"0\0");
            all.pop();
            events.extend(all.into_iter().map(|message| message.payload));
        }
        (answer, events)
    }
}

/// The answer as far as it must be the same: not the number of a generation.
fn comparable(mut answer: Message) -> Message {
    if answer.kind == Kind::DIRECTORY_PART {
        let end = answer.payload.iter().position(|&byte| byte == 0).unwrap();
        answer.payload.drain(..end);
    }
    answer.request = 0;
    answer
}

/// Both daemons, what they were asked, and the transaction that runs.
struct Duel {
    ours: Side,
    theirs: Side,
    seed: u64,
    history: Vec<String>,
    running: Option<(usize, u32)>,
    /// What the running transaction has looked at and found.
    found: Vec<Vec<u8>>,
}

impl Duel {
    fn ask(&mut self, who: usize, transaction: u32, (kind, payload): (Kind, Vec<u8>)) -> Message {
        self.history.push(format!(
            "{who} {kind:?} {transaction} {:?}",
            String::from_utf8_lossy(&payload)
        ));
        let (answer, events) = self.ours.step(who, kind, transaction, &payload);
        let (expected, expected_events) = self.theirs.step(who, kind, transaction, &payload);
        let context = || format!("seed {}:\n{}", self.seed, self.history.join("\n"));
        // Which error a domain gets for a special name is of no use to anybody.
        let both_refuse = [&answer, &expected].iter().all(|message| message.kind == Kind::ERROR);
        if !(both_refuse && payload.starts_with(b"@")) {
            assert_eq!(comparable(answer.clone()), comparable(expected), "{}", context());
        }
        if kind == Kind::TRANSACTION_END {
            // The C daemon also tells of parents whose list of children changed, and tells of each node once.
            for (ours, theirs) in events.iter().zip(&expected_events) {
                assert!(
                    ours.iter().all(|event| theirs.contains(event)),
                    "{ours:?}\n{theirs:?}\n{}",
                    context()
                );
            }
        } else {
            assert_eq!(events, expected_events, "{}", context());
        }
        answer
    }

    /// One more request. While a transaction runs, others only look: the C daemon shows it changes of others at what it
    /// has not yet looked at, this one does not. A change by another at what it has looked at makes both fail it.
    fn step(&mut self, dice: &mut Dice) {
        let who = dice.below(self.ours.clients.len());
        let Some((owner, id)) = self.running else {
            let request = match dice.below(12) {
                0 => (Kind::TRANSACTION_START, b"\0".to_vec()),
                1 => (Kind::TRANSACTION_END, b"T\0".to_vec()),
                2 | 3 => dice.other(),
                4..=7 => dice.look(),
                _ => dice.change(),
            };
            let start = request.0 == Kind::TRANSACTION_START;
            let answer = self.ask(who, 0, request);
            if start && answer.kind == Kind::TRANSACTION_START {
                self.running = Some((who, xenstore_proto::parse_number(&answer.payload) as u32));
                self.found.clear();
            }
            return;
        };
        match dice.below(20) {
            0..=9 => {
                let request = if dice.below(2) == 0 { dice.look() } else { dice.change() };
                let path = request.1.clone();
                let looks = request.0 == Kind::READ;
                let answer = self.ask(owner, id, request);
                if looks && answer.kind == Kind::READ && path.starts_with(b"/") {
                    self.found.push(path);
                }
            }
            10..=15 => {
                let request = if dice.below(4) == 0 { dice.other() } else { dice.look() };
                self.ask(who, 0, request);
            }
            16 if !self.found.is_empty() => {
                let mut path = self.found[dice.below(self.found.len())].clone();
                path.extend_from_slice(b"changed");
                self.ask(0, 0, (Kind::WRITE, path));
                self.end(owner, id, b"T\0");
            }
            _ => {
                let word: &[u8] = if dice.below(3) == 0 { b"F\0" } else { b"T\0" };
                self.end(owner, id, word);
            }
        }
    }

    fn end(&mut self, owner: usize, id: u32, word: &[u8]) {
        self.ask(owner, id, (Kind::TRANSACTION_END, word.to_vec()));
        self.running = None;
    }
}

fn compare(seed: u64, steps: usize, peer: &std::path::Path) {
    let (ours, theirs) = (Side::new(None), Side::new(Some(peer)));
    let mut duel = Duel {
        ours,
        theirs,
        seed,
        history: Vec::new(),
        running: None,
        found: Vec::new(),
    };
    let mut dice = Dice(seed | 1);
    for _ in 0..steps {
        duel.step(&mut dice);
    }
    let Duel {
        mut ours, mut theirs, ..
    } = duel;
    for domain in [1, 2] {
        ours.machine.end_domain(domain);
        theirs.machine.end_domain(domain);
        for side in [&mut ours, &mut theirs] {
            let text = format!("{domain}\0");
            while side.clients[0]
                .call(Kind::IS_DOMAIN_INTRODUCED, 0, text.as_bytes())
                .payload
                == b"T\0"
            {}
        }
    }
    for path in ["/", "/shared", "/shared/a", "/local/domain", "/tool"] {
        let [ours, theirs] = [&mut ours, &mut theirs]
            .map(|side| side.clients[0].call(Kind::DIRECTORY, 0, format!("{path}\0").as_bytes()));
        assert_eq!(comparable(ours), comparable(theirs), "after the domains' end: {path}");
    }
}

#[test]
fn answers_and_events_are_those_of_the_c_daemon() {
    let Some(peer) = peer() else {
        println!("XENSTORED_PEER is not set: not compared with the C daemon");
        return;
    };
    let long = std::env::var("XENSTORED_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let start = std::time::Instant::now();
    for seed in 1.. {
        compare(seed * 7919, 400, &peer);
        let over = long.map_or(seed >= 4, |seconds: u64| start.elapsed().as_secs() >= seconds);
        if over {
            break;
        }
    }
}
