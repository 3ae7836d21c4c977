# Ways into the hypervisor and out of it. AT&T syntax; names in braces are constants given by entry.rs.
#
# Every entry leaves the same frame, UserRegs, on a stack of this CPU:
#   r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi | code+vector | rip cs rflags rsp ss
# From a guest the frame ends where CpuInfo begins, so CpuInfo's fields stand at {INFO}+offset from it.

.macro SAVE_REGS
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %rax
    push %r8
    push %r9
    push %r10
    push %r11
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    xor %ebp, %ebp              # backtraces end here
    cld
.endm

.macro RESTORE_REGS
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rax
    pop %rcx
    pop %rdx
    pop %rsi
    pop %rdi
.endm

# A guest, or a fault inside a guest copy, may come in with AC set, which would switch SMAP off.
.macro CLOSE_USER_ACCESS
    cmpb $0, paravane_smap(%rip)
    je 9f
    clac
9:
.endm

.section .text.entry, "ax"

# --- syscall -------------------------------------------------------------------------------------------------
# One stub a CPU: the only code that knows its CPU without a stack. 64 bytes each; MSR_LSTAR points at the first
# half, MSR_CSTAR at the second.
.balign 64
.global paravane_syscall_stubs
paravane_syscall_stubs:
.set cpu, 0
.rept {NR_CPUS}
    .balign 128
    mov %rsp, paravane_stacks + cpu * {STRIDE} + {TOP} + {SCRATCH}(%rip)
    lea paravane_stacks + cpu * {STRIDE} + {TOP}(%rip), %rsp
    pushq ${GUEST_SS}
    pushq paravane_stacks + cpu * {STRIDE} + {TOP} + {SCRATCH}(%rip)
    push %r11
    pushq ${GUEST_CS64}
    push %rcx
    pushq ${SYSCALL_ENTRY}
    jmp syscall_entry
    .balign 64
    mov %rsp, paravane_stacks + cpu * {STRIDE} + {TOP} + {SCRATCH}(%rip)
    lea paravane_stacks + cpu * {STRIDE} + {TOP}(%rip), %rsp
    pushq ${GUEST_SS}
    pushq paravane_stacks + cpu * {STRIDE} + {TOP} + {SCRATCH}(%rip)
    push %r11
    pushq ${GUEST_CS32}
    push %rcx
    pushq $0
    jmp compat_syscall_entry
    .set cpu, cpu + 1
.endr

.balign 64
# On the stack: code+vector rip cs rflags rsp ss. rcx and r11 are saved in there, and free.
syscall_entry:
    mov {ENTRY}+{CURRENT}(%rsp), %rcx
    cmpl $0, {KERNEL_MODE}(%rcx)
    je user_syscall
    cmp ${IRET}, %rax
    je iret_to_user
hypercall_slow:
    mov 8(%rsp), %rcx
    mov 24(%rsp), %r11
    SAVE_REGS
    mov %rsp, %rdi
    call paravane_hypercall
    jmp exit_to_guest

# The commonest exit of all, written out: the iret hypercall from guest kernel to guest user. It ends in `iretq`
# with every register as the guest's frame says. What is unusual, faults included, goes the slow way (trap/iret.rs)
# with nothing changed. Frame at r11: rax r11 rcx flags rip cs rflags rsp ss.
iret_to_user:
    mov 32(%rsp), %r11
    mov %r11, %rax
    shr $43, %rax
    cmp ${ABOVE_HOLE}, %eax     # the frame is above the hypervisor's hole
    jb iret_slow
    cmpb $0, paravane_smap(%rip)
    jne iret_slow
    cmpq $0, {USER_CR3}(%rcx)
    je iret_slow
    mov {VCPU_INFO}(%rcx), %rax
    cmpb $0, (%rax)             # an upcall is pending
    jne iret_slow
10: movzwl 40(%r11), %eax       # cs
    mov %rax, 16(%rsp)
    and $3, %eax
    cmp $3, %eax
    jne iret_slow
11: mov 48(%r11), %rax          # rflags; with IF clear the upcall mask would be set
    test ${FLAG_IF}, %eax
    jz iret_slow
    and ${USER_FLAGS}, %eax
    mov %rax, 24(%rsp)
12: movzwl 64(%r11), %eax       # ss
    or $3, %eax
    mov %rax, 40(%rsp)
13: mov 32(%r11), %rax          # rip
    mov %rax, 8(%rsp)
