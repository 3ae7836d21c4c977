# What a started CPU executes first, copied to a page below 1 MiB: real mode to 64 bits on the boot page tables.
#
# Real mode reaches data by cs, whose base is the page; from protected mode on by its address, in ebx.

.section .rodata.boot, "a"
.balign 16
.globl trampoline_start
trampoline_start:
.code16
    cli
    cld
    xorl %ebx, %ebx
    movw %cs, %bx
    shll $4, %ebx                       # address of this page
    movw %cs, %ax
    movw %ax, %ds
    # The two far pointers hold offsets within the page; the loader of this page made them addresses.
    lgdtl trampoline_gdt_pointer - trampoline_start
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl *(trampoline_jump32 - trampoline_start)

.code32
trampoline32:
    movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
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
    ljmpl *(trampoline_jump64 - trampoline_start)(%ebx)

.code64
trampoline64:
    movabsq $ap_start, %rax
    jmpq *%rax

.balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            # 64-bit code
    .quad 0x00cf9b000000ffff            # 32-bit code
    .quad 0x00cf93000000ffff            # data
trampoline_gdt_end:
.globl trampoline_gdt_pointer
trampoline_gdt_pointer:
    .short trampoline_gdt_end - trampoline_gdt - 1
.globl trampoline_gdt_base
trampoline_gdt_base:
    .long trampoline_gdt - trampoline_start
.globl trampoline_jump32
trampoline_jump32:
    .long trampoline32 - trampoline_start
    .short 0x10
.globl trampoline_jump64
trampoline_jump64:
    .long trampoline64 - trampoline_start
    .short 0x08
.globl trampoline_end
trampoline_end:

# In the image again, still on the boot tables: the final tables, then this CPU's stack, then Rust.
.section .text.ap_start, "ax"
.code64
ap_start:
    movq ap_cr3(%rip), %rax
    movq ap_stack(%rip), %rcx
    movq %rax, %cr3
    movq %rcx, %rsp
    lgdt boot_gdt_pointer_high(%rip)
    xorl %eax, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    xorl %ebp, %ebp
    call ap_main
1:  hlt
    jmp 1b
