//! The store against a model: random requests, in and out of transactions.

mod rig;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rig::Rig;
use xenstore_proto::{Error, Kind};

/// Nodes and values; a node's parents are in it, too.
type Model = BTreeMap<String, String>;

/// A transaction: its number, the nodes as it sees them, and what it did with which answers.
type Running = (u32, Model, Vec<(Step, Result<String, Error>)>);

#[derive(Clone, Debug)]
enum Step {
    Read(String),
    Write(String, String),
    Make(String),
    Remove(String),
    List(String),
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-c]", 1..4).prop_map(|parts| format!("/t/{}", parts.join("/")))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => path().prop_map(Step::Read),
        3 => (path(), "[0-9]{0,3}").prop_map(|(path, value)| Step::Write(path, value)),
        1 => path().prop_map(Step::Make),
        1 => path().prop_map(Step::Remove),
        1 => path().prop_map(Step::List),
    ]
}

fn insert(model: &mut Model, path: &str) {
    for (at, _) in path.match_indices('/').skip(1) {
        model.entry(path[..at].to_owned()).or_default();
    }
    model.entry(path.to_owned()).or_default();
}

/// What the model answers, changing it.
fn play(model: &mut Model, step: &Step) -> Result<String, Error> {
    match step {
        Step::Read(path) => model.get(path).cloned().ok_or(Error::ENOENT),
        Step::Write(path, value) => {
            insert(model, path);
            model.insert(path.clone(), value.clone());
            Ok("OK\0".into())
        }
        Step::Make(path) => {
            insert(model, path);
            Ok("OK\0".into())
        }
        Step::Remove(path) => {
            let above = &path[..path.rfind('/').unwrap()];
            if !model.contains_key(above) {
                return Err(Error::ENOENT);
            }
            let below = format!("{path}/");
            model.retain(|name, _| name != path && !name.starts_with(&below));
            Ok("OK\0".into())
        }
        Step::List(path) => {
            let below = format!("{path}/");
            let names = model
                .keys()
                .filter_map(|name| name.strip_prefix(&below))
                .filter(|name| !name.contains('/'));
            model
                .get(path)
                .map(|_| names.collect::<Vec<_>>().join(" "))
                .ok_or(Error::ENOENT)
        }
    }
}

/// What the daemon answers.
fn ask(rig: &mut Rig, client: usize, transaction: u32, step: &Step) -> Result<String, Error> {
    let (kind, payload) = match step {
        Step::Read(path) => (Kind::READ, format!("{path}\0")),
        Step::Write(path, value) => (Kind::WRITE, format!("{path}\0{value}")),
        Step::Make(path) => (Kind::MKDIR, format!("{path}\0")),
        Step::Remove(path) => (Kind::RM, format!("{path}\0")),
        Step::List(path) => (Kind::DIRECTORY, format!("{path}\0")),
    };
    let answer = String::from_utf8(rig.call(client, kind, transaction, payload.as_bytes())?).unwrap();
    if kind != Kind::DIRECTORY {
        return Ok(answer);
    }
    let mut names: Vec<&str> = answer.split_terminator('\0').collect();
    names.sort_unstable();
    Ok(names.join(" "))
}

fn new_rig() -> (Rig, Model) {
    let mut rig = Rig::new();
    // Nobody waits for anybody: the model does not know of that.
    rig.daemon.next_reservation = Some(Duration::MAX);
    let client = rig.privileged();
    rig.write(client, 0, "/t", "").unwrap();
    (rig, Model::from([("/t".to_owned(), String::new())]))
}

