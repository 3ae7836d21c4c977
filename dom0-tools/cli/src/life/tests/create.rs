use xenctrl::Domains;
use xenstore_client::Store;

use super::bed::{Bed, take_up_devices};
use crate::life::record::Stage;
use crate::life::teardown::tear_down;
use crate::migrate::libxl_config;

/// Every operation that the making of a domain asks of the hypervisor.
const STEPS: [&str; 12] = [
    "list domains",
    "get information about the machine",
    "create a domain",
    "make vcpus",
    "set the largest memory",
    "set the time offset",
    "make an event channel",
    "give memory to a domain",
    "pin page tables",
    "get weight and cap",
    "set weight and cap",
    "unpause",
];

const ALL: &str = "rtc_timeoffset=5\ncpu_weight=512\nvcpus=1\nmaxvcpus=2";

#[test]
fn a_domain_comes_and_goes_without_a_trace() {
    let mut bed = Bed::new();
    take_up_devices(bed.connect());
    let before = bed.traces();
    for _ in 0..3 {
        let disk = format!("{ALL}\ndisk=['format=qcow2,vdev=xvda,target={}']", bed.path("disk"));
        let config = bed.config(&disk);
        let created = bed.create(config).expect("a domain");
        let info = bed.fake.domain_info(created.domid).expect("its state");
        assert!(!info.paused);
        assert_eq!(info.uuid, created.uuid.0);
        let value = |bed: &mut Bed, path: &str| bed.store.read_text(path).expect("a node");
        let root = format!("/local/domain/{}", created.domid);
        assert_eq!(value(&mut bed, &format!("{root}/name")), "g");
        assert_eq!(value(&mut bed, &format!("{root}/cpu/1/availability")), "offline");
        assert_eq!(value(&mut bed, &format!("{root}/device/vbd/51712/state")), "1");
        assert_ne!(value(&mut bed, &format!("{root}/store/port")), "");
        let record = bed.records.load(created.uuid).expect("readable").expect("a record");
        assert_eq!((record.stage, record.domid), (Stage::Running, Some(created.domid)));
        let note = format!("state/libxl/userdata-d.{}.{}.libxl-json", created.domid, created.uuid);
        let note = std::fs::read(bed.path(&note)).expect("libxl's copy of the configuration");
        let text = note.strip_suffix(&[0]).expect("a C string's end");
        assert_eq!(libxl_config::read(text).expect("readable"), record.config);
        let tools = Bed::tools(&bed.fake, &bed.records);
        tear_down(tools, &mut bed.store, created.uuid, Some(created.domid)).expect("gone");
        bed.records.remove(created.uuid).expect("removed");
        assert_eq!(bed.traces(), before);
    }
}

#[test]
fn a_failure_at_any_step_leaves_nothing() {
    for step in STEPS {
        let mut bed = Bed::new();
        let before = bed.traces();
        bed.fake.fail(step, xen_abi::Errno::EINVAL);
        let config = bed.config(ALL);
        let error = bed.create(config).expect_err(step);
        assert!(format!("{error:#}").contains(step), "{step}: {error:#}");
        let mut after = bed.traces();
        if step == "list domains" {
            after = Bed::new().traces();
        }
        assert_eq!(
            format!("{after:?}").replace(&bed.path(""), ""),
            format!("{before:?}").replace(&bed.path(""), ""),
            "{step}"
        );
    }
}

#[test]
fn names_and_uuids_are_taken_once() {
    let mut bed = Bed::new();
    let config = bed.config("uuid='00112233-4455-6677-8899-aabbccddeeff'");
    bed.create(config.clone()).expect("a domain");
    let before = bed.traces();
    let error = bed.create(config).expect_err("the UUID is taken").to_string();
    assert!(error.contains("UUID"), "{error}");
    let config = bed.config("");
    let error = bed.create(config).expect_err("the name is taken").to_string();
    assert!(error.contains("\"g\" is taken by domain 1"), "{error}");
    assert_eq!(bed.traces(), before);
}

#[test]
fn what_cannot_be_had_is_refused_with_line_and_reason() {
    let mut bed = Bed::new();
    let before = bed.traces();
    let refusal = |bed: &mut Bed, more: &str| {
        let config = bed.config(more);
        format!("{:#}", bed.create(config).expect_err("refused"))
    };
    let error = refusal(&mut bed, "disk=['/nonexistent,raw,xvda,w']");
    assert!(
        error.contains("guest.cfg: disk[0]: cannot open /nonexistent"),
        "{error}"
    );
    let error = refusal(&mut bed, "disk=['/etc/passwd,raw,xvda,w,backend=drv']");
    assert!(error.contains("backend=drv: there is no such domain"), "{error}");
    let mut config = bed.config("");
    config.memory_kib = 1 << 20;
    let error = format!("{:#}", bed.create(config).expect_err("refused"));
    assert!(error.contains("1024 MiB are asked for and 64 MiB are free"), "{error}");
    let mut config = bed.config("");
    config.boot.kernel = bed.path("disk");
    assert!(bed.create(config).is_err());
    assert_eq!(bed.traces(), before);
}

#[test]
fn a_disk_has_one_writer() {
    let mut bed = Bed::new();
    take_up_devices(bed.connect());
    let disk = |bed: &Bed, access: &str| {
        format!(
            "disk=['format=qcow2,vdev=xvda,access={access},target={}']",
            bed.path("disk")
        )
    };
    let config = bed.config(&disk(&bed, "r"));
    bed.create(config).expect("a reader");
    let mut config = bed.config(&disk(&bed, "w"));
    config.name = "writer".into();
    let error = format!("{:#}", bed.create(config).expect_err("refused"));
    assert!(error.contains("is in use by domain 1"), "{error}");
    let mut config = bed.config(&disk(&bed, "r"));
    config.name = "reader".into();
    bed.create(config).expect("another reader");
}
