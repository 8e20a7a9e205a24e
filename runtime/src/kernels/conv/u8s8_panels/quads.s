# Sums of quads for one output after the other by 64 pixels. AT&T syntax.
#
# rdi segments: blocks of 16, 8 and 4 quads for every output, four bytes each, the count in the upper two
# rsi panel: quads of 256 bytes, rdx sums, rcx bytes between the rows of the outputs, r8 outputs (not 0)
# r9 records: the weights of a block's quads, four bytes each, then their numbers, a byte each
# stack: nonzero: add to the sums
#
# ymm0-7 the 16-bit sums of a block, two for every pixel; ymm8-13 products; ymm14 ones; ymm15 weights

.macro PERISTYLE_SET v t
    vpmaddubsw %ymm15,%ymm\t,%ymm\v
.endm

.macro PERISTYLE_ADD v t
    vpmaddubsw %ymm15,%ymm\t,%ymm\t
    vpaddw %ymm\t,%ymm\v,%ymm\v
.endm

.macro PERISTYLE_QUAD block i do
    vpbroadcastd \i*4(%r9),%ymm15
    movzbl \block*4+\i(%r9),%eax
    shl $8,%eax
    vmovdqa (%rsi,%rax),%ymm8
    vmovdqa 32(%rsi,%rax),%ymm9
    vmovdqa 64(%rsi,%rax),%ymm10
    vmovdqa 96(%rsi,%rax),%ymm11
    \do 0 8
    \do 1 9
    \do 2 10
    \do 3 11
    vmovdqa 128(%rsi,%rax),%ymm12
    vmovdqa 160(%rsi,%rax),%ymm13
    vmovdqa 192(%rsi,%rax),%ymm8
    vmovdqa 224(%rsi,%rax),%ymm9
    \do 4 12
    \do 5 13
    \do 6 8
    \do 7 9
.endm

.macro PERISTYLE_END v
    vpmaddwd %ymm14,%ymm\v,%ymm\v
    vpaddd \v*32(%rdx),%ymm\v,%ymm\v
    vmovdqu %ymm\v,\v*32(%rdx)
.endm

.macro PERISTYLE_BLOCKS count block
    movzwl \count(%rdi),%r10d
    test %r10d,%r10d
    jz 4f
    .p2align 4
3:
    PERISTYLE_QUAD \block 0 PERISTYLE_SET
    .irp i,1,2,3
    PERISTYLE_QUAD \block \i PERISTYLE_ADD
    .endr
    .if \block > 4
    .irp i,4,5,6,7
    PERISTYLE_QUAD \block \i PERISTYLE_ADD
    .endr
    .endif
    .if \block > 8
    .irp i,8,9,10,11,12,13,14,15
    PERISTYLE_QUAD \block \i PERISTYLE_ADD
    .endr
    .endif
    PERISTYLE_END 0
    PERISTYLE_END 1
    PERISTYLE_END 2
    PERISTYLE_END 3
    PERISTYLE_END 4
    PERISTYLE_END 5
    PERISTYLE_END 6
    PERISTYLE_END 7
    add $\block*5,%r9
    dec %r10d
    jnz 3b
4:
.endm

.macro PERISTYLE_ZERO v
    vmovdqu %ymm0,\v*32(%rdx)
.endm

    vpcmpeqw %ymm14,%ymm14,%ymm14
    vpsrlw $15,%ymm14,%ymm14
1:
    prefetcht0 (%rdx,%rcx)
    prefetcht0 64(%rdx,%rcx)
    prefetcht0 128(%rdx,%rcx)
    prefetcht0 192(%rdx,%rcx)
    cmpq $0,8(%rsp)
    jne 2f
    vpxor %xmm0,%xmm0,%xmm0
    PERISTYLE_ZERO 0
    PERISTYLE_ZERO 1
    PERISTYLE_ZERO 2
    PERISTYLE_ZERO 3
    PERISTYLE_ZERO 4
    PERISTYLE_ZERO 5
    PERISTYLE_ZERO 6
    PERISTYLE_ZERO 7
2:
    PERISTYLE_BLOCKS 2 16
    PERISTYLE_BLOCKS 6 8
    PERISTYLE_BLOCKS 10 4
    add $12,%rdi
    add %rcx,%rdx
    dec %r8
    jnz 1b
    vzeroupper
    ret

.purgem PERISTYLE_SET
.purgem PERISTYLE_ADD
.purgem PERISTYLE_QUAD
.purgem PERISTYLE_END
.purgem PERISTYLE_BLOCKS
.purgem PERISTYLE_ZERO
