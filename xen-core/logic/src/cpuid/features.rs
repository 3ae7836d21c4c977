//! Feature words: which bits a paravirtual guest may have, by position in `arch-x86/cpufeatureset.h`.
//!
//! Left out: what needs the hypervisor's own page tables or privileges (PSE, PGE, PSE36, 1 GiB pages, PCID, SMEP,
//! SMAP, UMIP, PKU, LA57, CET), virtualisation, what reads the APIC or timers (x2APIC, TSC-deadline, MONITOR),
//! supervisor XSAVE states, profiling, and the mitigation MSRs whose state would have to follow each vcpu.

/// One register of one leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Word {
    Leaf1Edx,
    Leaf1Ecx,
    Ext1Edx,
    Ext1Ecx,
    LeafDSub1Eax,
    Leaf7Ebx,
    Leaf7Ecx,
    Leaf7Edx,
    Leaf7Sub1Eax,
    Leaf7Sub2Edx,
    Ext7Edx,
    Ext8Ebx,
    Ext21Eax,
}

/// A mask of these bits.
const fn bits(numbers: &[u32]) -> u32 {
    let (mut mask, mut i) = (0, 0);
    while i < numbers.len() {
        mask |= 1 << numbers[i];
        i += 1;
    }
    mask
}

/// fpu vme de tsc msr pae mce cx8 apic sep mca cmov pat clflush acpi mmx fxsr sse sse2 ss.
const LEAF_1_EDX: u32 = bits(&[0, 1, 2, 4, 5, 6, 7, 8, 9, 11, 14, 15, 16, 19, 22, 23, 24, 25, 26, 27]);
/// sse3 pclmulqdq ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt aesni xsave avx f16c rdrand.
const LEAF_1_ECX: u32 = bits(&[0, 1, 9, 12, 13, 19, 20, 22, 23, 25, 26, 28, 29, 30]);
/// syscall nx mmxext ffxsr rdtscp lm 3dnowext 3dnow.
const EXT_1_EDX: u32 = bits(&[11, 20, 22, 25, 27, 29, 30, 31]);
/// lahf_lm abm sse4a misalignsse 3dnowprefetch xop fma4 tbm.
const EXT_1_ECX: u32 = bits(&[0, 5, 6, 7, 8, 11, 16, 21]);
/// xsaveopt xsavec xgetbv1.
const LEAF_D_SUB_1_EAX: u32 = bits(&[0, 1, 2]);
/// fsgsbase bmi1 avx2 fdp_excptn_only bmi2 erms no_fpu_sel avx512f avx512dq rdseed adx avx512_ifma clflushopt clwb
/// avx512pf avx512er avx512cd sha avx512bw avx512vl.
const LEAF_7_EBX: u32 = bits(&[0, 3, 5, 6, 8, 9, 13, 16, 17, 18, 19, 21, 23, 24, 26, 27, 28, 29, 30, 31]);
/// prefetchwt1 avx512_vbmi avx512_vbmi2 gfni vaes vpclmulqdq avx512_vnni avx512_bitalg avx512_vpopcntdq rdpid
/// cldemote movdiri movdir64b.
const LEAF_7_ECX: u32 = bits(&[0, 1, 6, 8, 9, 10, 11, 12, 14, 22, 25, 27, 28]);
/// avx512_4vnniw avx512_4fmaps fsrm avx512_vp2intersect md_clear serialize avx512_fp16 arch_caps.
const LEAF_7_EDX: u32 = bits(&[2, 3, 4, 8, 10, 14, 23, 29]);
/// avx_vnni avx512_bf16 fzrm fsrs fsrcs.
const LEAF_7_SUB_1_EAX: u32 = bits(&[4, 5, 10, 11, 12]);
/// mcdt_no.
const LEAF_7_SUB_2_EDX: u32 = bits(&[5]);
/// Invariant TSC.
const EXT_7_EDX: u32 = bits(&[8]);
/// clzero rstr_fp_err_ptrs wbnoinvd ibpb ssb_no btc_no ibpb_ret.
const EXT_8_EBX: u32 = bits(&[0, 2, 9, 12, 26, 29, 30]);
/// lfence_dispatch nscb sbpb ibpb_brtype srso_no.
const EXT_21_EAX: u32 = bits(&[2, 6, 28, 29]);

/// The bits of `word` that a paravirtual guest may see.
pub const fn guest_mask(word: Word) -> u32 {
    match word {
        Word::Leaf1Edx => LEAF_1_EDX,
        Word::Leaf1Ecx => LEAF_1_ECX,
        Word::Ext1Edx => EXT_1_EDX,
        Word::Ext1Ecx => EXT_1_ECX,
        Word::LeafDSub1Eax => LEAF_D_SUB_1_EAX,
        Word::Leaf7Ebx => LEAF_7_EBX,
        Word::Leaf7Ecx => LEAF_7_ECX,
        Word::Leaf7Edx => LEAF_7_EDX,
        Word::Leaf7Sub1Eax => LEAF_7_SUB_1_EAX,
        Word::Leaf7Sub2Edx => LEAF_7_SUB_2_EDX,
        Word::Ext7Edx => EXT_7_EDX,
        Word::Ext8Ebx => EXT_8_EBX,
        Word::Ext21Eax => EXT_21_EAX,
    }
}
