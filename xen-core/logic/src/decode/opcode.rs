//! Prefixes, opcode, ModRM, SIB, displacement, immediate.

use super::access::{Access, Alu, Bit, Kind, Place, Source, Unary};
use super::bytes::{Fetched, Reader};
use super::operand::{Base, Mem, Reg, Segment, Width};
use super::{FORCED_PREFIX, Insn, Op, PortData, PortIo, Refused, System};

/// Prefixes, collected.
struct Prefixes {
    /// The REX byte, 0 where there is none.
    rex: u8,
    /// 0x66.
    data16: bool,
    /// 0x67.
    addr32: bool,
    /// 0xf0.
    lock: bool,
    /// The last of 0xf2 and 0xf3, or 0.
    repeat: u8,
    segment: Segment,
}

impl Prefixes {
    #[inline]
    fn width(&self) -> Width {
        match (self.rex & 8 != 0, self.data16) {
            (true, _) => Width::B8,
            (false, true) => Width::B2,
            (false, false) => Width::B4,
        }
    }

    /// Width of an instruction whose lowest opcode bit tells byte from word.
    #[inline]
    fn width_of(&self, opcode: u8) -> Width {
        if opcode & 1 == 0 { Width::B1 } else { self.width() }
    }

    /// Port accesses have no 64-bit form.
    fn port_width(&self, opcode: u8) -> Width {
        match opcode & 1 == 0 {
            true => Width::B1,
            false if self.data16 && self.rex & 8 == 0 => Width::B2,
            false => Width::B4,
        }
    }
}

/// A ModRM byte with what follows it; the register field has REX.R added.
struct ModRm {
    reg: u8,
    rm: Rm,
}

enum Rm {
    Gpr(u8),
    Mem(Mem),
}

impl ModRm {
    #[inline]
    fn mem(self) -> Result<Mem, Refused> {
        match self.rm {
            Rm::Mem(mem) => Ok(mem),
            Rm::Gpr(_) => Err(Refused),
        }
    }
}

#[inline]
pub(super) fn decode(code: &Fetched) -> Result<Insn, Refused> {
    let mut reader = Reader::new(code);
    let (prefixes, opcode) = read_prefixes(&mut reader)?;
    let op = match opcode {
        0x0f => two_byte(code, &mut reader, &prefixes)?,
        _ => one_byte(&mut reader, &prefixes, opcode)?,
    };
    Ok(Insn {
        len: reader.finish()?,
        op,
    })
}

#[inline]
fn read_prefixes(reader: &mut Reader) -> Result<(Prefixes, u8), Refused> {
    let mut found = Prefixes {
        rex: 0,
        data16: false,
        addr32: false,
        lock: false,
        repeat: 0,
        segment: Segment::Flat,
    };
    while reader.in_reach() {
        let byte = reader.u8();
        match byte {
            0x40..=0x4f => {
                // REX counts only right before the opcode.
                found.rex = byte;
                continue;
            }
            0x66 => found.data16 = true,
            0x67 => found.addr32 = true,
            0xf0 => found.lock = true,
            0xf2 | 0xf3 => found.repeat = byte,
            // In 64-bit code these change nothing, not even an FS or GS before them.
            0x26 | 0x2e | 0x36 | 0x3e => (),
            0x64 => found.segment = Segment::Fs,
            0x65 => found.segment = Segment::Gs,
            opcode => return Ok((found, opcode)),
        }
        found.rex = 0;
    }
    Err(Refused)
}

/// Reads ModRM, SIB and displacement.
#[inline]
fn read_modrm(reader: &mut Reader, prefixes: &Prefixes) -> ModRm {
    let byte = reader.u8();
    let rex = prefixes.rex;
    let (mode, reg, rm) = (byte >> 6, (byte >> 3 & 7) | (rex & 4) << 1, byte & 7);
    let rex_b = (rex & 1) << 3;
    if mode == 3 {
        return ModRm {
            reg,
            rm: Rm::Gpr(rm | rex_b),
        };
    }
    let mut mem = Mem {
        base: Base::Gpr(rm | rex_b),
        index: None,
        disp: 0,
        segment: prefixes.segment,
        addr32: prefixes.addr32,
    };
    let mut low_base = rm;
    if rm == 4 {
        let sib = reader.u8();
        low_base = sib & 7;
        mem.base = Base::Gpr(low_base | rex_b);
        let index = (sib >> 3 & 7) | (rex & 2) << 2;
        if index != 4 {
            mem.index = Some((index, sib >> 6));
        }
    }
    match mode {
        0 if low_base == 5 => {
            mem.base = if rm == 4 { Base::None } else { Base::NextRip };
            mem.disp = reader.i32();
        }
        0 => (),
        1 => mem.disp = reader.i8(),
        _ => mem.disp = reader.i32(),
    }
    ModRm { reg, rm: Rm::Mem(mem) }
}

fn read_imm(reader: &mut Reader, width: Width) -> i64 {
    match width {
        Width::B1 => reader.i8(),
        Width::B2 => reader.i16(),
        Width::B4 | Width::B8 => reader.i32(),
    }
}

