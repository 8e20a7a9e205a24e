# Sums of two outputs by one or two tiles of 24 pixels, from the rows of a group. AT&T syntax.
#
# rdi segments: four bytes for the rows of the first output, of the second, of both, their count in the upper two
# rsi offsets of the rows in the panel, two bytes each, rdx weights, one of every row and output
# rcx panel: rows of 192 bytes, r8 sums of the first output, r9 bytes from those to those of the second
# stack: tiles (1 or 2); nonzero: add to the sums
# returns the next offset and the next weight
#
# ymm0-5 sums of the first output, ymm6-11 of the second; ymm12, 13 weights; ymm14, 15 pixels

.macro PERISTYLE_ONE v j
    vfmadd231ps \v*32(%rcx,%rax),%ymm12,%ymm\j
.endm

.macro PERISTYLE_BOTH v j at
    vmovaps \v*32(%rcx,%rax),%ymm\at
    vfmadd231ps %ymm\at,%ymm12,%ymm\v
    vfmadd231ps %ymm\at,%ymm13,%ymm\j
.endm

.macro PERISTYLE_ROWS kind weights vectors:vararg
    movzwl \kind*4+2(%rdi),%r10d
    test %r10d,%r10d
    jz 4f
    .p2align 5
3:
    movzwl (%rsi),%eax
    vbroadcastss (%rdx),%ymm12
    .if \weights == 2
    vbroadcastss 4(%rdx),%ymm13
    .endif
    \vectors
    add $2,%rsi
    add $4*\weights,%rdx
    dec %r10d
    jnz 3b
4:
.endm

.macro PERISTYLE_FIRST
    PERISTYLE_ONE 0 0
    PERISTYLE_ONE 1 1
    PERISTYLE_ONE 2 2
.endm

.macro PERISTYLE_ALL_FIRST
    PERISTYLE_FIRST
    PERISTYLE_ONE 3 3
    PERISTYLE_ONE 4 4
    PERISTYLE_ONE 5 5
.endm

.macro PERISTYLE_SECOND
    PERISTYLE_ONE 0 6
    PERISTYLE_ONE 1 7
    PERISTYLE_ONE 2 8
.endm

.macro PERISTYLE_ALL_SECOND
    PERISTYLE_SECOND
    PERISTYLE_ONE 3 9
    PERISTYLE_ONE 4 10
    PERISTYLE_ONE 5 11
.endm

.macro PERISTYLE_TWO
    PERISTYLE_BOTH 0 6 14
    PERISTYLE_BOTH 1 7 15
    PERISTYLE_BOTH 2 8 14
.endm

.macro PERISTYLE_ALL_TWO
    PERISTYLE_TWO
    PERISTYLE_BOTH 3 9 15
    PERISTYLE_BOTH 4 10 14
    PERISTYLE_BOTH 5 11 15
.endm

.macro PERISTYLE_LOAD at v j
    vmovups \v*32(\at),%ymm\j
.endm

.macro PERISTYLE_STORE at v j
    vmovups %ymm\j,\v*32(\at)
.endm

    lea (%r8,%r9),%r11
    cmpq $0,16(%rsp)
    je 1f
    PERISTYLE_LOAD %r8 0 0
    PERISTYLE_LOAD %r8 1 1
    PERISTYLE_LOAD %r8 2 2
    PERISTYLE_LOAD %r11 0 6
    PERISTYLE_LOAD %r11 1 7
    PERISTYLE_LOAD %r11 2 8
    cmpq $2,8(%rsp)
    jne 5f
    PERISTYLE_LOAD %r8 3 3
    PERISTYLE_LOAD %r8 4 4
    PERISTYLE_LOAD %r8 5 5
    PERISTYLE_LOAD %r11 3 9
    PERISTYLE_LOAD %r11 4 10
    PERISTYLE_LOAD %r11 5 11
    jmp 2f
1:
    .irp v,0,1,2,3,4,5,6,7,8,9,10,11
    vxorps %xmm\v,%xmm\v,%xmm\v
    .endr
    cmpq $2,8(%rsp)
    jne 5f
2:
    PERISTYLE_ROWS 0 1 PERISTYLE_ALL_FIRST
    PERISTYLE_ROWS 1 1 PERISTYLE_ALL_SECOND
    PERISTYLE_ROWS 2 2 PERISTYLE_ALL_TWO
    PERISTYLE_STORE %r11 3 9
    PERISTYLE_STORE %r11 4 10
    PERISTYLE_STORE %r11 5 11
    PERISTYLE_STORE %r8 3 3
    PERISTYLE_STORE %r8 4 4
    PERISTYLE_STORE %r8 5 5
    jmp 6f
5:
    PERISTYLE_ROWS 0 1 PERISTYLE_FIRST
    PERISTYLE_ROWS 1 1 PERISTYLE_SECOND
    PERISTYLE_ROWS 2 2 PERISTYLE_TWO
6:
    PERISTYLE_STORE %r11 0 6
    PERISTYLE_STORE %r11 1 7
    PERISTYLE_STORE %r11 2 8
    PERISTYLE_STORE %r8 0 0
    PERISTYLE_STORE %r8 1 1
    PERISTYLE_STORE %r8 2 2
    mov %rsi,%rax
    vzeroupper
    ret

.purgem PERISTYLE_ONE
.purgem PERISTYLE_BOTH
.purgem PERISTYLE_ROWS
.purgem PERISTYLE_FIRST
.purgem PERISTYLE_ALL_FIRST
.purgem PERISTYLE_SECOND
.purgem PERISTYLE_ALL_SECOND
.purgem PERISTYLE_TWO
.purgem PERISTYLE_ALL_TWO
.purgem PERISTYLE_LOAD
.purgem PERISTYLE_STORE
