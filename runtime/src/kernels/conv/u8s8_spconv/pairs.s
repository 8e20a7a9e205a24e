# Sums of pairs for up to 2 outputs by 64 pixels. AT&T syntax.
#
# rdi segments: blocks of 8, 4 and 2 pairs for the masks 3, 1 and 2, four bytes each, the count in the upper two
# rsi first pixel, rdx sums, rcx bytes between the rows of the outputs, r8 tiles of 64 pixels (not 0)
# r9 nonzero: add to the sums; stack: offsets, which may be read two pairs past the last, weights
#
# rbx, r12 and r13, r14 offsets of the next pair and the one after it: what waits for them would fill the scheduler
# ymm0-3, ymm4-7 the 16-bit sums of a block; ymm8-10 and ymm12 two interleaved rows; ymm11 weights; ymm13-15 products
# 0(rsp) sums of blocks modulo 2^16, 256(rsp) sums of their high bytes; in registers while an only output has blocks

.macro PERISTYLE_NEXT at a b
    movslq \at(%rax),%\a
    movslq \at+4(%rax),%\b
.endm

.macro PERISTYLE_ROWS a b
    vmovdqu (%rsi,%\a),%ymm8
    vmovdqu (%rsi,%\b),%ymm9
    vmovdqu 32(%rsi,%\a),%ymm10
    vmovdqu 32(%rsi,%\b),%ymm11
    vpunpcklbw %ymm9,%ymm8,%ymm12
    vpunpckhbw %ymm9,%ymm8,%ymm8
    vpunpcklbw %ymm11,%ymm10,%ymm9
    vpunpckhbw %ymm11,%ymm10,%ymm10
.endm

.macro PERISTYLE_SET w a b c d
    vpbroadcastw \w(%r10),%ymm11
    vpmaddubsw %ymm11,%ymm12,%ymm\a
    vpmaddubsw %ymm11,%ymm8,%ymm\b
    vpmaddubsw %ymm11,%ymm9,%ymm\c
    vpmaddubsw %ymm11,%ymm10,%ymm\d
.endm

.macro PERISTYLE_ADD w a b c d
    vpbroadcastw \w(%r10),%ymm11
    vpmaddubsw %ymm11,%ymm12,%ymm13
    vpaddw %ymm13,%ymm\a,%ymm\a
    vpmaddubsw %ymm11,%ymm8,%ymm14
    vpaddw %ymm14,%ymm\b,%ymm\b
    vpmaddubsw %ymm11,%ymm9,%ymm15
    vpaddw %ymm15,%ymm\c,%ymm\c
    vpmaddubsw %ymm11,%ymm10,%ymm13
    vpaddw %ymm13,%ymm\d,%ymm\d
.endm

.macro PERISTYLE_SET3 i a b
    PERISTYLE_ROWS \a \b
    PERISTYLE_SET 8*(\i>>1)+2*(\i&1) 0 1 2 3
    PERISTYLE_NEXT 8*(\i+2) \a \b
    PERISTYLE_SET 8*(\i>>1)+2*(\i&1)+4 4 5 6 7
.endm
.macro PERISTYLE_ADD3 i a b
    PERISTYLE_ROWS \a \b
    PERISTYLE_ADD 8*(\i>>1)+2*(\i&1) 0 1 2 3
    PERISTYLE_NEXT 8*(\i+2) \a \b
    PERISTYLE_ADD 8*(\i>>1)+2*(\i&1)+4 4 5 6 7
.endm
.macro PERISTYLE_SET1 i a b
    PERISTYLE_ROWS \a \b
    PERISTYLE_NEXT 8*(\i+2) \a \b
    PERISTYLE_SET \i*2 0 1 2 3
.endm
.macro PERISTYLE_ADD1 i a b
    PERISTYLE_ROWS \a \b
    PERISTYLE_NEXT 8*(\i+2) \a \b
    PERISTYLE_ADD \i*2 0 1 2 3
.endm
.macro PERISTYLE_SET2 i a b
    PERISTYLE_ROWS \a \b
    PERISTYLE_NEXT 8*(\i+2) \a \b
    PERISTYLE_SET \i*2 4 5 6 7
.endm
.macro PERISTYLE_ADD2 i a b
    PERISTYLE_ROWS \a \b
    PERISTYLE_NEXT 8*(\i+2) \a \b
    PERISTYLE_ADD \i*2 4 5 6 7
.endm
.macro PERISTYLE_BLOCK8 word set add
    \set 0 rbx r12
    \add 1 r13 r14
    \add 2 rbx r12
    \add 3 r13 r14
    \add 4 rbx r12
    \add 5 r13 r14
    \add 6 rbx r12
    \add 7 r13 r14
    add $64,%rax
    add $8*\word,%r10
.endm

# Sums of a block and their high bytes: kept as they are, added in memory, or with the high bytes in `high`.
.macro PERISTYLE_KEEP x
    vpsraw $8,%ymm\x,%ymm13
    vmovdqa %ymm\x,\x*32(%rsp)
    vmovdqa %ymm13,256+\x*32(%rsp)
