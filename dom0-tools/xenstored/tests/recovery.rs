//! The journal: what it gives back is the store as it was at the end of a batch.

mod rig;

use std::collections::BTreeMap;
use std::fs::OpenOptions;

use proptest::prelude::*;
use rig::Rig;
use xenstored::daemon::Daemon;
use xenstored::host::Nothing;
use xenstored::quota::Quotas;
use xenstored::recovery::journal::Journal;
use xenstored::recovery::restore::Restored;
use xenstored::recovery::state;

/// A machine on which every domain exists.
const EVERYBODY: Nothing = Nothing { exists: |_| true };

/// Everything about the nodes that must come back.
fn dump(daemon: &Daemon) -> BTreeMap<String, (Vec<u8>, String)> {
    let mut nodes = BTreeMap::new();
    daemon
        .live
        .tree
        .root()
        .for_each_below(&mut vec![b'/'], &mut |path, node| {
            let list: Vec<String> = node.permissions.entries().iter().map(ToString::to_string).collect();
            nodes.insert(
                String::from_utf8(path.to_vec()).unwrap(),
                (node.value.clone(), list.join(" ")),
            );
        });
    nodes
}

fn restore(journal: &Journal) -> Daemon {
    let mut daemon = Daemon::new(Box::new(EVERYBODY), Quotas::default());
    let mut restored = Restored::default();
    for batch in journal.read().unwrap().expect("a journal") {
        restored.read(&mut daemon, &batch).expect("what was written is read");
    }
    restored.connect(&mut daemon, Vec::new(), false);
    daemon
}

#[derive(Clone, Debug)]
enum Step {
    Write(String, String),
    Remove(String),
    Permit(String, u16),
    Transaction(Vec<(String, String)>, Option<String>),
    EndOfBatch,
    Snapshot,
}

fn path() -> impl Strategy<Value = String> {
    "(/[a-c]){1,3}"
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (path(), "[0-9]{0,3}").prop_map(|(path, value)| Step::Write(path, value)),
        1 => path().prop_map(Step::Remove),
        1 => (path(), 0u16..3).prop_map(|(path, domain)| Step::Permit(path, domain)),
        1 => (prop::collection::vec((path(), "[0-9]{0,3}"), 0..4), prop::option::of(path()))
            .prop_map(|(writes, removal)| Step::Transaction(writes, removal)),
        3 => Just(Step::EndOfBatch),
        1 => Just(Step::Snapshot),
    ]
}

fn take_step(rig: &mut Rig, client: usize, guest: usize, step: &Step) {
    // Refusals are as good as successes here.
    match step {
        Step::Write(path, value) => {
            let _ = rig.write(client, 0, path, value);
            let _ = rig.write(guest, 0, path, value);
        }
        Step::Remove(path) => drop(rig.remove(client, 0, path)),
        Step::Permit(path, domain) => drop(rig.permit(client, path, &[&format!("b{domain}"), "r1"])),
        Step::Transaction(writes, removal) => {
            let id = rig.start(client).unwrap();
            for (path, value) in writes {
                rig.write(client, id, path, value).unwrap();
            }
            if let Some(path) = removal {
                let _ = rig.remove(client, id, path);
            }
            rig.end(client, id, true).unwrap();
        }
        Step::EndOfBatch | Step::Snapshot => {}
    }
}

fn end_batch(rig: &mut Rig, journal: &mut Journal) {
    let mut batch = [&[0; 4], &rig.daemon.live.log[..]].concat();
    journal.append(&mut batch).unwrap();
    rig.daemon.live.log.clear();
}

proptest! {
    #[test]
    fn any_end_of_the_file_is_the_end_of_a_batch(
        steps in prop::collection::vec(step(), 1..60),
        cut in 0.0f64..1.0,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut rig = Rig::new();
        let (client, guest) = (rig.privileged(), rig.guest(1));
        let mut journal = Journal::new(directory.path());
        let snapshot = |rig: &Rig, journal: &mut Journal| {
            let mut records = Vec::new();
            state::put_all(&mut records, &rig.daemon);
            journal.begin(&records).unwrap();
        };
        snapshot(&rig, &mut journal);
        rig.daemon.live.log.clear();
        let file = directory.path().join("journal");
        // What was true at each length of the file since the last snapshot.
        let mut history = vec![(file.metadata().unwrap().len(), dump(&rig.daemon))];
        for step in &steps {
            take_step(&mut rig, client, guest, step);
            match step {
                Step::EndOfBatch if !rig.daemon.live.log.is_empty() => end_batch(&mut rig, &mut journal),
                Step::Snapshot => {
                    snapshot(&rig, &mut journal);
                    rig.daemon.live.log.clear();
                    history.clear();
                }
                _ => continue,
            }
            history.push((file.metadata().unwrap().len(), dump(&rig.daemon)));
        }
        prop_assert_eq!(&dump(&restore(&journal)), &history.last().unwrap().1);
        let (first, last) = (history[0].0, history.last().unwrap().0);
        let length = first + ((last - first) as f64 * cut) as u64;
        OpenOptions::new().write(true).open(&file).unwrap().set_len(length).unwrap();
        let expected = history.iter().rev().find(|(end, _)| *end <= length).unwrap();
        prop_assert_eq!(&dump(&restore(&journal)), &expected.1);
    }

    #[test]
    fn damaged_journals_are_refused_not_believed(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut daemon = Daemon::new(Box::new(EVERYBODY), Quotas::default());
        let _ = Restored::default().read(&mut daemon, &bytes);
    }
}

#[test]
fn a_journal_of_an_earlier_boot_is_void() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::new(directory.path());
    assert!(journal.read().unwrap().is_none());
    journal.begin(b"snapshot").unwrap();
    assert_eq!(journal.read().unwrap(), Some(vec![b"snapshot".to_vec()]));
    let file = directory.path().join("journal");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(journal.read().unwrap().is_none());
}
