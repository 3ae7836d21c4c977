# The ELF notes by which a domain builder knows the image: type and value.
.macro note_string type, value
    .balign 4
    .long 4
    .long 2f - 1f
    .long \type
    .asciz "Xen"
1:  .asciz "\value"
2:  .balign 4
.endm
.macro note_word type, value
    .balign 4
    .long 4
    .long 8
    .long \type
    .asciz "Xen"
    .quad \value
.endm
.section .note.Xen, "a", @note
    note_string 6, "paravane-guest"
    note_string 7, "0.1"
    note_string 5, "xen-3.0"
    note_word 3, 0xffffffff80000000
    note_word 4, 0
    note_word 15, 0x8000000000
    note_word 1, _start
    note_word 2, hypercall_page
    note_string 10, "!writable_page_tables"
    note_word 17, 0x8801
    note_string 9, "yes"
    note_string 8, "generic"
    note_word 12, 0xffff800000000000
    note_word 16, 1
.section .text
