# Sums of two outputs by one or two tiles of 24 pixels, from the steps of a group. AT&T syntax.
#
# rdi segments: four bytes for every kind of step, its count in the upper two
# rsi offsets of the rows in the panel, two bytes each, rdx weights, one of every row and output
# rcx panel: rows of 192 bytes, r8 sums of the first output, r9 bytes from those to those of the second
# stack: tiles (1 or 2); nonzero: add to the sums
# returns the next offset and the next weight
#
# A row that one output uses is bound by loads, six of vectors for six products: of four such rows weights are loaded at
# once and spread in registers, and so are offsets; and a row that both use, bound by products, goes with them.
#
# ymm0-5 sums of the first output, ymm6-11 of the second; ymm12-15 weights and pixels; r11 sums of the second output
# rax an offset, r9 those that follow it

# A row of the output whose sums are a to f
.macro PERISTYLE_ROW w vectors a b c d e f
    vfmadd231ps (%rcx,%rax),%ymm\w,%ymm\a
    vfmadd231ps 32(%rcx,%rax),%ymm\w,%ymm\b
    vfmadd231ps 64(%rcx,%rax),%ymm\w,%ymm\c
    .if \vectors == 6
    vfmadd231ps 96(%rcx,%rax),%ymm\w,%ymm\d
    vfmadd231ps 128(%rcx,%rax),%ymm\w,%ymm\e
    vfmadd231ps 160(%rcx,%rax),%ymm\w,%ymm\f
    .endif
.endm

.macro PERISTYLE_FIRST w vectors
    PERISTYLE_ROW \w \vectors 0 1 2 3 4 5
.endm

.macro PERISTYLE_SECOND w vectors
    PERISTYLE_ROW \w \vectors 6 7 8 9 10 11
.endm

.macro PERISTYLE_VECTOR at v j
    vmovaps \v*32(%rcx,%rax),%ymm\at
    vfmadd231ps %ymm\at,%ymm12,%ymm\v
    vfmadd231ps %ymm\at,%ymm13,%ymm\j
.endm

# A row of both outputs
.macro PERISTYLE_BOTH weight vectors
    vbroadcastss \weight*4(%rdx),%ymm12
    vbroadcastss \weight*4+4(%rdx),%ymm13
    PERISTYLE_VECTOR 14 0 6
    PERISTYLE_VECTOR 15 1 7
    PERISTYLE_VECTOR 14 2 8
    .if \vectors == 6
    PERISTYLE_VECTOR 15 3 9
    PERISTYLE_VECTOR 14 4 10
    PERISTYLE_VECTOR 15 5 11
    .endif
.endm

# Kinds of steps

.macro PERISTYLE_STEP_EACH vectors
    vbroadcastf128 (%rdx),%ymm13
    movq (%rsi),%r9
    movzwl %r9w,%eax
    shrq $16,%r9
    vpermilps $0x00,%ymm13,%ymm12
    PERISTYLE_FIRST 12 \vectors
    movzwl %r9w,%eax
    shrq $16,%r9
    vpermilps $0x55,%ymm13,%ymm14
    PERISTYLE_SECOND 14 \vectors
    movzwl %r9w,%eax
    shrq $16,%r9
    vpermilps $0xaa,%ymm13,%ymm15
    PERISTYLE_FIRST 15 \vectors
    movl %r9d,%eax
    vpermilps $0xff,%ymm13,%ymm12
    PERISTYLE_SECOND 12 \vectors
.endm

.macro PERISTYLE_STEP_ALL vectors
    PERISTYLE_STEP_EACH \vectors
    movzwl 8(%rsi),%eax
    PERISTYLE_BOTH 4 \vectors
.endm

.macro PERISTYLE_STEP_FIRST vectors
    movzwl (%rsi),%eax
    vbroadcastss (%rdx),%ymm12
    PERISTYLE_FIRST 12 \vectors
.endm

.macro PERISTYLE_STEP_SECOND vectors
    movzwl (%rsi),%eax
    vbroadcastss (%rdx),%ymm12
    PERISTYLE_SECOND 12 \vectors
.endm

.macro PERISTYLE_STEP_TWO vectors
    movl (%rsi),%r9d
    movzwl %r9w,%eax
    PERISTYLE_BOTH 0 \vectors
    shrl $16,%r9d
    movl %r9d,%eax
    PERISTYLE_BOTH 2 \vectors
.endm

.macro PERISTYLE_STEP_ONE vectors
    movzwl (%rsi),%eax
    PERISTYLE_BOTH 0 \vectors
.endm

.macro PERISTYLE_STEPS kind step rows weights vectors
    movzwl \kind*4+2(%rdi),%r10d
    test %r10d,%r10d
    jz 4f
    .p2align 5
3:
    \step \vectors
    add $2*\rows,%rsi
    add $4*\weights,%rdx
    dec %r10d
    jnz 3b
4:
.endm

.macro PERISTYLE_ALL_STEPS vectors
    PERISTYLE_STEPS 0 PERISTYLE_STEP_ALL 5 6 \vectors
    PERISTYLE_STEPS 1 PERISTYLE_STEP_EACH 4 4 \vectors
    PERISTYLE_STEPS 2 PERISTYLE_STEP_FIRST 1 1 \vectors
    PERISTYLE_STEPS 3 PERISTYLE_STEP_SECOND 1 1 \vectors
    PERISTYLE_STEPS 4 PERISTYLE_STEP_TWO 2 4 \vectors
    PERISTYLE_STEPS 5 PERISTYLE_STEP_ONE 1 2 \vectors
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
    PERISTYLE_ALL_STEPS 6
    PERISTYLE_STORE %r11 3 9
    PERISTYLE_STORE %r11 4 10
    PERISTYLE_STORE %r11 5 11
    PERISTYLE_STORE %r8 3 3
    PERISTYLE_STORE %r8 4 4
    PERISTYLE_STORE %r8 5 5
    jmp 6f
5:
    PERISTYLE_ALL_STEPS 3
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

.purgem PERISTYLE_ROW
.purgem PERISTYLE_FIRST
.purgem PERISTYLE_SECOND
.purgem PERISTYLE_VECTOR
.purgem PERISTYLE_BOTH
.purgem PERISTYLE_STEP_EACH
.purgem PERISTYLE_STEP_ALL
.purgem PERISTYLE_STEP_FIRST
.purgem PERISTYLE_STEP_SECOND
.purgem PERISTYLE_STEP_TWO
.purgem PERISTYLE_STEP_ONE
.purgem PERISTYLE_STEPS
.purgem PERISTYLE_ALL_STEPS
.purgem PERISTYLE_LOAD
.purgem PERISTYLE_STORE