.endm
.macro PERISTYLE_CARRY x
    vpsraw $8,%ymm\x,%ymm13
    vpaddw \x*32(%rsp),%ymm\x,%ymm\x
    vpaddw 256+\x*32(%rsp),%ymm13,%ymm13
    vmovdqa %ymm\x,\x*32(%rsp)
    vmovdqa %ymm13,256+\x*32(%rsp)
.endm
.macro PERISTYLE_CARRY_TO x high
    vpsraw $8,%ymm\x,%ymm13
    vpaddw \x*32(%rsp),%ymm\x,%ymm\x
    vpaddw %ymm13,%ymm\high,%ymm\high
    vmovdqa %ymm\x,\x*32(%rsp)
.endm
.macro PERISTYLE_CARRY3
    PERISTYLE_CARRY 0
    PERISTYLE_CARRY 1
    PERISTYLE_CARRY 2
    PERISTYLE_CARRY 3
    PERISTYLE_CARRY 4
    PERISTYLE_CARRY 5
    PERISTYLE_CARRY 6
    PERISTYLE_CARRY 7
.endm
.macro PERISTYLE_CARRY1
    PERISTYLE_CARRY_TO 0 4
    PERISTYLE_CARRY_TO 1 5
    PERISTYLE_CARRY_TO 2 6
    PERISTYLE_CARRY_TO 3 7
.endm
.macro PERISTYLE_CARRY2
    PERISTYLE_CARRY_TO 4 0
    PERISTYLE_CARRY_TO 5 1
    PERISTYLE_CARRY_TO 6 2
    PERISTYLE_CARRY_TO 7 3
.endm
# The high bytes of the output whose first vector is `at`, from memory to the registers from `a` on and back.
.macro PERISTYLE_LOAD_HIGH at a b c d
    vmovdqa 256+\at*32(%rsp),%ymm\a
    vmovdqa 288+\at*32(%rsp),%ymm\b
    vmovdqa 320+\at*32(%rsp),%ymm\c
    vmovdqa 352+\at*32(%rsp),%ymm\d
.endm
.macro PERISTYLE_STORE_HIGH at a b c d
    vmovdqa %ymm\a,256+\at*32(%rsp)
    vmovdqa %ymm\b,288+\at*32(%rsp)
    vmovdqa %ymm\c,320+\at*32(%rsp)
    vmovdqa %ymm\d,352+\at*32(%rsp)
.endm

# All blocks of a mask; `at` is the byte of the count of its first segment, `word` the weight bytes of a pair.
.macro PERISTYLE_MASK at word set add carry
    movzwl \at(%rdi),%r11d
    test %r11d,%r11d
    jz 3f
.ifc \carry,PERISTYLE_CARRY3
    # Nothing has been summed up yet.
    PERISTYLE_BLOCK8 \word \set \add
    PERISTYLE_KEEP 0
    PERISTYLE_KEEP 1
    PERISTYLE_KEEP 2
    PERISTYLE_KEEP 3
    PERISTYLE_KEEP 4
    PERISTYLE_KEEP 5
    PERISTYLE_KEEP 6
    PERISTYLE_KEEP 7
    dec %r11d
    jz 4f
.endif
    .p2align 5
2:
    PERISTYLE_BLOCK8 \word \set \add
    \carry
    dec %r11d
    jnz 2b
.ifc \carry,PERISTYLE_CARRY3
    jmp 4f
.endif
3:
.ifc \carry,PERISTYLE_CARRY3
    vpxor %xmm0,%xmm0,%xmm0
    vmovdqa %ymm0,(%rsp)
    vmovdqa %ymm0,32(%rsp)
    vmovdqa %ymm0,64(%rsp)
    vmovdqa %ymm0,96(%rsp)
    vmovdqa %ymm0,128(%rsp)
    vmovdqa %ymm0,160(%rsp)
    vmovdqa %ymm0,192(%rsp)
    vmovdqa %ymm0,224(%rsp)
    vmovdqa %ymm0,256(%rsp)
    vmovdqa %ymm0,288(%rsp)
    vmovdqa %ymm0,320(%rsp)
    vmovdqa %ymm0,352(%rsp)
    vmovdqa %ymm0,384(%rsp)
    vmovdqa %ymm0,416(%rsp)
    vmovdqa %ymm0,448(%rsp)
    vmovdqa %ymm0,480(%rsp)
.endif
4:
    movzwl \at+4(%rdi),%r11d
    test %r11d,%r11d
    jz 6f
5:
    \set 0 rbx r12
    \add 1 r13 r14
    \add 2 rbx r12
    \add 3 r13 r14
    add $32,%rax
    add $4*\word,%r10
    \carry
    dec %r11d
    jnz 5b
6:
    movzwl \at+8(%rdi),%r11d
    test %r11d,%r11d
    jz 8f
