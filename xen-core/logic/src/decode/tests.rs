//! The decoder against iced-x86 on random encodings, and the arithmetic against a wide-integer model.

use super::access::{Access, Alu, Bit, Kind, Place, Source, Unary};
use super::operand::Base;
use super::*;
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use proptest::prelude::*;
use std::vec::Vec;

/// Sixteen registers, RIP, RFLAGS and two bases.
struct Registers {
    gpr: [u64; 16],
    rip: u64,
    rflags: u64,
    fs: u64,
    gs: u64,
}

impl RegFile for Registers {
    fn gpr(&self, number: u8) -> u64 {
        self.gpr[number as usize]
    }
    fn set_gpr(&mut self, number: u8, value: u64) {
        self.gpr[number as usize] = value;
    }
    fn rip(&self) -> u64 {
        self.rip
    }
    fn rflags(&self) -> u64 {
        self.rflags
    }
    fn segment_base(&self, segment: Segment) -> u64 {
        match segment {
            Segment::Flat => unreachable!("the flat segment has no base to ask for"),
            Segment::Fs => self.fs,
            Segment::Gs => self.gs,
        }
    }
}

const RIP: u64 = 0xffff_ffff_8100_1230;

fn registers() -> Registers {
    let gpr = core::array::from_fn(|n| {
        0x1234_5678_9abc_def0u64
            .rotate_left(n as u32 * 7)
            .wrapping_mul(n as u64 + 3)
    });
    Registers {
        gpr,
        rip: RIP,
        rflags: 0x246,
        fs: 0x7f00_1234_5000,
        gs: 0xffff_8881_0000_0000,
    }
}

fn reference(code: &[u8]) -> Instruction {
    Decoder::with_ip(64, code, RIP, DecoderOptions::NONE).decode()
}

/// The address by iced's own arithmetic over our registers.
fn reference_address(insn: &Instruction, operand: u32, regs: &Registers) -> Option<u64> {
    insn.virtual_address(operand, 0, |register, _, _| {
        Some(match register {
            Register::FS => regs.fs,
            Register::GS => regs.gs,
            Register::CS | Register::DS | Register::ES | Register::SS => 0,
            Register::RIP | Register::EIP => regs.rip,
            _ => {
                let full = regs.gpr[register.number()];
                if register.is_gpr32() { full & 0xffff_ffff } else { full }
            }
        })
    })
}

fn expected_mnemonic(op: &Op) -> Vec<Mnemonic> {
    use Mnemonic::*;
    match op {
        Op::System(system) => match system {
            System::ReadCr { .. } | System::WriteCr { .. } | System::ReadDr { .. } | System::WriteDr { .. } => {
                [Mov].into()
            }
            System::Clts => [Clts].into(),
            System::Lmsw { .. } => [Lmsw].into(),
            System::Invd => [Invd].into(),
            System::Wbinvd => [Wbinvd, Wbnoinvd].into(),
            System::Rdmsr => [Rdmsr].into(),
            System::Wrmsr => [Wrmsr].into(),
            System::Rdtsc => [Rdtsc].into(),
            System::Rdtscp => [Rdtscp].into(),
            System::Xsetbv => [Xsetbv].into(),
            System::Cli => [Cli].into(),
            System::Sti => [Sti].into(),
            System::Invlpg(_) => [Invlpg].into(),
            System::ForcedCpuid => [Ud2].into(),
        },
        Op::Port(PortIo { input, data, .. }) => match (input, data) {
            (true, PortData::Accumulator) => [In].into(),
            (false, PortData::Accumulator) => [Out].into(),
            (true, _) => [Insb, Insw, Insd].into(),
            (false, _) => [Outsb, Outsw, Outsd].into(),
        },
        Op::Write(access) => match access.kind {
            Kind::Store(_) => [Mov, Movnti].into(),
            Kind::Xchg(_) => [Xchg].into(),
            Kind::Xadd(_) => [Xadd].into(),
            Kind::Cmpxchg(_) => [Cmpxchg].into(),
            Kind::Alu(op, _) => [match op {
                Alu::Add => Add,
                Alu::Or => Or,
                Alu::Adc => Adc,
                Alu::Sbb => Sbb,
                Alu::And => And,
                Alu::Sub => Sub,
                Alu::Xor => Xor,
            }]
            .into(),
            Kind::Bit(op, _) => [match op {
                Bit::Set => Bts,
                Bit::Reset => Btr,
                Bit::Complement => Btc,
            }]
            .into(),
            Kind::Unary(op) => [match op {
                Unary::Inc => Inc,
                Unary::Dec => Dec,
                Unary::Not => Not,
                Unary::Neg => Neg,
            }]
            .into(),
            Kind::Stos => [Stosb, Stosw, Stosd, Stosq].into(),
            Kind::Movs(_) => [Movsb, Movsw, Movsd, Movsq].into(),
        },
    }
}

