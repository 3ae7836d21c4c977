# Entry points of the image: start of day, further vcpus, traps, events, the way to user mode and back.
# Intel syntax. Xen enters with a frame of rcx, r11, [error code], rip, cs, rflags, rsp, ss on the kernel stack.

.set STACK_SIZE, 65536

.section .text.start, "ax", @progbits
.global _start
_start:
    cld
    lea rsp, [rip + boot_stack + STACK_SIZE]
    mov rdi, rsi
    xor ebp, ebp
    call guest_start
    ud2

# Further vcpus: rdi holds the vcpu's number, rsp its stack (both from vcpu_guest_context).
.global vcpu_entry
vcpu_entry:
    cld
    xor ebp, ebp
    call vcpu_start
    ud2

.section .text, "ax", @progbits

# The hypervisor fills this page with a way in for each hypercall, 32 bytes apart.
.balign 4096
.global hypercall_page
hypercall_page:
    .skip 4096, 0xcc

# A trap stub for each vector, 16 bytes apart; those without an error code push a zero in its place.
.macro stub vector
    .balign 16
    pop rcx
    pop r11
    push 0
    push \vector
    jmp trap_common
.endm
.macro stub_with_error vector
    .balign 16
    pop rcx
    pop r11
    push \vector
    jmp trap_common
.endm

.balign 16
.global trap_stubs
trap_stubs:
.irp number, 0, 1, 2, 3, 4, 5, 6, 7
    stub \number
.endr
    stub_with_error 8
    stub 9
.irp number, 10, 11, 12, 13, 14
    stub_with_error \number
.endr
    stub 15
    stub 16
    stub_with_error 17
.irp number, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    stub \number
.endr
    # Behind the 32: the software interrupt 0x80, then the event callback as pseudo-vector 256.
    stub 0x80
.balign 16
.global event_stub
event_stub:
    pop rcx
    pop r11
    push 0
    push 256
    jmp trap_common
# The failsafe frame has ds, es, fs, gs above r11; pseudo-vector 257.
.balign 16
.global failsafe_stub
failsafe_stub:
    pop rcx
    pop r11
    lea rsp, [rsp + 32]
    push 0
    push 257
    jmp trap_common
# An NMI callback: like a trap; vector 2.
.balign 16
.global nmi_stub
nmi_stub:
    pop rcx
    pop r11
    push 0
    push 2

trap_common:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    mov rdi, rsp
    cld
    call guest_trap
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
# Returns by the iret hypercall to the frame rip, cs, rflags, rsp, ss on the stack.
.global hypervisor_iret
hypervisor_iret:
    push 0
    push rcx
    push r11
    push rax
    mov eax, 23
    syscall
    ud2

# A system call from user mode: rax 0 answers at once, rax 1 yields to the kernel context that entered user mode,
# with rdi as the result. The frame is rcx, r11, rip, cs, rflags, rsp, ss.
.balign 16
.global syscall_stub
syscall_stub:
    cmp rax, 1
    je 1f
    pop rcx
    pop r11
    push 0x100
    push rcx
    push r11
    push rax
    mov eax, 23
    syscall
    ud2
1:  mov rax, rdi
    mov rsp, gs:[16]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

# u64 enter_user(rip, rsp, arg): runs user code until its system call 1.
.global enter_user
enter_user:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov gs:[16], rsp
    mov r8, rsi
    mov r9, rdi
    mov rdi, rdx
    push 0xe02b
    push r8
    push 0x202
    push 0xe033
    push r9
    jmp hypervisor_iret

# Caught catch_call(f, arg, recovery): calls f(arg); a trap in it resumes at catch_resume instead.
.global catch_call
catch_call:
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rdx], rsp
    mov qword ptr [rdx + 8], 1
    push rdx
    mov rax, rdi
    mov rdi, rsi
    call rax
    pop rdx
    mov qword ptr [rdx + 8], 0
    xor edx, edx
    jmp 2f
.global catch_resume
catch_resume:
    mov edx, 1
2:  pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    ret

.section .bss
.balign 4096
.global boot_stack_guard
boot_stack_guard:
    .skip 4096
.global boot_stack
boot_stack:
    .skip STACK_SIZE
