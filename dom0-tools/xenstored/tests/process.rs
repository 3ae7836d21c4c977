//! The daemon as a process: rings and sockets, sudden ends, updates in place, clients that do not read.

mod rig;

use rig::process::{Client, Machine, Message};
use xenstore_client::Store;
use xenstore_proto::{Kind, ring};

fn introduce(machine: &Machine, tools: &mut Client, domain: u16) -> Client {
    machine.make_domain(domain);
    let answer = tools.call(Kind::INTRODUCE, 0, format!("{domain}\x001\x005\0").as_bytes());
    assert_eq!(answer.kind, Kind::INTRODUCE, "{answer:?}");
    tools.call(Kind::WRITE, 0, format!("/local/domain/{domain}\0").as_bytes());
    tools.call(
        Kind::SET_PERMS,
        0,
        format!("/local/domain/{domain}\0b{domain}\0").as_bytes(),
    );
    machine.ring(domain, 5)
}

fn value(answer: Message) -> String {
    String::from_utf8(answer.payload).unwrap()
}

/// The paths of events, up to an answer to a request made now.
fn events(client: &mut Client) -> Vec<String> {
    let all = client.exchange(Kind::GET_DOMAIN_PATH, 0, b"0\0");
    let events = all.into_iter().filter(|message| message.kind == Kind::WATCH_EVENT);
    events
        .map(|message| value(message).split('\0').next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_domain_speaks_over_its_ring() {
    let machine = Machine::new();
    let _daemon = machine.start();
    let mut tools = machine.connect();
    tools.call(Kind::WATCH, 0, b"@introduceDomain\0i\0");
    tools.call(Kind::WATCH, 0, b"@releaseDomain\0r\0");
    events(&mut tools);
    let mut guest = introduce(&machine, &mut tools, 1);
    // Longer than the ring, both ways.
    let long = "v".repeat(1500);
    assert_eq!(
        guest.call(Kind::WRITE, 0, format!("data\0{long}").as_bytes()).kind,
        Kind::WRITE
    );
    assert_eq!(value(guest.call(Kind::READ, 0, b"/local/domain/1/data\0")), long);
    let state = machine.ring(1, 5);
    drop(state);
    machine.set_state(1, "s");
    machine.set_state(1, "s");
    assert_eq!(value(tools.call(Kind::IS_DOMAIN_INTRODUCED, 0, b"1\0")), "T\0");
    machine.end_domain(1);
    while value(tools.call(Kind::IS_DOMAIN_INTRODUCED, 0, b"1\0")) == "T\0" {}
    assert_eq!(tools.call(Kind::READ, 0, b"/local/domain/1\0").kind, Kind::ERROR);
}

#[test]
fn a_broken_ring_says_why_and_can_begin_anew() {
    let machine = Machine::new();
    let _daemon = machine.start();
    let mut tools = machine.connect();
    let mut guest = introduce(&machine, &mut tools, 1);
    guest.call(Kind::WATCH, 0, b"/tool\0t\0");
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(machine.path("ring.1"))
        .unwrap();
    let page = privcmd::Mapping::of_file(&file, 0, 4096, true).unwrap();
    let load = |offset| page.load_u32(offset, std::sync::atomic::Ordering::Acquire);
    assert_eq!(
        load(ring::SERVER_FEATURES),
        ring::FEATURE_RECONNECTION | ring::FEATURE_ERROR
    );
    page.store_u32(
        ring::REQUEST_PRODUCER,
        load(ring::REQUEST_CONSUMER).wrapping_add(5000),
        std::sync::atomic::Ordering::Release,
    );
    machine.send_event(65536 + 5);
    while load(ring::ERROR) == 0 {}
    assert_eq!(load(ring::ERROR), ring::Fault::Index as u32);
    page.store_u32(ring::CONNECTION, ring::RECONNECT, std::sync::atomic::Ordering::Release);
    machine.send_event(65536 + 5);
    while load(ring::CONNECTION) != ring::CONNECTED {}
    let mut guest = machine.ring(1, 5);
    assert_eq!(value(guest.call(Kind::GET_DOMAIN_PATH, 0, b"1\0")), "/local/domain/1\0");
    tools.call(Kind::WRITE, 0, b"/tool/x\0");
    assert!(events(&mut guest).is_empty(), "watches went with the old connection");
}

#[test]
fn a_sudden_end_loses_nothing() {
    let machine = Machine::new();
    let mut daemon = machine.start();
    let mut client = xenstore_client::Client::open_socket(machine.path("socket")).unwrap();
    let mut tools = machine.connect();
    let mut guest = introduce(&machine, &mut tools, 1);
    guest.call(Kind::WATCH, 0, b"control\0t\0");
    client.watch("/local/domain/1/data", "mine").unwrap();
    for round in 0..20 {
        let lost = value(guest.call(Kind::TRANSACTION_START, 0, b"\0"));
        let lost: u32 = lost.trim_end_matches('\0').parse().unwrap();
        guest.call(Kind::WRITE, lost, b"data/lost\0never");
        let text = format!("{round}");
        client.write("/local/domain/1/control/round", &text).unwrap();
        // In mid-operation: the ring holds a request that nobody has read, or half of one.
        let number = guest.send(Kind::WRITE, 0, format!("data/round\0{text}").as_bytes());
        daemon.kill();
        daemon = machine.start();
        machine.send_event(65536 + 5);
        let mut told = false;
        loop {
            let message = guest.receive().unwrap();
            told |= message.kind == Kind::WATCH_EVENT && message.payload.starts_with(b"control/round\0");
            if message.request == number && message.kind != Kind::WATCH_EVENT {
                assert_eq!(message.kind, Kind::WRITE);
                break;
            }
        }
        told |= events(&mut guest).contains(&"control/round".to_owned());
        assert!(told, "the event of round {round} was lost");
        assert_eq!(client.read_text("/local/domain/1/data/round").unwrap(), text);
        let end = guest.call(Kind::TRANSACTION_END, lost, b"T\0");
        assert_eq!(value(end), "EAGAIN\0", "a transaction that was lost is to be run again");
        assert!(!client.exists("/local/domain/1/data/lost").unwrap());
    }
    assert!(client.reconnects() >= 19);
    client.write("/local/domain/1/data/x", "1").unwrap();
    let mut seen = false;
    while let Some(event) = client.wait_event(Some(std::time::Duration::from_millis(300))).unwrap() {
        seen |= event.path == "/local/domain/1/data/x" && event.token == "mine";
    }
    assert!(seen, "watches are set again");
}

#[test]
fn an_update_in_place_keeps_every_connection() {
    let machine = Machine::new();
    let mut daemon = machine.start();
    let (mut tools, mut other) = (machine.connect(), machine.connect());
    let mut guest = introduce(&machine, &mut tools, 1);
    guest.call(Kind::WATCH, 0, b"control\0t\0");
    other.call(Kind::WATCH, 0, b"/tool\0o\0");
    events(&mut other);
    events(&mut guest);
    let program = format!("live-update\0-f\0{}\0", env!("CARGO_BIN_EXE_xenstored"));
    for round in 0..5 {
        let id = value(other.call(Kind::TRANSACTION_START, 0, b"\0"));
        let id: u32 = id.trim_end_matches('\0').parse().unwrap();
        assert_eq!(value(tools.call(Kind::CONTROL, 0, program.as_bytes())), "OK\0");
        // Half of a request is on its way.
        let mut half = Vec::new();
        xenstore_proto::append_message(&mut half, Kind::WRITE, 900 + round, 0, b"/tool/half\0x");
        other.send_bytes(&half[..20]);
        assert_eq!(value(tools.call(Kind::CONTROL, 0, b"live-update\0-s\0")), "OK\0");
        other.send_bytes(&half[20..]);
        let answers = [other.receive().unwrap(), other.receive().unwrap()];
        assert_eq!(answers.map(|message| message.kind), [Kind::WATCH_EVENT, Kind::WRITE]);
        assert_eq!(value(other.call(Kind::TRANSACTION_END, id, b"T\0")), "EAGAIN\0");
        tools.call(Kind::WRITE, 0, b"/local/domain/1/control/x\0y");
        assert_eq!(events(&mut guest), ["control/x"]);
        assert_eq!(value(guest.call(Kind::READ, 0, b"control/x\0")), "y");
    }
    assert!(daemon.is_running(), "it is still the same process");
    let refused = value(tools.call(Kind::CONTROL, 0, b"live-update\0-f\0/bin/true\0"));
    assert_eq!(refused, "OK\0");
    assert!(value(tools.call(Kind::CONTROL, 0, b"live-update\0-s\0")).starts_with("ERROR"));
}

#[test]
fn a_client_that_does_not_read_hurts_only_itself() {
    let machine = Machine::new();
    let daemon = machine.start();
    let (mut tools, mut slow) = (machine.connect(), machine.connect());
    let mut guest = introduce(&machine, &mut tools, 1);
    let big = "b".repeat(2000);
    tools.call(Kind::WRITE, 0, format!("/tool/big\0{big}").as_bytes());
    slow.call(Kind::WATCH, 0, b"/tool\0s\0");
    guest.call(Kind::WATCH, 0, b"control\0g\0");
    for _ in 0..100 {
        slow.send(Kind::READ, 0, b"/tool/big\0");
    }
    let before = memory(daemon.id());
    for number in 0..40_000 {
        tools.call(Kind::WRITE, 0, format!("/tool/n\0{number}").as_bytes());
        tools.call(
            Kind::WRITE,
            0,
            format!("/local/domain/1/control/n\0{number}").as_bytes(),
        );
    }
    assert!(memory(daemon.id()) < before + (8 << 10), "events pile up");
    // Whoever begins to read again has lost no change: it is told of the watch's own path.
    assert!(
        events(&mut guest)
            .iter()
            .any(|path| path == "control" || path == "control/n")
    );
    let mut missed = false;
    while !missed {
        missed = slow.receive().unwrap().payload.starts_with(b"/tool\0");
    }
    assert_eq!(value(tools.call(Kind::CONTROL, 0, b"check\0")), "OK\0");
}

/// Resident memory of a process in KiB.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn many_nodes_are_read_at_once() {
    let machine = Machine::new();
    let _daemon = machine.start();
    let mut client = xenstore_client::Client::open_socket(machine.path("socket")).unwrap();
    // More than one batch, with gaps.
    let paths: Vec<String> = (0..200).map(|number| format!("/local/domain/{number}/name")).collect();
    for path in paths.iter().step_by(3) {
        client.write(path, path).unwrap();
    }
    let expected: Vec<_> = paths
        .iter()
        .enumerate()
        .map(|(number, path)| (number % 3 == 0).then(|| path.clone().into_bytes()))
        .collect();
    assert_eq!(client.read_each(&paths).unwrap(), expected);
    let inside = client
        .transaction(|store| {
            store.write(&paths[1], "new")?;
            store.read_each(&paths[..2])
        })
        .unwrap();
    assert_eq!(inside, [Some(paths[0].clone().into_bytes()), Some(b"new".to_vec())]);
    assert!(client.read_each(&[String::from("no//path")]).is_err());
}
