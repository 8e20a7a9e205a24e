# Sums of four outputs by one or two tiles of 24 pixels, from the steps of a group. AT&T syntax.
#
# rdi segments: four bytes for every kind of step, its count in the upper two
# rsi offsets of the rows in the panel, two bytes each, rdx weights, four of every step
# rcx panel: rows of 192 bytes, r8 sums of the first output, r9 bytes from those of an output to those of the next
# stack: tiles (1 or 2); nonzero: add to the sums
# returns the next offset and the next weight
#
# ymm0-11 sums, three vectors of each output; ymm12-14 a row; ymm15 a weight
# r11, rbx offsets and weights of the group; r12 tiles that are left

.macro PERISTYLE_ADD j w
    vbroadcastss \w*4(%rdx),%ymm15
    .if \j == 0
    vfmadd231ps %ymm12,%ymm15,%ymm0
    vfmadd231ps %ymm13,%ymm15,%ymm1
    vfmadd231ps %ymm14,%ymm15,%ymm2
    .elseif \j == 1
    vfmadd231ps %ymm12,%ymm15,%ymm3
    vfmadd231ps %ymm13,%ymm15,%ymm4
    vfmadd231ps %ymm14,%ymm15,%ymm5
    .elseif \j == 2
    vfmadd231ps %ymm12,%ymm15,%ymm6
    vfmadd231ps %ymm13,%ymm15,%ymm7
    vfmadd231ps %ymm14,%ymm15,%ymm8
    .else
    vfmadd231ps %ymm12,%ymm15,%ymm9
    vfmadd231ps %ymm13,%ymm15,%ymm10
    vfmadd231ps %ymm14,%ymm15,%ymm11
    .endif
.endm

# A row that one output uses
.macro PERISTYLE_ONE row w j
    movzwl \row*2(%rsi),%eax
    vbroadcastss \w*4(%rdx),%ymm15
    .if \j == 0
    vfmadd231ps (%rcx,%rax),%ymm15,%ymm0
    vfmadd231ps 32(%rcx,%rax),%ymm15,%ymm1
    vfmadd231ps 64(%rcx,%rax),%ymm15,%ymm2
    .elseif \j == 1
    vfmadd231ps (%rcx,%rax),%ymm15,%ymm3
    vfmadd231ps 32(%rcx,%rax),%ymm15,%ymm4
    vfmadd231ps 64(%rcx,%rax),%ymm15,%ymm5
    .elseif \j == 2
    vfmadd231ps (%rcx,%rax),%ymm15,%ymm6
    vfmadd231ps 32(%rcx,%rax),%ymm15,%ymm7
    vfmadd231ps 64(%rcx,%rax),%ymm15,%ymm8
    .else
    vfmadd231ps (%rcx,%rax),%ymm15,%ymm9
    vfmadd231ps 32(%rcx,%rax),%ymm15,%ymm10
    vfmadd231ps 64(%rcx,%rax),%ymm15,%ymm11
    .endif
.endm

# A row that several outputs use
.macro PERISTYLE_ROW row
    movzwl \row*2(%rsi),%eax
    vmovaps (%rcx,%rax),%ymm12
    vmovaps 32(%rcx,%rax),%ymm13
    vmovaps 64(%rcx,%rax),%ymm14
.endm

.macro PERISTYLE_ONE_THREE a b c d
    PERISTYLE_ONE 0 0 \a
    PERISTYLE_ROW 1
    PERISTYLE_ADD \b 1
    PERISTYLE_ADD \c 2
    PERISTYLE_ADD \d 3
.endm

.macro PERISTYLE_TWO_TWO a b c d
    PERISTYLE_ROW 0
    PERISTYLE_ADD \a 0
    PERISTYLE_ADD \b 1
    PERISTYLE_ROW 1
    PERISTYLE_ADD \c 2
    PERISTYLE_ADD \d 3
.endm

.macro PERISTYLE_FOUR a b c d
    PERISTYLE_ROW 0
    PERISTYLE_ADD \a 0
    PERISTYLE_ADD \b 1
    PERISTYLE_ADD \c 2
    PERISTYLE_ADD \d 3
.endm

.macro PERISTYLE_EACH a b c d
    PERISTYLE_ONE 0 0 \a
    PERISTYLE_ONE 1 1 \b
    PERISTYLE_ONE 2 2 \c
    PERISTYLE_ONE 3 3 \d
.endm

.macro PERISTYLE_STEPS kind rows step a b c d
    movzwl \kind*4+2(%rdi),%r10d
    test %r10d,%r10d
    jz 4f
    .p2align 5
3:
    \step \a \b \c \d
    add $\rows*2,%rsi
    add $16,%rdx
    dec %r10d
    jnz 3b
4:
.endm

.macro PERISTYLE_SUMS load at a b c
    .if \load
    vmovups (\at),%ymm\a
    vmovups 32(\at),%ymm\b
    vmovups 64(\at),%ymm\c
    .else
    vmovups %ymm\a,(\at)
    vmovups %ymm\b,32(\at)
    vmovups %ymm\c,64(\at)
    .endif
.endm

.macro PERISTYLE_ALL_SUMS load
    PERISTYLE_SUMS \load %r8 0 1 2
    lea (%r8,%r9),%rax
    PERISTYLE_SUMS \load %rax 3 4 5
    add %r9,%rax
    PERISTYLE_SUMS \load %rax 6 7 8
    add %r9,%rax
    PERISTYLE_SUMS \load %rax 9 10 11
.endm

    push %rbx
    push %r12
    mov %rsi,%r11
    mov %rdx,%rbx
    mov 24(%rsp),%r12
1:
    cmpq $0,32(%rsp)
    je 2f
    PERISTYLE_ALL_SUMS 1
    jmp 5f
2:
    .irp v,0,1,2,3,4,5,6,7,8,9,10,11
    vxorps %xmm\v,%xmm\v,%xmm\v
    .endr
5:
    PERISTYLE_STEPS 0 2 PERISTYLE_ONE_THREE 0 1 2 3
    PERISTYLE_STEPS 1 2 PERISTYLE_ONE_THREE 1 0 2 3
    PERISTYLE_STEPS 2 2 PERISTYLE_ONE_THREE 2 0 1 3
    PERISTYLE_STEPS 3 2 PERISTYLE_ONE_THREE 3 0 1 2
    PERISTYLE_STEPS 4 2 PERISTYLE_TWO_TWO 0 1 2 3
    PERISTYLE_STEPS 5 2 PERISTYLE_TWO_TWO 0 2 1 3
    PERISTYLE_STEPS 6 2 PERISTYLE_TWO_TWO 0 3 1 2
    PERISTYLE_STEPS 7 1 PERISTYLE_FOUR 0 1 2 3
    PERISTYLE_STEPS 8 4 PERISTYLE_EACH 0 1 2 3
    PERISTYLE_ALL_SUMS 0
    dec %r12
    jz 6f
    mov %r11,%rsi
    mov %rbx,%rdx
    add $96,%r8
    add $96,%rcx
    jmp 1b
6:
    mov %rsi,%rax
    vzeroupper
    pop %r12
    pop %rbx
    ret

.purgem PERISTYLE_ADD
.purgem PERISTYLE_ONE
.purgem PERISTYLE_ROW
.purgem PERISTYLE_ONE_THREE
.purgem PERISTYLE_TWO_TWO
.purgem PERISTYLE_FOUR
.purgem PERISTYLE_EACH
.purgem PERISTYLE_STEPS
.purgem PERISTYLE_SUMS
.purgem PERISTYLE_ALL_SUMS
