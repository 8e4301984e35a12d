#pragma once

#include <rsip/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SAs of this kernel and the leases that their SPIs stand on. */

struct host;
struct hold;

/* Without XFRM in the kernel there are none, and nothing below does anything. */
void sas_open(struct host *h);
void sas_close(struct host *h);
/* Does a lease of this host hold the SPI? */
bool sas_leased(const struct host *h, uint32_t addr, uint32_t spi);
/*
 * A lease ended: expire the SAs towards addr whose SPIs are in the ranges and that no
 * lease of ours holds.  IKE daemons are told by the kernel.  Returns how many there were.
 */
size_t sas_sweep(struct host *h, uint32_t addr, const struct rsip_range *ranges, size_t n,
	const char *why);
/*
 * The SPI is not to be had: end its SA.  One that has only just got its keys stays for
 * the moment, since its daemon may not know it itself yet and would miss the expiry:
 * true, and the caller comes again.
 */
bool sas_refuse(struct host *h, uint32_t addr, uint32_t spi, const char *why);
/* As sas_sweep(), for what a hold has leased now, as if it were no longer so. */
size_t sas_sweep_hold(struct hold *hold, const char *why);
