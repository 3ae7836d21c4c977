use super::*;
use crate::elf::tests::{file, note};
use std::string::ToString;
use std::vec::Vec;

fn with_notes(notes: &[Vec<u8>]) -> Result<XenNotes, NotesError> {
    let bytes = file(&[(1, 0, 4, b"text"), (4, 0, 0, &notes.concat())]);
    XenNotes::parse(Elf::parse(&bytes).unwrap())
}

/// The notes of Debian 12's kernel.
#[test]
fn linux() {
    let notes = with_notes(&[
        note(b"Xen", 6, b"linux\0"),
        note(b"Xen", 5, b"xen-3.0\0"),
        note(b"Xen", 3, &0xffff_ffff_8000_0000u64.to_le_bytes()),
        note(b"Xen", 15, &0x80_0000_0000u64.to_le_bytes()),
        note(b"Xen", 1, &0xffff_ffff_8307_91c0u64.to_le_bytes()),
        note(b"Xen", 10, b"!writable_page_tables|pae_pgdir_above_4gb\0"),
        note(b"Xen", 17, &0x8801u32.to_le_bytes()),
        note(b"Xen", 16, &1u32.to_le_bytes()),
    ]);
    let notes = notes.unwrap();
    assert_eq!(notes.entry, 0xffff_ffff_8307_91c0);
    assert_eq!(notes.virt_base, 0xffff_ffff_8000_0000);
    assert_eq!(notes.paddr_offset, 0);
    assert_eq!(notes.hypercall_page, None);
    assert_eq!(notes.init_p2m, Some(0x80_0000_0000));
    assert!(notes.mod_start_pfn);
    assert_eq!(notes.check_dom0(), Ok(()));
}

#[test]
fn refusals() {
    assert_eq!(with_notes(&[]), Err(NotesError::NoXenNotes));
    assert_eq!(with_notes(&[note(b"GNU", 1, &[0; 8])]), Err(NotesError::NoXenNotes));
    // A PVH-only kernel has Xen notes, but none with a PV entry.
    assert_eq!(with_notes(&[note(b"Xen", 18, &[0; 8])]), Err(NotesError::NoEntry));
    assert_eq!(with_notes(&[note(b"Xen", 1, &[0; 3])]), Err(NotesError::BadNote(1)));
    assert_eq!(
        with_notes(&[note(b"Xen", 5, b"xen-2.0\0")]),
        Err(NotesError::WrongVersion)
    );
    let not_dom0 = with_notes(&[note(b"Xen", 1, &[0; 8]), note(b"Xen", 17, &[1, 0, 0, 0])]).unwrap();
    assert_eq!(not_dom0.check_dom0(), Err(NotesError::NotDom0));
    assert!(NotesError::NoEntry.to_string().contains("no PV kernel"));
}