fn same_register(ours: Reg, width: Width, theirs: Register) -> bool {
    let high = matches!(theirs, Register::AH | Register::CH | Register::DH | Register::BH);
    // iced numbers AH to BH 4 to 7, and SPL to DIL after them.
    let number = theirs.full_register().number();
    theirs.size() as u64 == width.bytes() && high == ours.high && number == ours.number as usize
}

fn check_source(source: Source, width: Width, insn: &Instruction) {
    match source {
        Source::Reg(reg) => assert!(same_register(reg, width, insn.op1_register()), "{reg:?} in {insn:?}"),
        Source::Imm(value) => {
            assert_eq!(
                value as u64 & width.mask(),
                insn.immediate(1) & width.mask(),
                "{insn:?}"
            );
        }
    }
}

fn check_write(access: &Access, len: u8, insn: &Instruction) {
    let mut regs = registers();
    // Registers that name bits may reach far; iced gives only the operand's own address.
    if let Kind::Bit(_, Source::Reg(reg)) = access.kind {
        regs.gpr[reg.number as usize] &= access.width.bits() as u64 - 1;
    }
    assert_eq!(insn.memory_size().size() as u64, access.width.bytes(), "{insn:?}");
    let operand = (0..insn.op_count())
        .find(|&n| {
            matches!(
                insn.op_kind(n),
                OpKind::Memory | OpKind::MemoryESRDI | OpKind::MemoryESEDI
            )
        })
        .expect("no memory operand");
    let address = reference_address(insn, operand, &regs).expect("an address");
    assert_eq!(access.address(&regs, len), address, "{insn:?}");
    match access.kind {
        Kind::Store(source) | Kind::Alu(_, source) => check_source(source, access.width, insn),
        Kind::Bit(_, Source::Imm(bit)) => assert_eq!(bit as u8, insn.immediate8()),
        Kind::Bit(_, source) => check_source(source, access.width, insn),
        Kind::Xchg(reg) | Kind::Xadd(reg) | Kind::Cmpxchg(reg) => {
            assert!(same_register(reg, access.width, insn.op1_register()), "{insn:?}");
        }
        Kind::Unary(_) => (),
        Kind::Stos | Kind::Movs(_) => {
            let Place::Rdi { rep, .. } = access.place else {
                panic!("a string goes to RDI")
            };
            assert_eq!(rep, insn.has_rep_prefix() || insn.has_repne_prefix());
        }
    }
}

fn check_port(port: &PortIo, insn: &Instruction) {
    match port.data {
        PortData::Accumulator => {
            let (accumulator, number) = if port.input { (0, 1) } else { (1, 0) };
            assert_eq!(
                insn.op_register(accumulator).size() as u64,
                port.width.bytes(),
                "{insn:?}"
            );
            match port.port {
                Some(imm) => assert_eq!(imm, insn.immediate8()),
                None => assert_eq!(insn.op_register(number), Register::DX),
            }
        }
        PortData::String { rep, .. } => {
            assert_eq!(insn.memory_size().size() as u64, port.width.bytes(), "{insn:?}");
            assert_eq!(rep, insn.has_rep_prefix() || insn.has_repne_prefix());
        }
    }
}

