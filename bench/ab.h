#pragma once

#include <stdint.h>

/* What bench/ab shares with its programs in the kernel (ab.bpf.c). */

#define AB_IN  64 /* bytes of a frame to the hosts */
#define AB_OUT 88 /* and of one from them */

enum ab_vary { AB_SPI, AB_INNER_PORT, AB_INNER_SPI, AB_PORT };

struct ab_gen {
	uint8_t frame[AB_OUT];
	uint32_t vary;  /* enum ab_vary */
	uint32_t n;     /* flows */
	uint32_t hosts; /* a power of two, less one */
	uint32_t interface;
};

/* SPIs without a pattern that a table could profit from. */
static inline uint32_t ab_spi(uint32_t i)
{
	return i * 2654435761U + 0x10000;
}
