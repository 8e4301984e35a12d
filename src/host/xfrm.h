#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The kernel's security associations by XFRM netlink, as far as RSIP is concerned:
 * inbound ones of an IPv4 address.  Functions return 0 or -errno.
 */

struct nl;

struct xfrm_sa {
	uint32_t src, dst, spi;
	uint8_t proto; /* 50 ESP, 51 AH */
	/* The SPI is allocated, no key is there yet: an IKE daemon is negotiating. */
	bool larval;
	uint32_t mark, mask;
	uint64_t added_s; /* CLOCK_REALTIME */
};

/* -EPROTONOSUPPORT where the kernel has no XFRM. */
int xfrm_open(struct nl **nl);
/*
 * ESP and AH with an SPI towards dst, larval ones too; AH before or after ESP as the
 * kernel has them.  *result is the caller's to free.
 */
int xfrm_list(struct nl *nl, uint32_t dst, struct xfrm_sa **result, size_t *n);
/*
 * Take it out of the kernel.  A whole one expires (hard), which IKE daemons listen for:
 * they tell the peer and negotiate anew.  Of a larval one its daemon learns when it wants
 * to install it.  -ENOENT, -ESRCH: it was gone.
 */
int xfrm_end(struct nl *nl, const struct xfrm_sa *sa);

/*
 * A socket that becomes readable when SAs came or went (not larval ones, whose making is
 * no event); nl_watch_drain() empties it.
 */
int xfrm_watch_open(int *fd);
