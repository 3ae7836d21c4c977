use xenctrl::{CreateDomain, Domains, ShutdownReason};
use xenstore_client::Store;
use xl_config::Uuid;

use super::bed::{Bed, exists};
use crate::life::record::{Record, Stage, boot_id};
use crate::life::supervise::{self, Known, Reasons, Wakeup};

fn look(bed: &mut Bed) {
    supervise::look(
        Bed::tools(&bed.fake, &bed.records),
        &mut bed.store,
        &mut Known::default(),
        &Reasons::everything(),
    );
}

/// A guest with these lines, ended for this reason and looked after.
fn ended(bed: &mut Bed, more: &str, reason: ShutdownReason) -> Uuid {
    let config = bed.config(more);
    let created = bed.create(config).expect("a domain");
    look(bed);
    assert!(
        bed.fake.domain_info(created.domid).is_ok(),
        "a living domain is left alone"
    );
    bed.fake.guest_shuts_down(created.domid, reason);
    look(bed);
    created.uuid
}

#[test]
fn a_domain_that_has_powered_off_is_taken_away() {
    let mut bed = Bed::new();
    let before = bed.traces();
    ended(&mut bed, "", ShutdownReason::Poweroff);
    assert_eq!(bed.traces(), before);
}

#[test]
fn a_domain_that_reboots_is_made_again() {
    let mut bed = Bed::new();
    let uuid = ended(&mut bed, "", ShutdownReason::Reboot);
    assert!(bed.fake.domain_info(1).is_err());
    let info = bed.fake.domain_info(2).expect("the next life");
    assert_eq!(info.uuid, uuid.0);
    assert_eq!(bed.store.read_text("/local/domain/2/name").expect("a node"), "g");
    let record = bed.records.load(uuid).expect("readable").expect("a record");
    assert_eq!((record.stage, record.domid), (Stage::Running, Some(2)));
}

#[test]
fn a_new_configuration_counts_from_the_restart() {
    let mut bed = Bed::new();
    let config = bed.config("");
    let created = bed.create(config).expect("a domain");
    let mut record = bed.records.load(created.uuid).expect("readable").expect("a record");
    let mut next = record.config.clone();
    next.max_vcpus = 3;
    record.next_config = Some(next);
    bed.records.save(&record).expect("saved");
    bed.fake.guest_shuts_down(created.domid, ShutdownReason::Reboot);
    look(&mut bed);
    assert!(bed.store.exists("/local/domain/2/cpu/2/availability").expect("asked"));
    assert_eq!(
        bed.records
            .load(created.uuid)
            .expect("readable")
            .expect("a record")
            .next_config,
        None
    );
}

#[test]
fn a_domain_can_be_kept_and_made_again_beside_itself() {
    let mut bed = Bed::new();
    let uuid = ended(&mut bed, "on_crash='rename-restart'", ShutdownReason::Crash);
    assert_eq!(bed.store.read_text("/local/domain/1/name").expect("a node"), "g-1");
    assert_eq!(bed.store.read_text("/local/domain/2/name").expect("a node"), "g");
    assert_eq!(
        bed.records.load(uuid).expect("readable").expect("a record").stage,
        Stage::Preserved
    );
    assert_ne!(bed.fake.domain_info(2).expect("the successor").uuid, uuid.0);
    look(&mut bed);
    assert!(bed.fake.domain_info(1).is_ok(), "it is kept");
}

#[test]
fn a_domain_can_be_preserved() {
    let mut bed = Bed::new();
    let uuid = ended(&mut bed, "on_poweroff='preserve'", ShutdownReason::Poweroff);
    look(&mut bed);
    assert!(bed.fake.domain_info(1).is_ok());
    assert_eq!(
        bed.records.load(uuid).expect("readable").expect("a record").stage,
        Stage::Preserved
    );
}

#[test]
fn who_lets_go_of_a_lock_has_that_domain_looked_after() {
    let mut bed = Bed::new();
    let before = bed.traces();
    let config = bed.config("");
    let created = bed.create(config).expect("a domain");
    let tools = Bed::tools(&bed.fake, &bed.records);
    let look_at = |uuid, store: &mut _| {
        let reasons = Reasons {
            all: false,
            locks: [uuid].into(),
        };
        supervise::look(tools, store, &mut Known::default(), &reasons);
    };
    bed.fake.guest_shuts_down(created.domid, ShutdownReason::Poweroff);
    look_at(Uuid([7; 16]), &mut bed.store);
    assert!(bed.fake.domain_info(created.domid).is_ok(), "it was another's lock");
    look_at(created.uuid, &mut bed.store);
    assert_eq!(bed.traces(), before);
}