7:
    \set 0 rbx r12
    \add 1 r13 r14
    add $16,%rax
    add $2*\word,%r10
    \carry
    dec %r11d
    jnz 7b
8:
.endm

# ymm2 and ymm3: the 32-bit sums of vector `x`; ymm15 is zero.
.macro PERISTYLE_WIDEN x
    vmovdqa 256+\x*32(%rsp),%ymm0
    vpsllw $8,%ymm0,%ymm1
    vmovdqa \x*32(%rsp),%ymm4
    vpsubw %ymm1,%ymm4,%ymm4
    vpunpcklwd %ymm15,%ymm4,%ymm2
    vpunpckhwd %ymm15,%ymm4,%ymm3
    vpunpcklwd %ymm0,%ymm15,%ymm1
    vpunpckhwd %ymm0,%ymm15,%ymm0
    vpsrad $8,%ymm1,%ymm1
    vpsrad $8,%ymm0,%ymm0
    vpaddd %ymm1,%ymm2,%ymm2
    vpaddd %ymm0,%ymm3,%ymm3
.endm
.macro PERISTYLE_STORE x to at
    PERISTYLE_WIDEN \x
    vmovdqu %xmm2,\at*4(\to)
    vmovdqu %xmm3,\at*4+16(\to)
    vextracti128 $1,%ymm2,\at*4+64(\to)
    vextracti128 $1,%ymm3,\at*4+80(\to)
.endm
.macro PERISTYLE_MORE x to at
    PERISTYLE_WIDEN \x
    vextracti128 $1,%ymm2,%xmm0
    vextracti128 $1,%ymm3,%xmm1
    vpaddd \at*4(\to),%xmm2,%xmm2
    vpaddd \at*4+16(\to),%xmm3,%xmm3
    vpaddd \at*4+64(\to),%xmm0,%xmm0
    vpaddd \at*4+80(\to),%xmm1,%xmm1
    vmovdqu %xmm2,\at*4(\to)
    vmovdqu %xmm3,\at*4+16(\to)
    vmovdqu %xmm0,\at*4+64(\to)
    vmovdqu %xmm1,\at*4+80(\to)
.endm
.macro PERISTYLE_TILE store
    lea (%rdx,%rcx),%r11
    \store 0 %rdx 0
    \store 1 %rdx 8
    \store 2 %rdx 32
    \store 3 %rdx 40
    \store 4 %r11 0
    \store 5 %r11 8
    \store 6 %r11 32
    \store 7 %r11 40
.endm

    push %rbp
    mov %rsp,%rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    sub $512,%rsp
    and $-64,%rsp
    .p2align 4
1:
    mov 16(%rbp),%rax
    mov 24(%rbp),%r10
    PERISTYLE_NEXT 0 rbx r12
    PERISTYLE_NEXT 8 r13 r14
    PERISTYLE_MASK 2 4 PERISTYLE_SET3 PERISTYLE_ADD3 PERISTYLE_CARRY3
    PERISTYLE_LOAD_HIGH 0 4 5 6 7
    PERISTYLE_MASK 14 2 PERISTYLE_SET1 PERISTYLE_ADD1 PERISTYLE_CARRY1
    PERISTYLE_STORE_HIGH 0 4 5 6 7
    PERISTYLE_LOAD_HIGH 4 0 1 2 3
    PERISTYLE_MASK 26 2 PERISTYLE_SET2 PERISTYLE_ADD2 PERISTYLE_CARRY2
    PERISTYLE_STORE_HIGH 4 0 1 2 3
    vpxor %xmm15,%xmm15,%xmm15
    test %r9,%r9
    jnz 9f
    PERISTYLE_TILE PERISTYLE_STORE
    jmp 10f
9:
    PERISTYLE_TILE PERISTYLE_MORE
10:
    add $64,%rsi
    add $256,%rdx
    dec %r8
    jnz 1b
    vzeroupper
    lea -32(%rbp),%rsp
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret

.purgem PERISTYLE_NEXT
.purgem PERISTYLE_ROWS
.purgem PERISTYLE_SET
.purgem PERISTYLE_ADD
.purgem PERISTYLE_SET3
.purgem PERISTYLE_ADD3
.purgem PERISTYLE_SET1
.purgem PERISTYLE_ADD1
.purgem PERISTYLE_SET2
.purgem PERISTYLE_ADD2
.purgem PERISTYLE_BLOCK8
.purgem PERISTYLE_KEEP
.purgem PERISTYLE_CARRY
.purgem PERISTYLE_CARRY_TO
.purgem PERISTYLE_CARRY3
.purgem PERISTYLE_CARRY1
.purgem PERISTYLE_CARRY2
.purgem PERISTYLE_LOAD_HIGH
.purgem PERISTYLE_STORE_HIGH
.purgem PERISTYLE_MASK
.purgem PERISTYLE_WIDEN
.purgem PERISTYLE_STORE
.purgem PERISTYLE_MORE
.purgem PERISTYLE_TILE
