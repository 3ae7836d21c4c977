//! Arbitrary input: nothing that a client sends makes the daemon panic, grow without bound, or lose count.
//!
//! `XENSTORED_FUZZ_SECONDS` makes it run for that long.

mod rig;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use rig::Rig;
use xenstore_proto::{Kind, append_message};

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => "(/[a-c]{1,2}){1,3}".prop_map(String::into_bytes),
        2 => "[a-c]{1,2}(/[a-c]){0,2}".prop_map(String::into_bytes),
        1 => Just(b"/".to_vec()),
        1 => prop::sample::select(vec!["@introduceDomain", "@releaseDomain", "@x", "/local/domain/1", "/tool"])
            .prop_map(|text| text.as_bytes().to_vec()),
        2 => "[nrwb][0-4]".prop_map(String::into_bytes),
        1 => prop::sample::select(vec!["T", "F", "0", "1", "2", "4096", "-1", "99999999999999999999"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::sample::select(vec!["check", "quota", "set", "nodes", "memreport", "help", "live-update", "-a"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (0usize..4090).prop_map(|count| vec![b'x'; count]),
    ]
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let payload = (prop::collection::vec(word(), 0..4), any::<bool>()).prop_map(|(words, ended)| {
        let mut payload = words.join(&0);
        if ended {
            payload.push(0);
        }
        payload.truncate(4096);
        payload
    });
    let kind = prop_oneof![8 => 0u32..24, 1 => any::<u32>()];
    let transaction = prop_oneof![4 => Just(0), 4 => 1u32..4, 1 => any::<u32>()];
    prop_oneof![
        20 => (kind, transaction, payload).prop_map(|(kind, transaction, payload)| {
            let mut bytes = Vec::new();
            append_message(&mut bytes, Kind(kind), 1, transaction, &payload);
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..64),
    ]
}

/// Who sends what, and whether that client reads its answers then.
type Plan = Vec<(usize, Vec<u8>, bool)>;

fn plan() -> impl Strategy<Value = Plan> {
    prop::collection::vec((0usize..4, message(), prop::bool::weighted(0.8)), 1..120)
}

fn carry_out(plan: &Plan) {
    let mut rig = Rig::new();
    let clients = [rig.privileged(), rig.privileged(), rig.guest(1), rig.guest(2)];
    let mut inputs = vec![Vec::new(); clients.len()];
    for (who, bytes, reads) in plan {
        let (client, input) = (clients[*who], &mut inputs[*who]);
        if rig.daemon.client(client).is_none_or(|connection| connection.closing) {
            continue;
        }
        input.extend_from_slice(bytes);
        let done = rig.send(client, input);
        input.drain(..done);
        if *reads {
            rig.receive(client);
        }
        let connection = rig.daemon.client(client).unwrap();
        assert!(connection.output.len() < (2 << 20), "answers pile up");
        rig.daemon.live.log.clear();
    }
    rig.daemon.end_reservation();
    let judge = rig.privileged();
    rig.check(judge);
    for &client in &clients {
        rig.receive(client);
        rig.daemon.drop_connection(client);
    }
    assert_eq!(rig.daemon.watches.len(), 0);
    rig.check(judge);
}

proptest! {
    #[test]
    fn any_input_is_survived(plan in plan()) {
        carry_out(&plan);
    }
}

#[test]
fn any_input_is_survived_for_long() {
    let Some(seconds) = std::env::var("XENSTORED_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
    else {
        return;
    };
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut runner = TestRunner::new(Config::default());
    let mut rounds = 0u64;
    while Instant::now() < end {
        carry_out(&plan().new_tree(&mut runner).unwrap().current());
        rounds += 1;
    }
    println!("{rounds} plans");
}
