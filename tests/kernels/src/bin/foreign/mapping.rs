//! Mapping frames of other domains, and of the hypervisor's.
use crate::control::{Domain, entry_of, is, memory_op, numbers, restore, update_as};
use guest_rt::check;
use guest_rt::pages::{self, PTE_DATA, PTE_READ_ONLY, Page, take_page};
use xen_abi::*;

/// Data written through one mapping is read through the other; both are refused where the owner named is another.
fn both_ways(window: &Page, second: &Page) {
    let domain = Domain::create(16);
    let mut list = numbers::<8>();
    domain.populate(&mut list);
    let answer = domain.map(window, list[0], PTE_DATA);
    check!("mapping/writable", answer == 0, "{answer}");
    let clean = (0..512).all(|index| window.read(index) == 0);
    check!("mapping/clean", clean, "somebody's data");
    window.write(3, 0x1234);
    let answer = domain.map(second, list[0], PTE_READ_ONLY);
    check!("mapping/read-only", answer == 0 && second.read(3) == 0x1234, "{answer}");

    let other = Domain::create(16);
    for (name, owner) in [
        ("own", DOMID_SELF),
        ("other", other.0),
        ("nobody", 0x7000),
        ("io", DOMID_IO),
    ] {
        let answer = update_as(owner, entry_of(window), list[1] << 12 | PTE_DATA);
        check!(format_args!("mapping/wrong-owner-{name}"), answer < 0, "{answer}");
    }
    check!("mapping/kept", window.read(3) == 0x1234, "the entry has changed");
    let answer = domain.map(window, window.mfn(), PTE_DATA);
    check!("mapping/not-theirs", answer < 0, "own frame as theirs: {answer}");
    restore(window);
    restore(second);
    other.destroy();
    domain.destroy();
    check!("mapping/ended", domain.is_gone() && other.is_gone(), "still there");
}

/// An entry that was put in place by another name is cleared and replaced like any other.
fn replaced(window: &Page) {
    let domain = Domain::create(16);
    let mut list = numbers::<2>();
    domain.populate(&mut list);
    domain.map(window, list[0], PTE_DATA);
    window.write(0, 1);
    let answer = domain.map(window, list[1], PTE_DATA);
    check!("mapping/replace", answer == 0 && window.read(0) == 0, "{answer}");
    let answer = update_as(DOMID_SELF, entry_of(window), 0);
    check!("mapping/clear", answer == 0, "{answer}");
    let answer = domain.decrease(&mut list);
    check!(
        "mapping/unmapped-is-free",
        answer == 2 && domain.pages() == 0,
        "{answer}, {} left",
        domain.pages()
    );
    restore(window);
    domain.destroy();
}

/// The domain's grant table, as toolstacks write the first entries of it.
fn resource(window: &Page) {
    let domain = Domain::create(16);
    let mut ask = xen_mem_acquire_resource {
        domid: domain.0,
        typ: XENMEM_resource_grant_table,
        id: XENMEM_resource_grant_table_id_shared,
        ..Default::default()
    };
    let answer = memory_op(XENMEM_acquire_resource, &mut ask);
    check!(
        "resource/size",
        answer == 0 && ask.nr_frames == 4,
        "{answer}, {} frames",
        ask.nr_frames
    );
    let mut frames = [0u64; 2];
    ask.frame_list = frames.as_mut_ptr() as u64;
    ask.nr_frames = 2;
    let answer = memory_op(XENMEM_acquire_resource, &mut ask);
    check!(
        "resource/frames",
        answer == 0 && frames[0] != 0 && frames[0] != frames[1],
        "{answer}: {frames:x?}"
    );
    let entry = entry_of(window) | MMU_PT_UPDATE_NO_TRANSLATE;
    let answer = update_as(domain.0, entry, frames[0] << 12 | PTE_DATA);
    check!("resource/mapped", answer == 0, "{answer}");
    window.write(0, 0);
    ask.frame = u32::MAX.into();
    let answer = memory_op(XENMEM_acquire_resource, &mut ask);
    check!("resource/beyond", is(answer, Errno::EINVAL), "{answer}");
    (ask.frame, ask.domid) = (0, DOMID_SELF);
    let answer = memory_op(XENMEM_acquire_resource, &mut ask);
    check!("resource/own", answer < 0, "{answer}");

    // The table's frame outlives the domain as long as it is mapped here.
    domain.destroy();
    window.write(1, 0x77);
    check!(
        "resource/kept",
        window.read(1) == 0x77 && domain.info().is_some(),
        "the frame is gone"
    );
    restore(window);
    check!("resource/freed", domain.is_gone(), "still there");
}

/// The machine-to-physical table may be read, and never written.
fn machine_to_physical(window: &Page) {
    let mut frames = [0u64; 4];
    let mut ask = xen_machphys_mfn_list {
        max_extents: frames.len() as u32,
        extent_start: frames.as_mut_ptr() as u64,
        ..Default::default()
    };
    let answer = memory_op(XENMEM_machphys_mfn_list, &mut ask);
    check!(
        "m2p/list",
        answer == 0 && ask.nr_extents >= 1 && frames[0] != 0,
        "{answer}, {} extents",
        ask.nr_extents
    );
    let answer = update_as(DOMID_XEN, entry_of(window), frames[0] << 12 | PTE_READ_ONLY);
    check!("m2p/readable", answer == 0, "{answer}");
    let answer = update_as(DOMID_XEN, entry_of(window), frames[0] << 12 | PTE_DATA);
    let became_writable = answer == 0
        && pages::read_entry(
            pages::table_of(pages::boot_root(), window.address(), 1).expect("mapped"),
            pages::index_at(window.address(), 1),
        ) & pages::PTE_WRITE
            != 0;
    check!("m2p/not-writable", !became_writable, "{answer}");
    restore(window);
}

pub fn run() {
    let (window, second) = (take_page(), take_page());
    both_ways(window, second);
    replaced(window);
    resource(window);
    machine_to_physical(window);
}