/// An instruction that writes the memory operand `mem`.
#[inline]
fn write(kind: Kind, width: Width, mem: Mem) -> Result<Op, Refused> {
    Ok(Op::Write(Access {
        kind,
        width,
        place: Place::Mem(mem),
    }))
}

fn arithmetic(number: u8) -> Result<Alu, Refused> {
    Ok(match number & 7 {
        0 => Alu::Add,
        1 => Alu::Or,
        2 => Alu::Adc,
        3 => Alu::Sbb,
        4 => Alu::And,
        5 => Alu::Sub,
        6 => Alu::Xor,
        // `cmp` writes nothing.
        _ => return Err(Refused),
    })
}

#[inline]
fn one_byte(reader: &mut Reader, prefixes: &Prefixes, opcode: u8) -> Result<Op, Refused> {
    let width = prefixes.width_of(opcode);
    // With LOCK, only a read-modify-write of memory is valid.
    let lockable = matches!(opcode, 0x00..=0x3f | 0x80..=0x83 | 0x86 | 0x87 | 0xf6 | 0xf7 | 0xfe | 0xff);
    if prefixes.lock && !lockable {
        return Err(Refused);
    }
    let register = |reg| Reg::of(reg, width, prefixes.rex != 0);
    match opcode {
        0x88 | 0x89 => {
            let modrm = read_modrm(reader, prefixes);
            write(Kind::Store(Source::Reg(register(modrm.reg))), width, modrm.mem()?)
        }
        0x86 | 0x87 => {
            let modrm = read_modrm(reader, prefixes);
            write(Kind::Xchg(register(modrm.reg)), width, modrm.mem()?)
        }
        0x80 | 0x81 | 0x83 => {
            let modrm = read_modrm(reader, prefixes);
            let imm = read_imm(reader, if opcode == 0x83 { Width::B1 } else { width });
            write(Kind::Alu(arithmetic(modrm.reg)?, Source::Imm(imm)), width, modrm.mem()?)
        }
        0x00..=0x3f if opcode & 7 <= 1 => {
            let modrm = read_modrm(reader, prefixes);
            write(
                Kind::Alu(arithmetic(opcode >> 3)?, Source::Reg(register(modrm.reg))),
                width,
                modrm.mem()?,
            )
        }
        0xc6 | 0xc7 => {
            let modrm = read_modrm(reader, prefixes);
            let imm = read_imm(reader, width);
            // Other register fields are XABORT, XBEGIN, or invalid.
            if modrm.reg & 7 != 0 {
                return Err(Refused);
            }
            write(Kind::Store(Source::Imm(imm)), width, modrm.mem()?)
        }
        0xa2 | 0xa3 => store_absolute(reader, prefixes, width),
        0xf6 | 0xf7 | 0xfe | 0xff => one_operand(reader, prefixes, opcode, width),
        0xaa | 0xab => Ok(string_write(prefixes, Kind::Stos, width)),
        0xa4 | 0xa5 => Ok(string_write(prefixes, Kind::Movs(prefixes.segment), width)),
        0x6c..=0x6f => Ok(port_string(prefixes, opcode)),
        0xe4..=0xe7 => Ok(port_accumulator(prefixes, opcode, Some(reader.u8()))),
        0xec..=0xef => Ok(port_accumulator(prefixes, opcode, None)),
        0xfa => Ok(Op::System(System::Cli)),
        0xfb => Ok(Op::System(System::Sti)),
        _ => Err(Refused),
    }
}

/// `mov [absolute], accumulator`.
fn store_absolute(reader: &mut Reader, prefixes: &Prefixes, width: Width) -> Result<Op, Refused> {
    let disp = if prefixes.addr32 {
        reader.i32() & 0xffff_ffff
    } else {
        reader.i64()
    };
    let mem = Mem {
        base: Base::None,
        index: None,
        disp,
        segment: prefixes.segment,
        addr32: prefixes.addr32,
    };
    write(Kind::Store(Source::Reg(Reg::RAX)), width, mem)
}

fn one_operand(reader: &mut Reader, prefixes: &Prefixes, opcode: u8, width: Width) -> Result<Op, Refused> {
    let modrm = read_modrm(reader, prefixes);
    let op = match (opcode >= 0xfe, modrm.reg & 7) {
        (true, 0) => Unary::Inc,
        (true, 1) => Unary::Dec,
        (false, 2) => Unary::Not,
        (false, 3) => Unary::Neg,
        _ => return Err(Refused),
    };
    write(Kind::Unary(op), width, modrm.mem()?)
}

fn string_write(prefixes: &Prefixes, kind: Kind, width: Width) -> Op {
    let place = Place::Rdi {
        rep: prefixes.repeat != 0,
        addr32: prefixes.addr32,
    };
    Op::Write(Access { kind, width, place })
}

fn port_string(prefixes: &Prefixes, opcode: u8) -> Op {
    Op::Port(PortIo {
        input: opcode < 0x6e,
        width: prefixes.port_width(opcode),
        port: None,
        data: PortData::String {
            rep: prefixes.repeat != 0,
            addr32: prefixes.addr32,
            segment: prefixes.segment,
        },
    })
}

