//! Instructions that may fault, and where each goes on if it does.

/// One entry, made by the assembly that holds the instruction.
#[repr(C)]
struct Entry {
    fault: u64,
    fixup: u64,
}

unsafe extern "C" {
    static __ex_table_start: Entry;
    static __ex_table_end: Entry;
}

/// Where to go on after a fault at `rip` in the hypervisor, if that was foreseen.
pub fn fixup(rip: u64) -> Option<u64> {
    let (start, end) = (&raw const __ex_table_start, &raw const __ex_table_end);
    let len = (end as usize - start as usize) / size_of::<Entry>();
    // SAFETY: the linker script puts the two symbols around the section, which holds nothing but entries.
    let table = unsafe { core::slice::from_raw_parts(start, len) };
    table.iter().find(|e| e.fault == rip).map(|e| e.fixup)
}
