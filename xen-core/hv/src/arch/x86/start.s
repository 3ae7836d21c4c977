# From the loader to Rust: Multiboot headers, long mode, the first page tables, the jump to the high half.
#
# Loaders enter start32 in 32-bit protected mode without paging, eax the Multiboot magic and ebx the address of
# the information. Until the jump, code runs at its load address, so symbols are used minus DELTA.

.set DELTA, 0xffff82d03fe00000          # link address minus load address, as in link.ld
.set NX_HIGH, 0x80000000                # upper half of a page-table entry that forbids execution

# ---- headers: within the first 8 KiB of the file ----
.section .boot.header, "ax"
.balign 8
mb1_header:
    .long 0x1BADB002                    # Multiboot 1
    .long 0x00000003                    # modules page-aligned, memory map wanted
    .long -(0x1BADB002 + 0x00000003)

.balign 8
mb2_header:
    .long 0xE85250D6                    # Multiboot 2
    .long 0                             # i386 protected mode
    .long mb2_end - mb2_header
    .long -(0xE85250D6 + 0 + (mb2_end - mb2_header))
    .balign 8
    .short 1, 0                         # information wanted:
    .long 8 + 4*6
    .long 1, 3, 6, 8, 14, 15            # command line, modules, memory map, framebuffer, ACPI 1 and 2
    .balign 8
    .short 6, 0                         # modules page-aligned
    .long 8
    .balign 8
    .short 0, 0                         # end
    .long 8
mb2_end:

# ---- 32 bits, paging off ----
.section .boot.text, "ax"
.code32
.globl start32
start32:
    cli
    cld
    movl %eax, %ebp                     # magic
    movl %ebx, %esi                     # information
    movl $(boot_stack_top - DELTA), %esp

    movl $0x80000000, %eax
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    testl $(1 << 29), %edx              # long mode
    jz no_long_mode
    testl $(1 << 20), %edx              # execute-disable
    jz no_long_mode

    # Four L2 tables: the first 4 GiB in 2 MiB pages.
    movl $(boot_l2 - DELTA), %edi
    xorl %ecx, %ecx
1:  movl %ecx, %eax
    shll $21, %eax
    orl $0xe3, %eax                     # present, writable, accessed, dirty, 2 MiB
    movl %eax, (%edi, %ecx, 8)
    movl %ecx, %eax
    shrl $11, %eax
    movl %eax, 4(%edi, %ecx, 8)
    incl %ecx
    cmpl $2048, %ecx
    jb 1b

    # One L3 for both the identity mapping and the direct map.
    movl $(boot_l3_low - DELTA), %edi
    movl $(boot_l2 - DELTA + 0x23), %eax
    movl $4, %ecx
2:  movl %eax, (%edi)
    movl $0, 4(%edi)
    addl $0x1000, %eax
    addl $8, %edi
    loop 2b

    # The image, 16 MiB of it, and CPU 0's stack.
    movl $(boot_l2_image - DELTA), %edi
    movl $(0x200000 + 0xe3), %eax
    movl $8, %ecx
3:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 3b
    movl $(boot_l2_image - DELTA + 0x23), boot_l3_hv - DELTA + 8*321
    movl $(boot_l2_stack - DELTA + 0x23), boot_l3_hv - DELTA + 8*322
    movl $(boot_l1_stack - DELTA + 0x23), boot_l2_stack - DELTA
    movl $(boot_cpu_stack - DELTA + 0x63), %eax
    movl $(boot_l1_stack - DELTA + 8 * {BOOT_STACK_FIRST_PAGE}), %edi
    movl ${BOOT_STACK_PAGES}, %ecx
4:  movl %eax, (%edi)
    movl $NX_HIGH, 4(%edi)
    addl $0x1000, %eax
    addl $8, %edi
    loop 4b

    movl $(boot_l3_low - DELTA + 0x23), boot_l4 - DELTA
    movl $(boot_l3_hv - DELTA + 0x23), boot_l4 - DELTA + 8*261
    movl $(boot_l3_low - DELTA + 0x23), boot_l4 - DELTA + 8*262

    call enter_long_mode
    lgdt boot_gdt_pointer - DELTA
    ljmp $8, $(start64 - DELTA)

# Turns on PAE, long mode with execute-disable, and paging on the boot tables. Clobbers eax, ecx, edx.
.globl enter_long_mode
enter_long_mode:
    movl $0x20, %eax                    # PAE
    movl %eax, %cr4
    movl $(boot_l4 - DELTA), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx              # EFER: LME, NXE
    rdmsr
    orl $0x900, %eax
    wrmsr
    movl $0x80010033, %eax              # PG, WP, NE, ET, MP, PE
    movl %eax, %cr0
    ret

# The message goes to the first serial port, which the firmware left as it was.
no_long_mode:
    movl $(no_long_mode_text - DELTA), %esi
5:  lodsb
    testb %al, %al
    jz 7f
    movb %al, %bl
6:  movw $0x3fd, %dx
    inb %dx, %al
    testb $0x20, %al
    jz 6b
    movw $0x3f8, %dx
    movb %bl, %al
    outb %al, %dx
    jmp 5b
7:  hlt
    jmp 7b
no_long_mode_text:
    .asciz "(PV) this CPU has no 64-bit mode with execute-disable\r\n"

# ---- 64 bits ----
.code64
start64:
    movabsq $start64_high, %rax
    jmpq *%rax
start64_high:
    lgdt boot_gdt_pointer_high(%rip)
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    movabsq ${BOOT_STACK_TOP}, %rsp
    movl %ebp, %edi                     # magic
    movl %esi, %esi                     # information
    xorl %ebp, %ebp                     # end of the frame-pointer chain
    call boot_main
8:  hlt
    jmp 8b

.section .rodata.boot, "a"
.balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            # 64-bit code
    .quad 0x00cf9b000000ffff            # 32-bit code, for the trampoline
    .quad 0x00cf93000000ffff            # data
boot_gdt_end:
.globl boot_gdt_pointer
boot_gdt_pointer:
    .short boot_gdt_end - boot_gdt - 1
    .long boot_gdt - DELTA
.balign 8
.globl boot_gdt_pointer_high
boot_gdt_pointer_high:
    .short boot_gdt_end - boot_gdt - 1
    .quad boot_gdt

# The symbol table's header; the build puts the table itself behind it when it wraps the image.
.section .ksyms, "a"
    .quad 0, 0

# ---- page tables and stack of the first steps; given back once all CPUs run ----
.section .boot.bss, "aw", @nobits
.balign 4096
.globl boot_l4
boot_l4:        .skip 4096
boot_l3_low:    .skip 4096
boot_l3_hv:     .skip 4096
boot_l2:        .skip 4*4096
boot_l2_image:  .skip 4096
boot_l2_stack:  .skip 4096
boot_l1_stack:  .skip 4096
boot_stack:     .skip 4096              # only for the calls before paging
boot_stack_top:

.section .bss.stack, "aw", @nobits
.balign 4096
.globl boot_cpu_stack
boot_cpu_stack: .skip {BOOT_STACK_PAGES} * 4096
