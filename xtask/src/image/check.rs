//! What is promised of the linked image, read out of its instructions: no floating-point or vector code, no use of
//! the stack below the stack pointer but in `core`'s own leaf functions, no segment both writable and executable.

use anyhow::{Context, Result};
use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{LittleEndian, Object, ObjectSection, elf};

use super::symbols::{self, Symbol};

/// What the check saw.
#[derive(Debug, Default)]
pub struct Findings {
    /// Broken promises.
    pub errors: Vec<String>,
    /// Functions that touch memory below the stack pointer, and may.
    pub below_stack: Vec<String>,
    /// The largest stack frame and whose it is.
    pub frame: (u64, String),
    /// Instructions looked at.
    pub instructions: usize,
    /// Instructions that save or load floating-point state as a whole.
    pub state_switches: usize,
}

impl Findings {
    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let below = match self.below_stack.len() {
            0 => "none".to_owned(),
            count => format!("{count}, all in core or alloc: {}", self.below_stack.join(", ")),
        };
        vec![
            format!("{} instructions: none of SSE, x87 or MMX", self.instructions),
            format!(
                "  ({} save or load that state as a whole, for guests)",
                self.state_switches
            ),
            format!("functions with accesses below the stack pointer: {below}"),
            "segments both writable and executable: none".to_owned(),
            format!("largest stack frame: {} bytes, {}", self.frame.0, self.frame.1),
        ]
    }
}

/// Instructions that save or load floating-point state as a whole.
const WHOLE_STATE: &[Mnemonic] = &[
    Mnemonic::Fxsave,
    Mnemonic::Fxsave64,
    Mnemonic::Fxrstor,
    Mnemonic::Fxrstor64,
    Mnemonic::Fninit,
    Mnemonic::Fnclex,
    Mnemonic::Ldmxcsr,
    Mnemonic::Stmxcsr,
    Mnemonic::Xsave,
    Mnemonic::Xsave64,
    Mnemonic::Xsaveopt,
    Mnemonic::Xsaveopt64,
    Mnemonic::Xrstor,
    Mnemonic::Xrstor64,
];

/// Instructions of SSE's sets that touch no vector register.
const HARMLESS: &[Mnemonic] = &[
    Mnemonic::Lfence,
    Mnemonic::Mfence,
    Mnemonic::Sfence,
    Mnemonic::Pause,
    Mnemonic::Movnti,
    Mnemonic::Clflush,
    Mnemonic::Prefetchnta,
    Mnemonic::Prefetcht0,
];

fn is_forbidden_set(feature: CpuidFeature) -> bool {
    let name = format!("{feature:?}");
    ["FPU", "MMX", "SSE", "AVX", "F16C", "FMA"]
        .iter()
        .any(|set| name.starts_with(set))
}

/// Checks the linked image.
pub fn check(elf64: &[u8]) -> Result<Findings> {
    let mut findings = Findings::default();
    check_segments(elf64, &mut findings)?;
    let file = object::File::parse(elf64)?;
    let section = file.section_by_name(".text").context("the linked image has no .text")?;
    let (base, code) = (section.address(), section.data()?);
    let symbols = symbols::code(&file);
    // In front of the compiled functions lie the boot headers and 32-bit code, which are no 64-bit instructions.
    let first = symbols
        .iter()
        .position(|symbol| symbol.is_function)
        .context("no function in .text")?;
    for (index, symbol) in symbols.iter().enumerate().skip(first) {
        let limit = symbols
            .get(index + 1)
            .map_or(base + code.len() as u64, |next| next.address);
        // What lies between a function's end and the next one is padding or constants.
        let end = if symbol.is_function {
            limit.min(symbol.address + symbol.size)
        } else {
            limit
        };
        let span = (symbol.address.saturating_sub(base) as usize)..(end.saturating_sub(base) as usize);
        if let Some(bytes) = code.get(span) {
            check_function(symbol, bytes, &mut findings);
        }
    }
    Ok(findings)
}

fn check_segments(elf64: &[u8], findings: &mut Findings) -> Result<()> {
    let file: ElfFile64<'_, LittleEndian> = ElfFile64::parse(elf64)?;
    for header in file
        .elf_program_headers()
        .iter()
        .filter(|header| header.p_type(LittleEndian) == elf::PT_LOAD)
    {
        let flags = header.p_flags(LittleEndian);
        if flags & elf::PF_W != 0 && flags & elf::PF_X != 0 {
            let address = header.p_vaddr(LittleEndian);
            findings
                .errors
                .push(format!("the segment at {address:#x} is both writable and executable"));
        }
    }
    Ok(())
}

/// How deep the stack goes below a function's frame pointer, as far as it is known.
#[derive(Debug, Default)]
struct Depth {
    below_frame: u64,
    has_frame: bool,
    is_known: bool,
    allocated: u64,
    deepest_use: i64,
}