fn check_system(system: &System, len: u8, insn: &Instruction) {
    let gpr = |n: u8, register: Register| assert_eq!(n as usize, register.full_register().number(), "{insn:?}");
    match *system {
        System::ReadCr { cr, gpr: n } | System::ReadDr { dr: cr, gpr: n } => {
            gpr(n, insn.op0_register());
            assert_eq!(cr as usize, insn.op1_register().number());
        }
        System::WriteCr { cr, gpr: n } | System::WriteDr { dr: cr, gpr: n } => {
            gpr(n, insn.op1_register());
            assert_eq!(cr as usize, insn.op0_register().number());
        }
        System::Lmsw { gpr: n } => gpr(n, insn.op0_register()),
        System::Invlpg(mem) => {
            let regs = registers();
            assert_eq!(
                Some(mem.address(&regs, len, 0)),
                reference_address(insn, 0, &regs),
                "{insn:?}"
            );
        }
        _ => (),
    }
}

/// Where ours accepts, iced agrees on everything.
fn check_against_reference(code: &[u8]) {
    let Ok(ours) = decode(&Fetched::from_slice(code)) else {
        return;
    };
    let theirs = reference(code);
    if ours.op == Op::System(System::ForcedCpuid) {
        assert!(code.starts_with(&[0x0f, 0x0b, b'x', b'e', b'n', 0x0f, 0xa2]));
        assert_eq!(ours.len, 7);
        return;
    }
    assert!(!theirs.is_invalid(), "{code:02x?}: ours {ours:?}");
    assert_eq!(
        ours.len as usize,
        theirs.len(),
        "{code:02x?}: ours {ours:?}, theirs {theirs:?}"
    );
    let mnemonics = expected_mnemonic(&ours.op);
    assert!(
        mnemonics.contains(&theirs.mnemonic()),
        "{code:02x?}: ours {ours:?}, theirs {theirs:?}"
    );
    match &ours.op {
        Op::Write(access) => check_write(access, ours.len, &theirs),
        Op::Port(port) => check_port(port, &theirs),
        Op::System(system) => check_system(system, ours.len, &theirs),
    }
}

/// Is this one that ours has to accept? System instructions with prefixes that mean nothing to them need not be.
fn is_wanted(code: &[u8], insn: &Instruction) -> bool {
    use Mnemonic::*;
    let writes_memory = insn.op0_kind() == OpKind::Memory;
    match insn.mnemonic() {
        Add | Or | Adc | Sbb | And | Sub | Xor | Mov | Xchg | Cmpxchg | Xadd | Bts | Btr | Btc | Inc | Dec | Not
        | Neg | Movnti => {
            let special = |r: Register| r.is_segment_register();
            writes_memory
                && !(insn.op_count() == 2 && insn.op1_kind() == OpKind::Register && special(insn.op1_register()))
        }
        In | Out | Insb | Insw | Insd | Outsb | Outsw | Outsd | Stosb | Stosw | Stosd | Stosq | Movsb | Movsw
        | Movsq | Cli | Sti => true,
        Clts | Invd | Wbinvd | Wbnoinvd | Rdmsr | Wrmsr | Rdtsc | Rdtscp | Xsetbv | Invlpg => {
            let prefixes = code.iter().take_while(|byte| **byte != 0x0f);
            !prefixes
                .into_iter()
                .any(|byte| matches!(byte, 0x66 | 0xf0 | 0xf2 | 0xf3))
        }
        _ => false,
    }
}

