//! QEMU's multiboot loader takes 32-bit ELF files only, so the linked image goes into such a wrapper:
//! the same segments at their load addresses, and the symbol table as content of the last one.

use anyhow::{Context, Result, bail};
use object::read::elf::{ElfFile32, ElfFile64, FileHeader, ProgramHeader};
use object::{LittleEndian, elf};

use super::{LOAD_OFFSET, symbols};

const PAGE: usize = 4096;
const HEADER: usize = 52;
const PROGRAM_HEADER: usize = 32;

/// One segment to load.
#[derive(Debug)]
struct Segment {
    flags: u32,
    address: u32,
    memory: u32,
    content: Vec<u8>,
}

fn segments(elf64: &[u8]) -> Result<Vec<Segment>> {
    let file: ElfFile64<'_, LittleEndian> = ElfFile64::parse(elf64)?;
    let mut list = Vec::new();
    for header in file.elf_program_headers() {
        let memory = header.p_memsz(LittleEndian);
        // The segment of the symbol table may be empty in the linked image.
        if header.p_type(LittleEndian) != elf::PT_LOAD {
            continue;
        }
        let content = header
            .data(LittleEndian, elf64)
            .ok()
            .context("a segment lies outside of the file")?;
        list.push(Segment {
            flags: header.p_flags(LittleEndian),
            address: u32::try_from(header.p_paddr(LittleEndian)).context("a segment is loaded above 4 GiB")?,
            memory: u32::try_from(memory)?,
            content: content.to_vec(),
        });
    }
    Ok(list)
}

/// Makes the loadable file out of the linked one.
pub fn wrap(elf64: &[u8]) -> Result<Vec<u8>> {
    let mut segments = segments(elf64)?;
    let file = object::File::parse(elf64)?;
    let place = u32::try_from(symbols::address(elf64, "__ksyms")? - LOAD_OFFSET)?;
    let table = symbols::table(&file)?;
    let last = segments.last_mut().context("the linked image has no segments")?;
    if last.address != place {
        bail!("__ksyms is not in the image's last segment");
    }
    last.memory = u32::try_from(table.len())?;
    last.content = table;
    let entry = match object::Object::entry(&file) {
        high if high >= symbols::IMAGE_BASE => high - LOAD_OFFSET,
        low => low,
    };
    emit(u32::try_from(entry)?, &segments)
}

fn emit(entry: u32, segments: &[Segment]) -> Result<Vec<u8>> {
    let count = u16::try_from(segments.len())?;
    let mut file = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |file: &mut Vec<u8>, value: u16| file.extend_from_slice(&value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend_from_slice(&value.to_le_bytes());
    half(&mut file, elf::ET_EXEC);
    half(&mut file, elf::EM_386);
    for value in [1, entry, HEADER as u32, 0, 0] {
        word(&mut file, value);
    }
    for value in [HEADER as u16, PROGRAM_HEADER as u16, count, 0, 0, 0] {
        half(&mut file, value);
    }
    let mut offset = PAGE;
    for segment in segments {
        let length = u32::try_from(segment.content.len())?;
        let (offset32, address) = (u32::try_from(offset)?, segment.address);
        for value in [
            elf::PT_LOAD,
            offset32,
            address,
            address,
            length,
            segment.memory,
            segment.flags,
            PAGE as u32,
        ] {
            word(&mut file, value);
        }
        offset += segment.content.len().next_multiple_of(PAGE);
    }
    for segment in segments {
        file.resize(file.len().next_multiple_of(PAGE), 0);
        file.extend_from_slice(&segment.content);
    }
    Ok(file)
}

/// Bytes of memory from the first segment's start to the last one's end.
pub fn loaded_size(elf32: &[u8]) -> Result<u64> {
    let file: ElfFile32<'_, LittleEndian> = ElfFile32::parse(elf32)?;
    let endian = LittleEndian;
    let headers = file.elf_header().program_headers(endian, elf32)?;
    let loads = headers.iter().filter(|header| header.p_type(endian) == elf::PT_LOAD);
    let spans = loads.map(|header| (header.p_paddr(endian), header.p_paddr(endian) + header.p_memsz(endian)));
    let (first, last) = spans.fold((u32::MAX, 0), |(low, high), (start, end)| {
        (low.min(start), high.max(end))
    });
    Ok(u64::from(last.saturating_sub(first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrapper_is_an_elf32_with_page_aligned_segments() {
        let segments = [
            Segment {
                flags: 5,
                address: 0x20_0000,
                memory: 0x1000,
                content: vec![1; 10],
            },
            Segment {
                flags: 6,
                address: 0x20_1000,
                memory: 0x3000,
                content: vec![2; 5000],
            },
        ];
        let file = emit(0x20_0010, &segments).unwrap();
        let parsed: ElfFile32<'_, LittleEndian> = ElfFile32::parse(&*file).unwrap();
        let headers = parsed.elf_program_headers();
        assert_eq!(parsed.elf_header().e_entry(LittleEndian), 0x20_0010);
        assert_eq!(headers[1].p_offset(LittleEndian) % 4096, 0);
        assert_eq!(headers[1].data(LittleEndian, &*file).unwrap(), vec![2; 5000]);
        assert_eq!(loaded_size(&file).unwrap(), 0x4000);
    }
}
