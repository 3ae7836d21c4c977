//! The page of stubs that older PV kernels call instead of executing `syscall` themselves.

/// Bytes of a stub.
const STUB: usize = 32;
/// Number of the iret hypercall, which does not return.
const IRET: usize = 23;

/// Fills `page` with one stub for each hypercall number.
///
/// A stub keeps rcx and r11, which `syscall` takes: `push rcx; push r11; mov eax, N; syscall; pop r11; pop rcx; ret`.
/// That of iret leaves rax, r11 and rcx on the stack, as its frame has them.
pub fn fill(page: &mut [u8; 4096]) {
    // int3 where there is no code.
    page.fill(0xcc);
    for (number, stub) in page.chunks_exact_mut(STUB).enumerate() {
        let [n0, n1, n2, n3] = (number as u32).to_le_bytes();
        let plain = [
            0x51, 0x41, 0x53, 0xb8, n0, n1, n2, n3, 0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3,
        ];
        let iret = [
            0x51, 0x41, 0x53, 0x50, 0xb8, n0, n1, n2, n3, 0x0f, 0x05, 0x0f, 0x0b, 0xcc,
        ];
        stub[..14].copy_from_slice(if number == IRET { &iret } else { &plain });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs() {
        let mut page = [0; 4096];
        fill(&mut page);
        assert_eq!(page[..10], [0x51, 0x41, 0x53, 0xb8, 0, 0, 0, 0, 0x0f, 0x05]);
        assert_eq!(page[127 * 32 + 4], 127);
        assert_eq!(
            page[IRET * 32..IRET * 32 + 9],
            [0x51, 0x41, 0x53, 0x50, 0xb8, 23, 0, 0, 0]
        );
        assert!(page.chunks(32).all(|stub| stub[14..].iter().all(|b| *b == 0xcc)));
    }
}