/// Encodings near what guests use: prefixes, an opcode that is likely in our tables, random operands.
fn likely_code() -> impl Strategy<Value = Vec<u8>> {
    let prefix = prop::sample::select(&[0xf0u8, 0x66, 0x67, 0xf2, 0xf3, 0x64, 0x65, 0x2e, 0x3e][..]);
    let one = prop::sample::select(
        &[
            0x00u8, 0x01, 0x08, 0x09, 0x11, 0x19, 0x20, 0x21, 0x29, 0x31, 0x39, 0x6c, 0x6d, 0x6e, 0x6f, 0x80, 0x81,
            0x83, 0x86, 0x87, 0x88, 0x89, 0xa2, 0xa3, 0xa4, 0xa5, 0xaa, 0xab, 0xc6, 0xc7, 0xe4, 0xe5, 0xe6, 0xe7, 0xec,
            0xed, 0xee, 0xef, 0xf4, 0xf6, 0xf7, 0xfa, 0xfb, 0xfe, 0xff,
        ][..],
    )
    .prop_map(|byte| [byte].to_vec());
    let two = prop::sample::select(
        &[
            0x01u8, 0x06, 0x08, 0x09, 0x0b, 0x20, 0x21, 0x22, 0x23, 0x30, 0x31, 0x32, 0xa2, 0xa3, 0xab, 0xb0, 0xb1,
            0xb3, 0xba, 0xbb, 0xc0, 0xc1, 0xc3, 0xc7,
        ][..],
    )
    .prop_map(|byte| [0x0f, byte].to_vec());
    let rex = prop::option::of(0x40u8..=0x4f);
    let operands = prop::collection::vec(any::<u8>(), 13);
    (
        prop::collection::vec(prefix, 0..3),
        rex,
        prop_oneof![one, two],
        operands,
    )
        .prop_map(|(prefixes, rex, opcode, operands)| {
            let mut code = prefixes;
            code.extend(rex);
            code.extend(opcode);
            code.extend(operands);
            code.truncate(MAX_LEN);
            code
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn agrees_with_reference(code in likely_code()) {
        check_against_reference(&code);
    }

    #[test]
    fn agrees_with_reference_on_noise(code in prop::collection::vec(any::<u8>(), 15)) {
        check_against_reference(&code);
    }

    #[test]
    fn accepts_what_is_wanted(code in likely_code()) {
        let theirs = reference(&code);
        if !theirs.is_invalid() && is_wanted(&code, &theirs) {
            let ours = decode(&Fetched::from_slice(&code));
            prop_assert!(ours.is_ok(), "{:02x?} is {:?} {:?}", code, theirs.code(), theirs);
        }
    }

    #[test]
    fn refuses_every_truncation(code in likely_code()) {
        if let Ok(insn) = decode(&Fetched::from_slice(&code)) {
            for len in 0..insn.len as usize {
                prop_assert_eq!(decode(&Fetched::from_slice(&code[..len])), Err(Refused));
            }
        }
    }

    #[test]
    fn arithmetic_matches_wide_integers(
        op in prop::sample::select(&[Alu::Add, Alu::Adc, Alu::Sub, Alu::Sbb, Alu::And, Alu::Or, Alu::Xor][..]),
        width in prop::sample::select(&[Width::B1, Width::B2, Width::B4, Width::B8][..]),
        old in prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), Just(1 << 63), Just(0x80)],
        right in prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), Just(1), Just(0x7f)],
        carry in any::<bool>(),
    ) {
        check_arithmetic(op, width, old & width.mask(), right & width.mask(), carry);
    }
}

fn check_arithmetic(op: Alu, width: Width, old: u64, right: u64, carry: bool) {
    let mut regs = registers();
    regs.rflags = 0x202 | carry as u64;
    regs.gpr[3] = right;
    let reg = Reg { number: 3, high: false };
    let mem = Mem {
        base: Base::None,
        index: None,
        disp: 0,
        segment: Segment::Flat,
        addr32: false,
    };
    let access = Access {
        kind: Kind::Alu(op, Source::Reg(reg)),
        width,
        place: Place::Mem(mem),
    };
    let out = access.apply(&regs, old, 0);
    let signed = |v: u64| ((v << (64 - width.bits())) as i64 >> (64 - width.bits())) as i128;
    let c = carry as i128;
    let (unsigned, sum) = match op {
        Alu::Add => (old as i128 + right as i128, signed(old) + signed(right)),
        Alu::Adc => (old as i128 + right as i128 + c, signed(old) + signed(right) + c),
        Alu::Sub => (old as i128 - right as i128, signed(old) - signed(right)),
        Alu::Sbb => (old as i128 - right as i128 - c, signed(old) - signed(right) - c),
        Alu::And => ((old & right) as i128, signed(old & right)),
        Alu::Or => ((old | right) as i128, signed(old | right)),
        Alu::Xor => ((old ^ right) as i128, signed(old ^ right)),
    };
    let new = unsigned as u64 & width.mask();
    assert_eq!(out.new, new);
    assert_eq!(
        out.rflags & 1 != 0,
        unsigned < 0 || unsigned > width.mask() as i128,
        "CF"
    );
    assert_eq!(
        out.rflags >> 2 & 1 != 0,
        (new & 0xff).count_ones().is_multiple_of(2),
        "PF"
    );
    assert_eq!(out.rflags >> 6 & 1 != 0, new == 0, "ZF");
    assert_eq!(out.rflags >> 7 & 1 != 0, signed(new) < 0, "SF");
    assert_eq!(out.rflags >> 11 & 1 != 0, signed(new) != sum, "OF");
    assert_eq!(out.rflags & !0x8d5, 0x202, "the rest stays");
}

