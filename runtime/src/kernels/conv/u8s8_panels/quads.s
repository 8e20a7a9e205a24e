# Sums of quads for one output after the other by 64 pixels. AT&T syntax.
#
# rdi segments: for every output its counts of all kinds of blocks, four bytes each, the count in the upper two and the
# place of the output in the lowest
# rsi panel: quads of 256 bytes, rdx sums of the output in the first place, rcx bytes between the rows of the outputs, r8 outputs (not 0)
# r9 records: the weights of a block's quads, four bytes each, then the number of the first quad in a word for a run, or
# else the numbers of all, a byte each
# stack: nonzero: add to the sums
#
# ymm0-7 the 16-bit sums of a block, two for every pixel; ymm8-13 products; ymm14 ones; ymm15 weights
# rbx sums of the first place, then rdx those of an output; r11 what a block is added to: zeros, and after the first block the sums

.macro PERISTYLE_SET v t
    vpmaddubsw %ymm15,%ymm\t,%ymm\v
.endm

.macro PERISTYLE_ADD v t
    vpmaddubsw %ymm15,%ymm\t,%ymm\t
    vpaddw %ymm\t,%ymm\v,%ymm\v
.endm

.macro PERISTYLE_QUAD i do at index:vararg
    vpbroadcastd \i*4(%r9),%ymm15
    vmovdqa \at(\index),%ymm8
    vmovdqa \at+32(\index),%ymm9
    vmovdqa \at+64(\index),%ymm10
    vmovdqa \at+96(\index),%ymm11
    \do 0 8
    \do 1 9
    \do 2 10
    \do 3 11
    vmovdqa \at+128(\index),%ymm12
    vmovdqa \at+160(\index),%ymm13
    vmovdqa \at+192(\index),%ymm8
    vmovdqa \at+224(\index),%ymm9
    \do 4 12
    \do 5 13
    \do 6 8
    \do 7 9
.endm

.macro PERISTYLE_LISTED block i do
    movzbl \block*4+\i(%r9),%eax
    shl $8,%eax
    PERISTYLE_QUAD \i \do 0 %rsi,%rax
.endm

.macro PERISTYLE_OF_RUN block i do
    PERISTYLE_QUAD \i \do \i*256 %rax
.endm

.macro PERISTYLE_END v
    vpmaddwd %ymm14,%ymm\v,%ymm\v
    vpaddd \v*32(%r11),%ymm\v,%ymm\v
    vmovdqu %ymm\v,\v*32(%rdx)
.endm

.macro PERISTYLE_BLOCK quad block record
    \quad \block 0 PERISTYLE_SET
    .irp i,1,2,3
    \quad \block \i PERISTYLE_ADD
    .endr
    .if \block > 4
    .irp i,4,5,6,7
    \quad \block \i PERISTYLE_ADD
    .endr
    .endif
    .if \block > 8
    .irp i,8,9,10,11
    \quad \block \i PERISTYLE_ADD
    .endr
    .endif
    .if \block > 12
    .irp i,12,13,14,15
    \quad \block \i PERISTYLE_ADD
    .endr
    .endif
    .irp v,0,1,2,3,4,5,6,7
    PERISTYLE_END \v
    .endr
    add $\record,%r9
    mov %rdx,%r11
.endm

.macro PERISTYLE_RUNS count block
    movzwl \count(%rdi),%r10d
    test %r10d,%r10d
    jz 4f
    .p2align 4
3:
    movl \block*4(%r9),%eax
    shl $8,%eax
    add %rsi,%rax
    PERISTYLE_BLOCK PERISTYLE_OF_RUN \block \block*4+4
    dec %r10d
    jnz 3b
4:
.endm

.macro PERISTYLE_LISTS count block
    movzwl \count(%rdi),%r10d
    test %r10d,%r10d
    jz 4f
    .p2align 4
3:
    PERISTYLE_BLOCK PERISTYLE_LISTED \block \block*5
    dec %r10d
    jnz 3b
4:
.endm

    push %rbp
    mov %rsp,%rbp
    push %rbx
    mov %rdx,%rbx
    sub $256,%rsp
    and $-64,%rsp
    vpxor %xmm0,%xmm0,%xmm0
    .irp v,0,1,2,3,4,5,6,7
    vmovdqa %ymm0,\v*32(%rsp)
    .endr
    vpcmpeqw %ymm14,%ymm14,%ymm14
    vpsrlw $15,%ymm14,%ymm14
1:
    movzbl (%rdi),%edx
    imul %rcx,%rdx
    add %rbx,%rdx
    cmp $1,%r8
    je 2f
    movzbl 28(%rdi),%eax
    imul %rcx,%rax
    prefetcht0 (%rbx,%rax)
    prefetcht0 64(%rbx,%rax)
    prefetcht0 128(%rbx,%rax)
    prefetcht0 192(%rbx,%rax)
2:
    mov %rsp,%r11
    cmpq $0,16(%rbp)
    cmovne %rdx,%r11
    PERISTYLE_RUNS 2 16
    PERISTYLE_RUNS 6 12
    PERISTYLE_RUNS 10 8
    PERISTYLE_LISTS 14 16
    PERISTYLE_LISTS 18 12
    PERISTYLE_LISTS 22 8
    PERISTYLE_LISTS 26 4
    cmp %rdx,%r11
    je 2f
    vpxor %xmm0,%xmm0,%xmm0
    .irp v,0,1,2,3,4,5,6,7
    vmovdqu %ymm0,\v*32(%rdx)
    .endr
2:
    add $28,%rdi
    dec %r8
    jnz 1b
    vzeroupper
    mov -8(%rbp),%rbx
    leave
    ret

.purgem PERISTYLE_SET
.purgem PERISTYLE_ADD
.purgem PERISTYLE_QUAD
.purgem PERISTYLE_LISTED
.purgem PERISTYLE_OF_RUN
.purgem PERISTYLE_END
.purgem PERISTYLE_BLOCK
.purgem PERISTYLE_RUNS
.purgem PERISTYLE_LISTS
