//! Access lists, quotas and watches of unprivileged domains.

mod rig;

use rig::Rig;
use xenstore_proto::{Error, Kind};

fn rig_with_guests() -> (Rig, usize, usize, usize) {
    let mut rig = Rig::new();
    let (root, one, two) = (rig.privileged(), rig.guest(1), rig.guest(2));
    rig.write(root, 0, "/local/domain/1", "").unwrap();
    rig.permit(root, "/local/domain/1", &["n1", "r2"]).unwrap();
    (rig, root, one, two)
}

#[test]
fn nodes_are_open_to_owner_list_and_domain_0_only() {
    let (mut rig, root, one, two) = rig_with_guests();
    rig.write(one, 0, "data/key", "v").unwrap();
    assert_eq!(rig.read(root, 0, "/local/domain/1/data/key").as_deref(), Ok("v"));
    assert_eq!(rig.read(two, 0, "/local/domain/1/data/key").as_deref(), Ok("v"));
    assert_eq!(rig.write(two, 0, "/local/domain/1/data/key", "w"), Err(Error::EACCES));
    let three = rig.guest(3);
    assert_eq!(rig.read(three, 0, "/local/domain/1/data/key"), Err(Error::EACCES));
    assert_eq!(rig.read(three, 0, "/local/domain/1/data/missing"), Err(Error::EACCES));
    assert_eq!(rig.read(two, 0, "/local/domain/1/data/missing"), Err(Error::ENOENT));
    assert_eq!(rig.write(three, 0, "/elsewhere", "x"), Err(Error::EACCES));
    rig.check(root);
}

#[test]
fn only_owners_change_access_lists_and_they_stay_owners() {
    let (mut rig, root, one, two) = rig_with_guests();
    rig.write(one, 0, "mine", "").unwrap();
    assert_eq!(rig.permit(one, "mine", &["n2"]), Err(Error::EPERM));
    assert_eq!(rig.permit(two, "/local/domain/1/mine", &["b1"]), Err(Error::EACCES));
    rig.permit(one, "mine", &["n1", "b2"]).unwrap();
    rig.write(two, 0, "/local/domain/1/mine", "yours").unwrap();
    let too_many = ["n1", "r2", "r3", "r4", "r5", "r6"];
    assert_eq!(rig.permit(one, "mine", &too_many), Err(Error::ENOSPC));
    rig.permit(root, "/local/domain/1/mine", &["n2"]).unwrap();
    assert_eq!(rig.read(one, 0, "mine"), Err(Error::EACCES));
    rig.check(root);
}

#[test]
fn a_number_used_again_does_not_inherit() {
    let (mut rig, root, _, two) = rig_with_guests();
    rig.write(root, 0, "/secret", "s").unwrap();
    rig.permit(root, "/secret", &["n0", "r2"]).unwrap();
    assert_eq!(rig.read(two, 0, "/secret").as_deref(), Ok("s"));
    rig.daemon.forget_domain(2);
    let again = rig.guest(2);
    // A write by domain 0 does not renew the list.
    rig.write(root, 0, "/secret", "t").unwrap();
    assert_eq!(rig.read(again, 0, "/secret"), Err(Error::EACCES));
    rig.write(root, 0, "/secret/below", "u").unwrap();
    assert_eq!(rig.read(again, 0, "/secret/below"), Err(Error::EACCES));
}

#[test]
fn what_a_domain_owns_goes_with_it() {
    let (mut rig, root, one, _) = rig_with_guests();
    rig.write(root, 0, "/backend/1", "").unwrap();
    rig.permit(root, "/backend/1", &["b1"]).unwrap();
    rig.write(one, 0, "/backend/1/x", "").unwrap();
    rig.watch(root, "/backend", "t").unwrap();
    rig.daemon.forget_domain(1);
    assert_eq!(rig.events(root), ["/backend/1"]);
    assert_eq!(rig.read(root, 0, "/local/domain/1"), Err(Error::ENOENT));
    assert_eq!(rig.read(root, 0, "/backend/1"), Err(Error::ENOENT));
    assert_eq!(rig.read(root, 0, "/backend").as_deref(), Ok(""));
    rig.check(root);
}

#[test]
fn the_root_outlives_its_owner() {
    let (mut rig, root, _, _) = rig_with_guests();
    rig.permit(root, "/", &["n1", "r2"]).unwrap();
    rig.daemon.forget_domain(1);
    assert_eq!(
        rig.call(root, Kind::GET_PERMS, 0, b"/\0").as_deref(),
        Ok(&b"n0\0r2\0"[..])
    );
    rig.check(root);
}

