#pragma once

#include <stdint.h>

/*
 * Big-endian numbers at any address.  A native build copies bytes (no alignment is
 * assumed, so UBSan is content); BPF loads a word where the verifier allows any address.
 *
 * Everything in core/ is compiled twice: into the programs and, with -target bpf
 * -ffreestanding, into the kernel.  Hence: static inline, (data, end) arguments, no
 * helpers, no globals, no loop without a fixed bound, bounds written `p + n > end`.
 */

#define CORE static inline __attribute__((always_inline, unused))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BE16(x) __builtin_bswap16(x)
#define BE32(x) __builtin_bswap32(x)
#else
#define BE16(x) (x)
#define BE32(x) (x)
#endif

/* As it lies in memory. */
CORE uint16_t raw_get16(const uint8_t *p)
{
#ifdef __bpf__
	return *(const uint16_t *)p;
#else
	uint16_t v;

	__builtin_memcpy(&v, p, sizeof v);
	return v;
#endif
}

CORE uint32_t raw_get32(const uint8_t *p)
{
#ifdef __bpf__
	return *(const uint32_t *)p;
#else
	uint32_t v;

	__builtin_memcpy(&v, p, sizeof v);
	return v;
#endif
}

CORE uint16_t be_get16(const uint8_t *p)
{
#ifdef __bpf__
	return BE16(*(const uint16_t *)p);
#else
	uint16_t v;

	__builtin_memcpy(&v, p, sizeof v);
	return BE16(v);
#endif
}

CORE uint32_t be_get32(const uint8_t *p)
{
#ifdef __bpf__
	return BE32(*(const uint32_t *)p);
#else
	uint32_t v;

	__builtin_memcpy(&v, p, sizeof v);
	return BE32(v);
#endif
}

CORE void be_put16(uint8_t *p, uint16_t v)
{
#ifdef __bpf__
	*(uint16_t *)p = BE16(v);
#else
	v = BE16(v);
	__builtin_memcpy(p, &v, sizeof v);
#endif
}

CORE void be_put32(uint8_t *p, uint32_t v)
{
#ifdef __bpf__
	*(uint32_t *)p = BE32(v);
#else
	v = BE32(v);
	__builtin_memcpy(p, &v, sizeof v);
#endif
}