14: mov (%r11), %rax
    mov %rax, (%rsp)
15: mov 16(%r11), %rax          # rcx
    mov %rax, {ENTRY}+{SCRATCH}(%rsp)
16: mov 56(%r11), %rax          # rsp
17: mov 8(%r11), %r11
    mov %rax, 32(%rsp)
    mov {VCPU_INFO}(%rcx), %rax
    movb $0, 1(%rax)
    movl $0, {KERNEL_MODE}(%rcx)
    swapgs
    mov {USER_CR3}(%rcx), %rax
    mov %rax, %cr3
    incq {ENTRY}+{FAST_IRETS}(%rsp)
    pop %rax
    mov {ENTRY}-8+{SCRATCH}(%rsp), %rcx
18: iretq
iret_slow:
    mov ${IRET}, %eax
    jmp hypercall_slow
.pushsection .ex_table, "a"
    .balign 8
    .quad 10b, iret_slow
    .quad 11b, iret_slow
    .quad 12b, iret_slow
    .quad 13b, iret_slow
    .quad 14b, iret_slow
    .quad 15b, iret_slow
    .quad 16b, iret_slow
    .quad 17b, iret_slow
    .quad 18b, exit_fault
.popsection

# The commonest entry: a system call of guest user space, with a kernel whose callback masks events and whose stack
# is above the hole (Hot::fast_syscall and Hot::frame_sp are 0 otherwise). No events are masked in user mode, so the
# saved flags keep their IF, and the saved mask is 0. Frame at rdx: rcx r11 rip cs rflags rsp ss.
user_syscall:
    mov {FAST_SYSCALL}(%rcx), %r11
    test %r11, %r11
    jz user_syscall_slow
    push %rax
    push %rdx
    mov {VCPU_INFO}(%rcx), %rax
    cmpb $0, 1(%rax)
    jne 2f
    mov {FRAME_SP}(%rcx), %rdx
    test %rdx, %rdx
    jz 2f
    cmpb $0, paravane_smap(%rip)
    jne 2f
    movb $1, 1(%rax)
    movl $1, {KERNEL_MODE}(%rcx)
    swapgs
    mov {KERNEL_CR3}(%rcx), %rax
    mov %rax, %cr3
    mov 24(%rsp), %rax
20: mov %rax, (%rdx)
21: mov %rax, 16(%rdx)
    mov 40(%rsp), %rax
22: mov %rax, 8(%rdx)
23: mov %rax, 32(%rdx)
    mov 48(%rsp), %rax
24: mov %rax, 40(%rdx)
25: movq ${GUEST_CS64}, 24(%rdx)
26: movq ${GUEST_SS}, 48(%rdx)
    incq 16+{ENTRY}+{FAST_SYSCALLS}(%rsp)
    mov %rdx, 48(%rsp)
    mov %r11, %rcx
    mov ${KERNEL_FLAGS}, %r11d
    pop %rdx
    pop %rax
    mov 32(%rsp), %rsp
    sysretq
2:  pop %rdx
    pop %rax
user_syscall_slow:
    mov 8(%rsp), %rcx
    mov 24(%rsp), %r11
    SAVE_REGS
    mov %rsp, %rdi
    call paravane_user_syscall
    jmp exit_to_guest
user_syscall_fault:
    pop %rdx
    pop %rax
    mov 8(%rsp), %rcx
    mov 24(%rsp), %r11
    SAVE_REGS
    mov %rsp, %rdi
    call paravane_bounce_fault
    jmp exit_to_guest
.pushsection .ex_table, "a"
    .balign 8
    .quad 20b, user_syscall_fault
    .quad 21b, user_syscall_fault
    .quad 22b, user_syscall_fault
    .quad 23b, user_syscall_fault
    .quad 24b, user_syscall_fault
    .quad 25b, user_syscall_fault
    .quad 26b, user_syscall_fault
.popsection

compat_syscall_entry:
    SAVE_REGS
    mov %rsp, %rdi
    call paravane_compat_syscall
    jmp exit_to_guest