#[test]
fn quotas_bind_guests_and_nobody_else() {
    let (mut rig, root, one, _) = rig_with_guests();
    let limit = rig.daemon.quotas.nodes;
    // One of them is the domain's own directory.
    let mut made = 1;
    let result = loop {
        match rig.write(one, 0, &format!("d{}/k{made}", made % 20), "") {
            Ok(()) => made = rig.daemon.live.counts[&1] as u64,
            Err(error) => break error,
        }
        assert!(made <= limit);
    };
    assert_eq!(result, Error::ENOSPC);
    let id = rig.start(one).unwrap();
    assert_eq!(rig.write(one, id, "more/than/that", ""), Err(Error::ENOSPC));
    rig.end(one, id, false).unwrap();
    rig.write(root, 0, "/local/domain/1/by-root", "").unwrap();
    assert_eq!(rig.write(one, 0, "d1", &"x".repeat(2048)), Err(Error::ENOSPC));
    for number in 0..=rig.daemon.quotas.watches {
        rig.watch(one, "x", &number.to_string()).unwrap();
    }
    assert_eq!(rig.watch(one, "x", "one more"), Err(Error::E2BIG));
    for _ in 0..=rig.daemon.quotas.transactions {
        rig.start(one).unwrap();
    }
    assert_eq!(rig.start(one), Err(Error::ENOSPC));
    rig.call(one, Kind::RESET_WATCHES, 0, b"\0").unwrap();
    rig.start(one).unwrap();
    rig.watch(one, "x", "again").unwrap();
    rig.check(root);
}

#[test]
fn a_transaction_that_looks_at_too_much_fails() {
    let (mut rig, root, one, _) = rig_with_guests();
    let id = rig.start(one).unwrap();
    let limit = rig.daemon.quotas.transaction_nodes;
    for number in 0..=limit {
        let _ = rig.read(one, id, &format!("n{number}"));
    }
    assert!(rig.write(one, id, "n", "").is_err());
    assert_eq!(rig.end(one, id, true), Err(Error::EAGAIN));
    rig.check(root);
}

#[test]
fn watches_tell_only_what_may_be_read() {
    let (mut rig, root, one, two) = rig_with_guests();
    for client in [root, one, two] {
        rig.watch(client, "/local/domain/1", "t").unwrap();
    }
    rig.write(one, 0, "a", "1").unwrap();
    rig.permit(one, "a", &["n1"]).unwrap();
    rig.write(one, 0, "a/b", "2").unwrap();
    let [all, some] = [root, two].map(|client| rig.events(client));
    assert_eq!(all, ["/local/domain/1/a", "/local/domain/1/a", "/local/domain/1/a/b"]);
    assert_eq!(
        some,
        ["/local/domain/1/a", "/local/domain/1/a"],
        "not below what was closed"
    );
    rig.check(root);
}

#[test]
fn relative_watches_and_depth() {
    let (mut rig, root, one, _) = rig_with_guests();
    rig.watch(one, "device", "t").unwrap();
    rig.write(root, 0, "/local/domain/1/device/vbd/1", "x").unwrap();
    assert_eq!(rig.events(one), ["device/vbd/1"]);
    let writer = rig.privileged();
    rig.call(root, Kind::WATCH, 0, b"/local\0d\x001\0").unwrap();
    rig.write(writer, 0, "/local/domain/5", "").unwrap();
    rig.write(writer, 0, "/local/x", "").unwrap();
    assert_eq!(rig.events(root), ["/local/x"]);
    assert_eq!(
        rig.call(root, Kind::UNWATCH, 0, b"/local\0nobody\0"),
        Err(Error::ENOENT)
    );
    rig.check(root);
}

#[test]
fn removing_a_tree_tells_watches_below_it() {
    let (mut rig, root, _, _) = rig_with_guests();
    rig.write(root, 0, "/a/b/c", "").unwrap();
    rig.watch(root, "/a/b/c", "deep").unwrap();
    rig.watch(root, "/a", "top").unwrap();
    rig.watch(root, "/a/none", "absent").unwrap();
    let removal = |rig: &mut Rig, transaction| {
        let mut message = Vec::new();
        xenstore_proto::append_message(&mut message, Kind::RM, 1, transaction, b"/a/b\0");
        rig.send(root, &message);
    };
    removal(&mut rig, 0);
    let told = rig.events(root);
    rig.write(root, 0, "/a/b/c", "").unwrap();
    rig.receive(root);
    let id = rig.start(root).unwrap();
    removal(&mut rig, id);
    assert!(rig.events(root).is_empty(), "nothing before the commit");
    let mut message = Vec::new();
    xenstore_proto::append_message(&mut message, Kind::TRANSACTION_END, 1, id, b"T\0");
    rig.send(root, &message);
    assert_eq!(rig.events(root), told, "the same, in a transaction or not");
    assert_eq!(told, ["/a/b/c", "/a/b"]);
}

#[test]
fn privileged_requests_are_refused_to_guests() {
    let (mut rig, _, one, _) = rig_with_guests();
    let kinds = [
        Kind::CONTROL,
        Kind::INTRODUCE,
        Kind::RELEASE,
        Kind::RESUME,
        Kind::SET_TARGET,
        Kind::IS_DOMAIN_INTRODUCED,
    ];
    for kind in kinds {
        assert_eq!(
            rig.call(one, kind, 0, b"1\x00002\x00003\0"),
            Err(Error::EACCES),
            "{kind:?}"
        );
    }
    for kind in [Kind::WATCH_EVENT, Kind::ERROR, Kind(20), Kind(23), Kind(0xffff)] {
        assert_eq!(rig.call(one, kind, 0, b""), Err(Error::ENOSYS), "{kind:?}");
    }
}