impl Depth {
    /// Follows pushes and subtractions of a prologue.
    fn follow(&mut self, instruction: &Instruction) {
        let to_stack = instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RSP;
        match instruction.mnemonic() {
            Mnemonic::Push if self.has_frame => self.below_frame += 8,
            Mnemonic::Mov
                if instruction.op0_register() == Register::RBP && instruction.op1_register() == Register::RSP =>
            {
                self.has_frame = true;
                self.is_known = true;
            }
            Mnemonic::Sub if to_stack => match instruction.try_immediate(1) {
                Ok(bytes) => {
                    self.allocated += bytes;
                    self.below_frame += bytes;
                }
                Err(_) => self.is_known = false,
            },
            Mnemonic::And if to_stack => self.is_known = false,
            Mnemonic::Lea if instruction.memory_base() == Register::RSP && !to_stack => {
                // A probed frame: its end is computed first, then the stack walks there.
                let below = (instruction.memory_displacement64() as i64).saturating_neg();
                self.allocated = self.allocated.max(u64::try_from(below).unwrap_or(0));
            }
            _ => {}
        }
    }
}

fn check_function(symbol: &Symbol, bytes: &[u8], findings: &mut Findings) {
    let mut depth = Depth::default();
    let mut is_below = false;
    for instruction in &mut Decoder::with_ip(64, bytes, symbol.address, DecoderOptions::NONE) {
        findings.instructions += 1;
        let forbidden = instruction
            .cpuid_features()
            .iter()
            .any(|&feature| is_forbidden_set(feature));
        if WHOLE_STATE.contains(&instruction.mnemonic()) {
            findings.state_switches += 1;
        } else if forbidden && !HARMLESS.contains(&instruction.mnemonic()) {
            let (at, what) = (instruction.ip(), instruction.mnemonic());
            findings.errors.push(format!("{what:?} at {at:#x} in {}", symbol.name));
        }
        depth.follow(&instruction);
        let touches = (0..instruction.op_count()).any(|op| instruction.op_kind(op) == OpKind::Memory)
            && !matches!(instruction.mnemonic(), Mnemonic::Lea | Mnemonic::Nop);
        let displacement = instruction.memory_displacement64() as i64;
        if touches && instruction.memory_index() == Register::None && displacement < 0 {
            match instruction.memory_base() {
                Register::RSP => is_below = true,
                Register::RBP if depth.has_frame => depth.deepest_use = depth.deepest_use.min(displacement),
                _ => {}
            }
        }
    }
    if depth.is_known && depth.deepest_use.unsigned_abs() > depth.below_frame {
        is_below = true;
    }
    if is_below {
        let of_core = ["core::", "<core::", "alloc::", "<alloc::", "compiler_builtins::"];
        if of_core.iter().any(|start| symbol.name.starts_with(start)) {
            findings.below_stack.push(symbol.name.clone());
        } else {
            findings
                .errors
                .push(format!("{} uses memory below the stack pointer", symbol.name));
        }
    }
    if depth.allocated > findings.frame.0 {
        findings.frame = (depth.allocated, symbol.name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(name: &str, bytes: &[u8]) -> Findings {
        let mut findings = Findings::default();
        let symbol = Symbol {
            address: 0x1000,
            size: bytes.len() as u64,
            name: name.to_owned(),
            is_function: true,
        };
        check_function(&symbol, bytes, &mut findings);
        findings
    }

    #[test]
    fn vector_and_x87_code_is_found() {
        // movaps xmm0, xmm1; fld1; pxor mm0, mm0; vzeroupper
        for bytes in [
            &[0x0f, 0x28, 0xc1][..],
            &[0xd9, 0xe8],
            &[0x0f, 0xef, 0xc0],
            &[0xc5, 0xf8, 0x77],
        ] {
            assert_eq!(findings("f", bytes).errors.len(), 1, "{bytes:x?}");
        }
        // fxsave64 [rax]; lfence; mov eax, 1
        for bytes in [&[0x48, 0x0f, 0xae, 0x00][..], &[0x0f, 0xae, 0xe8], &[0xb8, 1, 0, 0, 0]] {
            assert!(findings("f", bytes).errors.is_empty(), "{bytes:x?}");
        }
    }

    #[test]
    fn accesses_below_the_stack_pointer_are_for_core_alone() {
        // mov [rsp-8], rax
        let bytes = [0x48, 0x89, 0x44, 0x24, 0xf8];
        assert_eq!(findings("xen_hv::f", &bytes).errors.len(), 1);
        assert_eq!(findings("core::fmt::f", &bytes).below_stack.len(), 1);
    }

    #[test]
    fn a_frame_below_the_frame_pointer_must_be_allocated() {
        // push rbp; mov rbp, rsp; [sub rsp, 16;] mov [rbp-16], rax
        let mut bytes = vec![0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0x48, 0x89, 0x45, 0xf0];
        let good = findings("f", &bytes);
        assert!(good.errors.is_empty());
        assert_eq!(good.frame, (16, "f".to_owned()));
        bytes.drain(4..8);
        assert_eq!(findings("f", &bytes).errors.len(), 1);
    }
}