/// Decodes one store-like instruction.
fn decode_write(code: &[u8]) -> (Access, u8) {
    match decode(&Fetched::from_slice(code)) {
        Ok(Insn {
            op: Op::Write(access),
            len,
        }) => (access, len),
        other => panic!("{code:02x?} gives {other:?}"),
    }
}

/// What Linux executes on a read-only page table.
#[test]
fn page_table_writes_of_linux() {
    let mut regs = registers();
    regs.gpr[7] = 0xffff_8880_0123_4560;
    // lock and byte [rdi], 0xfd: ptep_set_wrprotect.
    let (access, len) = decode_write(&[0xf0, 0x80, 0x27, 0xfd]);
    assert_eq!((access.address(&regs, len), len), (regs.gpr[7], 4));
    assert_eq!(access.apply(&regs, 0x67, 0).new, 0x65);
    // lock btr qword [rdi], 5: ptep_test_and_clear_young.
    let (access, len) = decode_write(&[0xf0, 0x48, 0x0f, 0xba, 0x37, 0x05]);
    let out = access.apply(&regs, 0x8000_0000_1234_5067, 0);
    assert_eq!((len, out.new, out.rflags & 1), (6, 0x8000_0000_1234_5047, 1));
    // xchg rax, [rdi]: ptep_get_and_clear.
    regs.gpr[0] = 0;
    let (access, _) = decode_write(&[0x48, 0x87, 0x07]);
    let out = access.apply(&regs, 0x1067, 0);
    assert_eq!((out.new, out.reg), (0, Some((Reg::RAX, 0x1067))));
    // mov [rdi], rsi.
    let (access, _) = decode_write(&[0x48, 0x89, 0x37]);
    assert_eq!(access.apply(&regs, 1, 0).new, regs.gpr[6]);
    // lock cmpxchg [rdi], rsi, equal and not.
    let (access, _) = decode_write(&[0xf0, 0x48, 0x0f, 0xb1, 0x37]);
    regs.gpr[0] = 0x1067;
    let out = access.apply(&regs, 0x1067, 0);
    assert_eq!((out.new, out.reg, out.rflags & 0x40), (regs.gpr[6], None, 0x40));
    let out = access.apply(&regs, 0x2067, 0);
    assert_eq!(
        (out.new, out.reg, out.rflags & 0x40),
        (0x2067, Some((Reg::RAX, 0x2067)), 0)
    );
}

#[test]
fn bit_numbers_in_registers_reach_beyond_the_operand() {
    let mut regs = registers();
    regs.gpr[7] = 0x1000;
    // bts [rdi], rsi
    let (access, len) = decode_write(&[0x48, 0x0f, 0xab, 0x37]);
    for (bit, address, new) in [(0u64, 0x1000u64, 1u64), (65, 0x1008, 2), (-1i64 as u64, 0xff8, 1 << 63)] {
        regs.gpr[6] = bit;
        assert_eq!(access.address(&regs, len), address);
        assert_eq!(access.apply(&regs, 0, 0).new, new);
    }
}

#[test]
fn unary_operations_keep_the_carry() {
    let mut regs = registers();
    regs.rflags = 0x203;
    let (inc, _) = decode_write(&[0x48, 0xff, 0x07]);
    let out = inc.apply(&regs, u64::MAX, 0);
    assert_eq!((out.new, out.rflags & 0x41), (0, 0x41));
    let (neg, _) = decode_write(&[0x48, 0xf7, 0x1f]);
    let out = neg.apply(&regs, 0, 0);
    assert_eq!((out.new, out.rflags & 0x41), (0, 0x40));
    let (not, _) = decode_write(&[0xf6, 0x17]);
    assert_eq!(not.apply(&regs, 0x0f, 0).new, 0xf0);
}