fn port_accumulator(prefixes: &Prefixes, opcode: u8, port: Option<u8>) -> Op {
    let (input, width) = (opcode & 2 == 0, prefixes.port_width(opcode));
    Op::Port(PortIo {
        input,
        width,
        port,
        data: PortData::Accumulator,
    })
}

#[inline]
fn two_byte(code: &Fetched, reader: &mut Reader, prefixes: &Prefixes) -> Result<Op, Refused> {
    let opcode = reader.u8();
    match opcode {
        0xa3..=0xcf => two_byte_write(reader, prefixes, opcode),
        _ => system(code, reader, prefixes, opcode),
    }
}

#[inline]
fn two_byte_write(reader: &mut Reader, prefixes: &Prefixes, opcode: u8) -> Result<Op, Refused> {
    let width = match opcode {
        0xb0 | 0xb1 | 0xc0 | 0xc1 => prefixes.width_of(opcode),
        _ => prefixes.width(),
    };
    let modrm = read_modrm(reader, prefixes);
    let reg = Reg::of(modrm.reg, width, prefixes.rex != 0);
    let kind = match opcode {
        0xab => Kind::Bit(Bit::Set, Source::Reg(reg)),
        0xb3 => Kind::Bit(Bit::Reset, Source::Reg(reg)),
        0xbb => Kind::Bit(Bit::Complement, Source::Reg(reg)),
        0xba => {
            let op = match modrm.reg & 7 {
                5 => Bit::Set,
                6 => Bit::Reset,
                7 => Bit::Complement,
                _ => return Err(Refused),
            };
            Kind::Bit(op, Source::Imm(reader.i8()))
        }
        0xb0 | 0xb1 => Kind::Cmpxchg(reg),
        0xc0 | 0xc1 => Kind::Xadd(reg),
        // `movnti`; other prefixes make other instructions of it.
        0xc3 if !prefixes.lock && !prefixes.data16 && prefixes.repeat == 0 => Kind::Store(Source::Reg(reg)),
        _ => return Err(Refused),
    };
    write(kind, width, modrm.mem()?)
}

/// The system instructions: prefixes that would make them something else, or invalid, are refused.
fn system(code: &Fetched, reader: &mut Reader, prefixes: &Prefixes, opcode: u8) -> Result<Op, Refused> {
    // A repeat prefix before wbinvd is ignored, so that older CPUs take wbnoinvd for it.
    let may_repeat = opcode == 0x09;
    if prefixes.lock || prefixes.data16 || prefixes.repeat != 0 && !may_repeat {
        return Err(Refused);
    }
    Ok(Op::System(match opcode {
        0x01 => group_7(reader, prefixes)?,
        0x06 => System::Clts,
        0x08 => System::Invd,
        0x09 => System::Wbinvd,
        0x0b if code.starts_with(&FORCED_PREFIX) => {
            reader.u8();
            reader.u8();
            reader.u8();
            match (reader.u8(), reader.u8()) {
                (0x0f, 0xa2) => System::ForcedCpuid,
                _ => return Err(Refused),
            }
        }
        0x20..=0x23 => move_special(reader, prefixes, opcode)?,
        0x30 => System::Wrmsr,
        0x31 => System::Rdtsc,
        0x32 => System::Rdmsr,
        _ => return Err(Refused),
    }))
}

/// `mov` to and from control and debug registers. ModRM always names registers, whatever its mode bits.
fn move_special(reader: &mut Reader, prefixes: &Prefixes, opcode: u8) -> Result<System, Refused> {
    let byte = reader.u8();
    let number = (byte >> 3 & 7) | (prefixes.rex & 4) << 1;
    let gpr = (byte & 7) | (prefixes.rex & 1) << 3;
    match (opcode, number) {
        (0x20, 0 | 2 | 3 | 4 | 8) => Ok(System::ReadCr { cr: number, gpr }),
        (0x22, 0 | 2 | 3 | 4 | 8) => Ok(System::WriteCr { cr: number, gpr }),
        (0x21, 0..=7) => Ok(System::ReadDr { dr: number, gpr }),
        (0x23, 0..=7) => Ok(System::WriteDr { dr: number, gpr }),
        _ => Err(Refused),
    }
}

/// `0f 01`: instructions by whole ModRM byte, or by its register field.
fn group_7(reader: &mut Reader, prefixes: &Prefixes) -> Result<System, Refused> {
    let modrm = read_modrm(reader, prefixes);
    match (modrm.reg & 7, modrm.rm) {
        (2, Rm::Gpr(rm)) if rm & 7 == 1 => Ok(System::Xsetbv),
        (6, Rm::Gpr(gpr)) => Ok(System::Lmsw { gpr }),
        (7, Rm::Gpr(rm)) if rm & 7 == 1 => Ok(System::Rdtscp),
        (7, Rm::Mem(mem)) => Ok(System::Invlpg(mem)),
        _ => Err(Refused),
    }
}
