//! A domain of the fake goes through a stream into another: at once, while it runs, and with failures everywhere.

use migration_stream::libxc::{self, Record};
use migration_stream::{PAGE_SIZE, PageKind, Source, libxl, xl};
use xen_abi::{self as abi, start_info};
use xenctrl::{Domains, Memory, Migration, ShutdownReason};
use zerocopy::{FromBytes, IntoBytes};

use super::progress::Progress;
use super::{guest_list, image};
use crate::life::create::{Created, Request};
use crate::life::name;
use crate::life::teardown::tear_down;
use crate::life::tests::bed::Bed;

/// Offset of `arch_shared_info` in the shared page.
const ARCH: usize = 3088;
/// A frame of the guest's that its kernel does not use.
const FREE: u64 = 2000;

/// A guest that has come up and is ready to be suspended: it has said where its list is, and its start_info and
/// registers are as Linux leaves them.
fn guest(bed: &mut Bed) -> Created {
    let created = bed.create(bed.config("")).expect("a domain");
    let (fake, domid) = (&bed.fake, created.domid);
    let pages = fake.domain_info(domid).expect("its state").tot_pages;
    let pfn_of = |mfn: u64| (0..pages).find(|pfn| fake.mfn(domid, *pfn) == Some(mfn));
    let is_info = |pfn: &u64| {
        fake.frame(fake.mfn(domid, *pfn).expect("a frame"))
            .starts_with(abi::XEN_START_INFO_MAGIC)
    };
    let info_pfn = (0..pages).find(is_info).expect("start_info");
    let info_mfn = fake.mfn(domid, info_pfn).expect("a frame");
    let page = fake.map_foreign(domid, &[info_mfn], true).expect("mapped");
    let mut info = start_info::read_from_prefix(&fake.frame(info_mfn))
        .expect("long enough")
        .0;
    info.store_mfn = pfn_of(info.store_mfn).expect("the guest's");
    info.console.word = pfn_of(info.console.word).expect("the guest's");
    page.write(0, info.as_bytes());
    let mut context = fake.vcpu_context(domid, 0).expect("registers");
    context.user_regs.rdx = info_mfn;
    fake.set_vcpu_context(domid, 0, &context).expect("set");
    let shared = fake.domain_info(domid).expect("its state").shared_info_frame;
    let page = fake.map_foreign(domid, &[shared], true).expect("mapped");
    for (at, word) in [(0, pages), (24, context.ctrlreg[3]), (32, info.mfn_list)] {
        page.write(ARCH + at, &word.to_le_bytes());
    }
    fill(bed, &created, FREE, 0x5a);
    created
}

/// The guest writes to a page of its own.
fn fill(bed: &Bed, created: &Created, pfn: u64, byte: u8) {
    let mfn = bed.fake.mfn(created.domid, pfn).expect("a frame");
    let page = bed.fake.map_foreign(created.domid, &[mfn], true).expect("mapped");
    page.fill(0, PAGE_SIZE, byte);
    bed.fake.guest_writes(created.domid, pfn);
}

/// Saves the guest; what it does while it runs is `meanwhile`.
fn save(bed: &mut Bed, created: &Created, live: bool, meanwhile: &dyn Fn(&Bed)) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let fake = std::sync::Arc::clone(&bed.fake);
    let config = image::configuration(&*fake, &mut bed.store, &bed.records, created.domid)?;
    xl::write(&mut bytes, &config)?;
    let mut progress = Progress::new("saving", true);
    image::write(&*fake, created.domid, &mut bytes, &mut progress, live, &mut || {
        meanwhile(bed);
        fake.guest_shuts_down(created.domid, ShutdownReason::Suspend);
        Ok(())
    })?;
    Ok(bytes)
}

fn take_away(bed: &mut Bed, created: &Created) {
    let tools = Bed::tools(&bed.fake, &bed.records);
    tear_down(tools, &mut bed.store, created.uuid, Some(created.domid)).expect("gone");
    bed.records.remove(created.uuid).expect("removed");
}

fn restore(bed: &mut Bed, bytes: &[u8]) -> anyhow::Result<Created> {
    let mut from = Source::new(bytes);
    let (config, _) = image::read_configuration(&mut from)?;
    let request = Request {
        config,
        source: "saved".into(),
        paused: true,
    };
    let tools = Bed::tools(&bed.fake, &bed.records);
    let mut progress = Progress::new("restoring", true);
    image::restore(tools, &mut bed.store, request, &mut from, &mut progress)
}