# --- exceptions and interrupts -------------------------------------------------------------------------------
.balign 16
.global paravane_vector_stubs
paravane_vector_stubs:
.set v, 0
.rept 256
    .balign 16
    .if (v == 8) || ((v >= 10) && (v <= 14)) || (v == 17) || (v == 21) || (v == 29) || (v == 30)
    .else
    pushq $0
    .endif
    movl $v, 4(%rsp)
    .if (v == 2) || (v == 8) || (v == 18)
    jmp ist_entry
    .elseif v == 1
    jmp debug_entry
    .elseif (v >= 32) && (v != 0x80)
    jmp interrupt_entry
    .else
    jmp exception_entry
    .endif
    .set v, v + 1
.endr

.balign 64
exception_entry:
    SAVE_REGS
    CLOSE_USER_ACCESS
    mov %rsp, %rdi
    call paravane_exception
    testb $3, {CS}(%rsp)
    jnz exit_to_guest
    RESTORE_REGS
    add $8, %rsp
    iretq

.balign 64
interrupt_entry:
    SAVE_REGS
    CLOSE_USER_ACCESS
    mov %rsp, %rdi
    call paravane_interrupt
    testb $3, {CS}(%rsp)
    jnz exit_to_guest
    RESTORE_REGS
    add $8, %rsp
    iretq

# NMI, #DF and #MC stay on their own stack and go back where they came from: work they raise waits for the next
# ordinary exit (a kick to ourselves makes that soon).
ist_entry:
    SAVE_REGS
    CLOSE_USER_ACCESS
    mov %rsp, %rdi
    call paravane_ist
    RESTORE_REGS
    add $8, %rsp
    iretq

# #DB has its own stack since `mov ss` can delay it into the first instruction of a syscall stub, where rsp is the
# guest's. One that comes from ring 3 moves to the main stack and is then like any other exception.
debug_entry:
    SAVE_REGS
    CLOSE_USER_ACCESS
    testb $3, {CS}(%rsp)
    jz 1f
    mov %rsp, %rsi
    mov %rsp, %rdi
    or $({STRIDE} - 1), %rdi
    sub $({STRIDE} - 1 - {TOP} + {FRAME}), %rdi
    mov %rdi, %rax
    mov $({FRAME} / 8), %ecx
    rep movsq
    mov %rax, %rsp
    mov %rsp, %rdi
    call paravane_exception
    jmp exit_to_guest
1:  mov %rsp, %rdi
    call paravane_ist
    RESTORE_REGS
    add $8, %rsp
    iretq

# --- the way out ---------------------------------------------------------------------------------------------
.balign 64
.global exit_to_guest
exit_to_guest:
    cmpl $0, {INFO}+{WORK}(%rsp)
    jne exit_slow
    mov {INFO}+{CURRENT}(%rsp), %rbx
    mov {VCPU_INFO}(%rbx), %rax
    cmpw $1, (%rax)             # upcall pending, and not masked
    je exit_slow
exit_restore:
    cmpq ${SYSCALL_ENTRY}, {SLOT}(%rsp)
    jne 1f
    # sysret faults in ring 0 on a non-canonical rip: let iret have those.
    mov {RIP}(%rsp), %rcx
    mov %rcx, %rax
    shl $16, %rax
    sar $16, %rax
    cmp %rcx, %rax
    jne 1f
    incq {INFO}+{SYSRETS}(%rsp)
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    add $8, %rsp
    pop %r10
    pop %r9
    pop %r8
    pop %rax
    add $8, %rsp
    pop %rdx
    pop %rsi
    pop %rdi
    mov 24(%rsp), %r11
    mov 32(%rsp), %rsp
    sysretq

1:  incq {INFO}+{IRETS}(%rsp)
    RESTORE_REGS
    add $8, %rsp
2:  iretq
.pushsection .ex_table, "a"
    .balign 8
    .quad 2b, exit_fault
.popsection

exit_slow:
    mov %rsp, %rdi
    call paravane_exit_work
    jmp exit_restore

# The exit iret met a selector or an address that the guest may not have: its failsafe callback hears of it. rsp
# stands again at the iret frame, and all other registers are the guest's.
exit_fault:
    pushq $0
    SAVE_REGS
    mov %rsp, %rdi
    call paravane_failsafe
    jmp exit_to_guest

# First entry into the guest of a CPU that has just come up: the frame has been filled, or the idle vcpu runs.
.global paravane_enter_guest
paravane_enter_guest:
    mov %rsp, %rdi
    or $({STRIDE} - 1), %rdi
    sub $({STRIDE} - 1 - {TOP} + {FRAME}), %rdi
    mov %rdi, %rsp
    xor %ebp, %ebp
    jmp exit_slow