#[test]
fn a_look_is_no_reason_for_another() {
    let mut bed = Bed::new();
    let mut wakeup = Wakeup::new(&bed.records, &mut bed.store).expect("listens");
    let config = bed.config("");
    bed.create(config).expect("a domain");
    let mut take = |bed: &mut Bed| wakeup.take(&mut bed.store).expect("readable");
    while !take(&mut bed).is_empty() {}
    look(&mut bed);
    assert!(take(&mut bed).is_empty(), "the supervisor has woken itself");
    drop(bed.records.wait_for_lock(Uuid([7; 16])).expect("a lock"));
    let woken = take(&mut bed);
    assert_eq!(
        (woken.all, woken.locks),
        (false, [Uuid([7; 16])].into()),
        "somebody has let go of a lock"
    );
}

#[test]
fn what_a_killed_maker_has_left_is_taken_away() {
    let mut bed = Bed::new();
    let before = bed.traces();
    let mut config = bed.config("");
    let uuid = crate::life::settle::settle(&mut config).expect("settled");
    let record = |domid| Record {
        uuid,
        domid,
        stage: Stage::Building,
        boot_id: boot_id(),
        source: "guest.cfg".into(),
        config: config.clone(),
        next_config: None,
    };
    // Killed before the record had the domain's number.
    bed.records.save(&record(None)).expect("saved");
    bed.fake.create_domain(&CreateDomain::new(uuid.0, 1)).expect("a domain");
    let lock = bed.records.wait_for_lock(uuid).expect("a lock");
    look(&mut bed);
    assert!(bed.fake.domain_info(1).is_ok(), "its maker lives: the lock is held");
    drop(lock);
    look(&mut bed);
    assert_eq!(bed.traces(), before);
    // Killed when half of the nodes were there.
    let domid = bed.fake.create_domain(&CreateDomain::new(uuid.0, 1)).expect("a domain");
    bed.records.save(&record(Some(domid))).expect("saved");
    bed.store
        .write(&format!("/local/domain/{domid}/vm"), format!("/vm/{uuid}"))
        .expect("written");
    bed.store.write(&format!("/vm/{uuid}/name"), "g").expect("written");
    bed.store
        .write(&format!("/local/domain/0/backend/vbd/{domid}/51712/online"), "1")
        .expect("written");
    look(&mut bed);
    assert_eq!(bed.traces(), before);
    // Killed before the record: only the lock's file is left.
    drop(bed.records.wait_for_lock(uuid).expect("a lock"));
    look(&mut bed);
    assert_eq!(bed.traces(), before);
}

#[test]
fn a_restart_that_was_cut_short_is_finished() {
    let mut bed = Bed::new();
    let config = bed.config("");
    let created = bed.create(config).expect("a domain");
    let mut record = bed.records.load(created.uuid).expect("readable").expect("a record");
    record.stage = Stage::Restarting;
    bed.records.save(&record).expect("saved");
    bed.fake.destroy_domain(created.domid).expect("destroyed");
    look(&mut bed);
    assert_eq!(bed.fake.domain_info(2).expect("the next life").uuid, created.uuid.0);
}

#[test]
fn a_restart_that_cannot_succeed_is_not_tried_for_ever() {
    let mut bed = Bed::new();
    let before = bed.traces();
    let config = bed.config("");
    let created = bed.create(config).expect("a domain");
    std::fs::remove_file(bed.path("kernel")).expect("removed");
    bed.fake.guest_shuts_down(created.domid, ShutdownReason::Reboot);
    look(&mut bed);
    assert_eq!(bed.traces(), before);
}

#[test]
fn records_of_another_boot_are_forgotten() {
    let mut bed = Bed::new();
    let config = bed.config("");
    let created = bed.create(config).expect("a domain");
    let mut record = bed.records.load(created.uuid).expect("readable").expect("a record");
    record.boot_id = "another".into();
    bed.records.save(&record).expect("saved");
    look(&mut bed);
    assert!(bed.records.load(created.uuid).expect("readable").is_none());
    assert!(
        bed.fake.domain_info(created.domid).is_ok(),
        "a domain of this boot is not touched by another's record"
    );
    assert!(exists(&bed.path("kernel")));
}