/// What a stream says of each frame at last: kind and bytes.
fn memory(bytes: &[u8]) -> Vec<Option<(PageKind, Vec<u8>)>> {
    let mut from = Source::new(bytes);
    xl::read(&mut from).expect("xl's header");
    libxl::read_header(&mut from).expect("libxl's header");
    libxl::read_record(&mut from).expect("a record");
    libxc::read_header(&mut from).expect("libxc's header");
    let mut frames = Vec::new();
    loop {
        match libxc::read_record(&mut from).expect("a record") {
            Record::End => return frames,
            Record::P2mFrames { last, .. } => frames.resize(last as usize + 1, None),
            Record::Pages(pages) => {
                let mut data = pages.pages();
                for (pfn, kind) in &pages.frames {
                    let bytes = if kind.has_data() {
                        data.next().map(<[u8]>::to_vec)
                    } else {
                        None
                    };
                    frames[*pfn as usize] = bytes.map(|bytes| (*kind, bytes));
                }
            }
            _ => {}
        }
    }
}

#[test]
fn a_restored_guest_saves_as_the_one_it_came_from() {
    let mut bed = Bed::new();
    let created = guest(&mut bed);
    bed.fake
        .set_vcpu_part(created.domid, 0, xenctrl::VcpuPart::Xsave, &[3; 576])
        .expect("set");
    let first = save(&mut bed, &created, false, &|_| ()).expect("saved");
    let list = guest_list::GuestList::read(&*bed.fake, created.domid).expect("a list");
    let holders = list.holders().expect("the guest's");
    take_away(&mut bed, &created);
    // Memory lies elsewhere the second time.
    let other = bed.create(bed.config("name='other'")).expect("a domain");
    let again = restore(&mut bed, &first).expect("restored");
    assert_eq!(again.uuid, created.uuid);
    assert_ne!(bed.fake.mfn(again.domid, FREE), None);
    let part = bed
        .fake
        .vcpu_part(again.domid, 0, xenctrl::VcpuPart::Xsave)
        .expect("a part");
    assert_eq!(part, [3; 576]);
    let context = bed.fake.vcpu_context(again.domid, 0).expect("registers");
    let info_mfn = context.user_regs.rdx;
    // What Linux does first: it says anew where its list is.
    let shared = bed.fake.domain_info(again.domid).expect("its state").shared_info_frame;
    let page = bed.fake.map_foreign(again.domid, &[shared], true).expect("mapped");
    page.write(ARCH + 24, &context.ctrlreg[3].to_le_bytes());
    let info = start_info::read_from_prefix(&bed.fake.frame(info_mfn))
        .expect("long enough")
        .0;
    let list = guest_list::GuestList::read(&*bed.fake, again.domid).expect("a list");
    assert_eq!(list.len(), 2048);
    assert!(
        (0..2048).all(|pfn| list.mfn(pfn) == bed.fake.mfn(again.domid, pfn)),
        "the list is the new one"
    );
    assert!(list.pfn(info.store_mfn).is_some() && list.pfn(info.console.word).is_some());
    // What Linux does before it suspends again.
    let mut info = info;
    info.store_mfn = list.pfn(info.store_mfn).expect("the guest's");
    info.console.word = list.pfn(info.console.word).expect("the guest's");
    let page = bed.fake.map_foreign(again.domid, &[info_mfn], true).expect("mapped");
    page.write(0, info.as_bytes());
    let second = save(&mut bed, &again, false, &|_| ()).expect("saved");
    let (first, second) = (memory(&first), memory(&second));
    assert_eq!(first.len(), second.len());
    let info_pfn = list.pfn(info_mfn).expect("the guest's");
    let differs = |pfn: &u64| first[*pfn as usize] != second[*pfn as usize];
    let changed: Vec<u64> = (0..2048)
        .filter(differs)
        .filter(|pfn| !holders.contains(pfn) && *pfn != info_pfn)
        .collect();
    assert_eq!(changed, [] as [u64; 0], "frames that are not as they were");
    assert!(
        first
            .iter()
            .flatten()
            .any(|(kind, _)| kind.level() == Some(4) && kind.is_pinned())
    );
    take_away(&mut bed, &again);
    take_away(&mut bed, &other);
}

#[test]
fn what_is_written_while_it_is_sent_arrives() {
    let mut bed = Bed::new();
    let created = guest(&mut bed);
    let bytes = save(&mut bed, &created, true, &|bed| {
        fill(bed, &created, FREE, 0x77);
        fill(bed, &created, FREE + 1, 0x78);
    })
    .expect("saved");
    assert!(!bed.fake.logs_dirty(created.domid), "the log is turned off");
    take_away(&mut bed, &created);
    let again = restore(&mut bed, &bytes).expect("restored");
    for (pfn, byte) in [(FREE, 0x77), (FREE + 1, 0x78)] {
        let mfn = bed.fake.mfn(again.domid, pfn).expect("a frame");
        assert_eq!(bed.fake.frame(mfn), [byte; PAGE_SIZE]);
    }
}