proptest! {
    #[test]
    fn single_requests_do_as_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let (mut rig, mut model) = new_rig();
        for step in &steps {
            let expected = play(&mut model, step);
            prop_assert_eq!(ask(&mut rig, 0, 0, step), expected, "{:?}", step);
        }
        rig.check(0);
    }

    /// Each transaction that commits did what it would have done all at once at the moment of its commit; one that does
    /// not commit did nothing. Others' changes never show inside.
    #[test]
    fn transactions_are_as_if_one_after_the_other(
        plan in prop::collection::vec((0usize..4, prop::option::weighted(0.8, step())), 1..80),
    ) {
        let (mut rig, mut model) = new_rig();
        let clients: Vec<usize> = (0..3).map(|_| rig.privileged()).collect();
        let mut running: Vec<Option<Running>> = vec![None, None, None];
        for (who, what) in &plan {
            let Some(step) = what else {
                // Begin or end.
                let Some(slot) = running.get_mut(*who) else { continue };
                match slot.take() {
                    None => *slot = Some((rig.start(clients[*who]).unwrap(), model.clone(), Vec::new())),
                    Some((id, _, done)) => match rig.end(clients[*who], id, true) {
                        Ok(()) => {
                            for (step, answer) in &done {
                                prop_assert_eq!(&play(&mut model, step), answer, "replayed: {:?}", step);
                            }
                        }
                        Err(error) => prop_assert_eq!(error, Error::EAGAIN),
                    },
                }
                continue;
            };
            match running.get_mut(*who) {
                Some(Some((id, view, done))) => {
                    let answer = ask(&mut rig, clients[*who], *id, step);
                    prop_assert_eq!(&answer, &play(view, step), "inside: {:?}", step);
                    done.push((step.clone(), answer));
                }
                _ => {
                    let expected = play(&mut model, step);
                    prop_assert_eq!(ask(&mut rig, 0, 0, step), expected);
                }
            }
        }
        for (name, value) in &model {
            prop_assert_eq!(rig.read(0, 0, name), Ok(value.clone()));
        }
        rig.check(0);
    }

    /// A transaction alone always commits, whatever it does.
    #[test]
    fn a_transaction_without_rivals_commits(steps in prop::collection::vec(step(), 0..40)) {
        let (mut rig, mut model) = new_rig();
        let id = rig.start(0).unwrap();
        for step in &steps {
            let expected = play(&mut model, step);
            prop_assert_eq!(ask(&mut rig, 0, id, step), expected);
        }
        prop_assert_eq!(rig.end(0, id, true), Ok(()));
        for (name, value) in &model {
            prop_assert_eq!(rig.read(0, 0, name), Ok(value.clone()));
        }
        rig.check(0);
    }
}

#[test]
fn a_wide_directory_comes_by_parts_and_in_order() {
    let mut rig = Rig::new();
    let client = rig.privileged();
    let names: Vec<String> = (0..3000).map(|number| format!("child-{number}")).collect();
    for name in &names {
        rig.write(client, 0, &format!("/wide/{name}"), "x").unwrap();
    }
    for name in names.iter().step_by(3) {
        rig.remove(client, 0, &format!("/wide/{name}")).unwrap();
    }
    let names: Vec<&String> = names
        .iter()
        .enumerate()
        .filter(|(at, _)| at % 3 != 0)
        .map(|(_, name)| name)
        .collect();
    assert_eq!(rig.call(client, Kind::DIRECTORY, 0, b"/wide\0"), Err(Error::E2BIG));
    let mut list = Vec::new();
    let mut generations = Vec::new();
    loop {
        let payload = format!("/wide\0{}\0", list.len());
        let answer = rig.call(client, Kind::DIRECTORY_PART, 0, payload.as_bytes()).unwrap();
        let end = answer.iter().position(|&byte| byte == 0).unwrap();
        generations.push(answer[..end].to_vec());
        list.extend_from_slice(&answer[end + 1..]);
        if list.ends_with(b"\0\0") {
            break;
        }
    }
    generations.dedup();
    assert_eq!(generations.len(), 1);
    let found: Vec<String> = list
        .split(|&b| b == 0)
        .filter(|n| !n.is_empty())
        .map(|n| String::from_utf8(n.to_vec()).unwrap())
        .collect();
    assert_eq!(found.iter().collect::<Vec<_>>(), names);
    rig.check(client);
}

#[test]
fn a_client_that_keeps_losing_gets_its_turn() {
    let mut rig = Rig::new();
    let (slow, fast) = (rig.privileged(), rig.privileged());
    rig.write(fast, 0, "/counter", "0").unwrap();
    for attempt in 0..10 {
        let id = rig.start(slow).unwrap();
        rig.read(slow, id, "/counter").unwrap();
        let mut message = Vec::new();
        xenstore_proto::append_message(
            &mut message,
            Kind::WRITE,
            1,
            0,
            format!("/counter\0{attempt}").as_bytes(),
        );
        let handled = rig.send(fast, &message);
        rig.write(slow, id, "/mine", "x").unwrap();
        match rig.end(slow, id, true) {
            Ok(()) => {
                assert_eq!(handled, 0, "the rival's write must have waited");
                assert_eq!(rig.send(fast, &message), message.len(), "and goes on after the commit");
                return;
            }
            Err(error) => assert_eq!(error, Error::EAGAIN),
        }
        rig.receive(fast);
    }
    panic!("ten conflicts in a row");
}
