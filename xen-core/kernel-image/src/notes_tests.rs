use super::*;
use crate::elf::tests::{file, note};
use std::string::ToString;
use std::vec::Vec;

fn parse_as(role: Role, notes: &[Vec<u8>]) -> Result<XenNotes, NotesError> {
    let bytes = file(&[(1, 0, 4, b"text"), (4, 0, 0, &notes.concat())]);
    XenNotes::parse(Elf::parse(&bytes).unwrap(), role)
}

fn with_notes(notes: &[Vec<u8>]) -> Result<XenNotes, NotesError> {
    parse_as(Role::Dom0, notes)
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
    let not_dom0 = [note(b"Xen", 1, &[0; 8]), note(b"Xen", 17, &[1, 0, 0, 0])];
    assert_eq!(with_notes(&not_dom0), Err(NotesError::NotDom0));
    assert!(parse_as(Role::DomU, &not_dom0).is_ok());
    assert!(NotesError::NoEntry.to_string().contains("no PV kernel"));
    assert!(NotesError::NoXenNotes.to_string().contains("CONFIG_XEN_PV"));
}

#[test]
fn numbers_of_all_sizes_are_read() {
    let entry = note(b"Xen", 1, &0xffff_ffff_8100_0000u64.to_le_bytes());
    for short in [&[1][..], &[1, 0, 0, 0], &[1, 0, 0, 0, 0, 0, 0, 0]] {
        let notes = with_notes(&[entry.clone(), note(b"Xen", 16, short)]).unwrap();
        assert_eq!((notes.entry, notes.mod_start_pfn), (0xffff_ffff_8100_0000, true));
    }
    let odd = with_notes(&[entry, note(b"Xen", 15, &[1, 2, 3])]);
    assert_eq!(odd, Err(NotesError::BadNote(15)));
}

#[test]
fn a_required_translation_is_refused() {
    let entry = note(b"Xen", 1, &[0; 8]);
    let with_features = |text: &[u8]| with_notes(&[entry.clone(), note(b"Xen", 10, text)]);
    assert!(with_features(b"!writable_page_tables|pae_pgdir_above_4gb").is_ok());
    assert!(with_features(b"auto_translated_physmap").is_ok());
    let translated = with_features(b"pae|!auto_translated_physmap\0");
    assert_eq!(translated, Err(NotesError::Needs("auto_translated_physmap")));
}