#[test]
fn the_log_of_writes_never_stays_on() {
    let mut bed = Bed::new();
    let created = guest(&mut bed);
    let shared = bed
        .fake
        .domain_info(created.domid)
        .expect("its state")
        .shared_info_frame;
    let page = bed.fake.map_foreign(created.domid, &[shared], true).expect("mapped");
    let list = page_word(&page, ARCH);
    page.write(ARCH, &[0; 8]);
    save(&mut bed, &created, true, &|_| ()).expect_err("it has not said where its list is");
    assert!(!bed.fake.logs_dirty(created.domid));
    page.write(ARCH, &list);
    // Somebody was killed while he sent it.
    bed.fake.log_dirty(created.domid, true).expect("on");
    let is_running = |bed: &Bed| assert!(bed.fake.logs_dirty(created.domid), "it is sent while it runs");
    save(&mut bed, &created, true, &is_running).expect("saved");
    assert!(!bed.fake.logs_dirty(created.domid));
}

fn page_word(page: &xenctrl::Mapping, at: usize) -> [u8; 8] {
    let mut word = [0; 8];
    page.read(at, &mut word);
    word
}

#[test]
fn a_name_that_is_taken_is_not_given() {
    let mut bed = Bed::new();
    let (first, second) = (bed.config("name='first'"), bed.config("name='second'"));
    let (first, second) = (
        bed.create(first).expect("a domain"),
        bed.create(second).expect("a domain"),
    );
    let tools = Bed::tools(&bed.fake, &bed.records);
    let refused = name::give(tools, &mut bed.store, second.domid, second.uuid, "first").expect_err("taken");
    assert!(format!("{refused:#}").contains("taken by domain"), "{refused:#}");
    name::give(tools, &mut bed.store, first.domid, first.uuid, "third").expect("free");
    name::give(tools, &mut bed.store, second.domid, second.uuid, "first").expect("free now");
    assert_eq!(name::owner(&mut bed.store, "first").expect("read"), Some(second.domid));
    let record = bed.records.load(second.uuid).expect("read").expect("there");
    assert_eq!(record.config.name, "first");
    take_away(&mut bed, &first);
    take_away(&mut bed, &second);
}

#[test]
fn whatever_fails_nothing_is_left() {
    for step in [
        "create a domain",
        "set what CPUs a domain is shown",
        "give memory to a domain",
        "map memory",
        "set how the TSC behaves",
        "make an event channel",
        "pin page tables",
        "set a vcpu's registers",
        "map a resource",
    ] {
        let mut bed = Bed::new();
        let before = bed.traces();
        let created = guest(&mut bed);
        let policy = xenctrl::CpuPolicy {
            leaves: vec![1; 24],
            msrs: vec![0; 16],
        };
        bed.fake.set_cpu_policy(created.domid, &policy).expect("set");
        let bytes = save(&mut bed, &created, false, &|_| ()).expect("saved");
        take_away(&mut bed, &created);
        bed.fake.fail(step, abi::Errno::EINVAL);
        let error = format!("{:#}", restore(&mut bed, &bytes).expect_err(step));
        assert!(error.contains(step), "{step}: {error}");
        assert_eq!(bed.traces(), before, "{step}");
    }
}

#[test]
fn a_stream_that_is_broken_or_lies_leaves_nothing() {
    let mut bed = Bed::new();
    let before = bed.traces();
    let created = guest(&mut bed);
    let bytes = save(&mut bed, &created, false, &|_| ()).expect("saved");
    take_away(&mut bed, &created);
    let start = bytes.windows(4).position(|four| four == b"XENF").expect("a header") - 8;
    for len in [start, start + 50, start + 3000, bytes.len() / 2, bytes.len() - 17] {
        assert!(restore(&mut bed, &bytes[..len]).is_err(), "{len}");
        assert_eq!(bed.traces(), before, "{len}");
    }
    // Numbers of frames, kinds and registers that are not the guest's.
    for at in (start + 24..start + 6000)
        .step_by(264)
        .chain((bytes.len() - 12_000..bytes.len()).step_by(136))
    {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].fill(0xee);
        if let Ok(created) = restore(&mut bed, &bytes) {
            // What it changed was the guest's own affair.
            take_away(&mut bed, &created);
        }
        assert_eq!(bed.traces(), before, "{at}");
    }
}