#[test]
fn register_writes_follow_the_width() {
    let mut regs = registers();
    regs.gpr[1] = 0x1111_2222_3333_4444;
    Reg { number: 1, high: true }.write(&mut regs, Width::B1, 0xab);
    assert_eq!(regs.gpr[1], 0x1111_2222_3333_ab44);
    Reg { number: 1, high: false }.write(&mut regs, Width::B2, 0xcdef);
    assert_eq!(regs.gpr[1], 0x1111_2222_3333_cdef);
    Reg { number: 1, high: false }.write(&mut regs, Width::B4, 0x8000_0000);
    assert_eq!(regs.gpr[1], 0x8000_0000);
}

#[test]
fn forced_prefix_takes_cpuid_only() {
    let forced = [0x0f, 0x0b, b'x', b'e', b'n', 0x0f, 0xa2];
    assert_eq!(
        decode(&Fetched::from_slice(&forced)),
        Ok(Insn {
            len: 7,
            op: Op::System(System::ForcedCpuid)
        })
    );
    let other = [0x0f, 0x0b, b'x', b'e', b'n', 0x0f, 0x31];
    assert_eq!(decode(&Fetched::from_slice(&other)), Err(Refused));
    assert_eq!(decode(&Fetched::from_slice(&[0x0f, 0x0b, 0x90])), Err(Refused));
}

#[test]
fn lock_is_refused_where_invalid() {
    for code in [
        &[0xf0, 0x48, 0x89, 0x07][..],
        &[0xf0, 0x48, 0x87, 0xc3],
        &[0xf0, 0xf3, 0x48, 0xab],
        &[0xf0, 0xee],
    ] {
        assert_eq!(decode(&Fetched::from_slice(code)), Err(Refused), "{code:02x?}");
        assert_eq!(reference(code).code(), Code::INVALID);
    }
}

/// The quick decoder accepts only what the full one does, and means the same.
fn check_quick(code: &[u8; 8], old: u64) -> bool {
    let regs = registers();
    let Some(quick) = quick::decode(u64::from_le_bytes(*code), &regs) else {
        return false;
    };
    let (access, len) = decode_write(code);
    assert_eq!(
        (len, access.address(&regs, len)),
        (quick.len, quick.address),
        "{code:02x?}"
    );
    let (shift, mask) = ((quick.address & 7) * 8, access.width.mask());
    let shift = if access.width == Width::B1 { shift } else { 0 };
    let full = access.apply(&regs, old >> shift & mask, 0);
    let new = old & !(mask << shift) | full.new << shift;
    assert_eq!(
        (new, full.rflags),
        quick.change.apply(old, quick.address, &regs),
        "{code:02x?}"
    );
    match quick.change {
        quick::Change::Exchange(reg) => assert_eq!(
            full.reg,
            Some((
                Reg {
                    number: reg,
                    high: false
                },
                old
            ))
        ),
        _ => assert_eq!(full.reg, None),
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    #[test]
    fn quick_decoder_agrees_with_the_full_one(
        prefix in prop::option::of(prop::sample::select(&[0xf0u8, 0x3e, 0x66][..])),
        rex in prop::option::of(0x40u8..=0x4f),
        opcode in prop::sample::select(&[0x80u16, 0x87, 0x89, 0xba0f, 0xb10f, 0x81][..]),
        operands in any::<[u8; 8]>(),
        old in any::<u64>(),
    ) {
        let opcode = opcode.to_le_bytes().into_iter().take(1 + (opcode > 0xff) as usize);
        let code: Vec<u8> = prefix.into_iter().chain(rex).chain(opcode).chain(operands).take(8).collect();
        check_quick(&code.try_into().expect("eight bytes"), old);
    }
}

#[test]
fn quick_decoder_takes_what_linux_uses() {
    for code in [
        [0xf0, 0x80, 0x27, 0xfd, 0x90, 0x90, 0x90, 0x90],
        [0x3e, 0x41, 0x80, 0x24, 0x24, 0xfd, 0x48, 0x83],
        [0xf0, 0x48, 0x0f, 0xba, 0x37, 0x05, 0x90, 0x90],
        [0x3e, 0x49, 0x0f, 0xba, 0x74, 0x24, 0x08, 0x05],
        [0x48, 0x87, 0x07, 0x90, 0x90, 0x90, 0x90, 0x90],
        [0x48, 0x89, 0x37, 0x90, 0x90, 0x90, 0x90, 0x90],
    ] {
        assert!(check_quick(&code, 0x8000_0000_1234_5067), "{code:02x?}");
    }
}
