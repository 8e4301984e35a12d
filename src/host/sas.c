/*
 * An SA whose SPI is not leased any more is deaf, and the next owner of the SPI hears
 * what is meant for it.  So it ends with the lease: the kernel's hard expiry makes the
 * IKE daemon, whichever it is, delete it at the peer, too, and negotiate a new one.
 */
#include "host/sas.h"

#include "base/err.h"
#include "base/log.h"
#include "host/host.h"
#include "host/xfrm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

/* Of whole seconds: at least one has gone by then. */
#define SETTLED_S 2

void sas_open(struct host *h)
{
	int err = xfrm_open(&h->xfrm);

	if (err != 0)
		log_info("no security associations in this kernel", "reason=\"%s\"",
			err_text(err));
}

void sas_close(struct host *h)
{
	nl_close(h->xfrm);
	h->xfrm = NULL;
}

static bool in(const struct rsip_range *r, size_t n, uint32_t spi)
{
	for (size_t i = 0; i < n; i++)
		if (spi >= r[i].lo && spi <= r[i].hi)
			return true;
	return false;
}

bool sas_leased(const struct host *h, uint32_t addr, uint32_t spi)
{
	for (const struct hold *hold = h->holds; hold != NULL; hold = hold->next) {
		const struct rsip_grant *g = hold_grant(hold);

		if (g == NULL || g->address != addr || hold->freeing ||
			hold->use == HOLD_EXEC)
			continue;
		if (g->kind == RSIP_RSA_IP || in(g->spis, g->n_spis, spi))
			return true;
	}
	return false;
}

static bool end_one(struct host *h, const struct xfrm_sa *sa, const char *why)
{
	if (xfrm_end(h->xfrm, sa) != 0)
		return false;
	h->sas_ended++;
	log_info("security association ended", "spi=0x%08" PRIx32 " reason=\"%s\"",
		sa->spi, why);
	return true;
}

bool sas_refuse(struct host *h, uint32_t addr, uint32_t spi, const char *why)
{
	struct xfrm_sa *list;
	uint64_t now = (uint64_t)time(NULL);
	bool later = false;
	size_t n;

	if (h->xfrm == NULL || xfrm_list(h->xfrm, addr, &list, &n) != 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct xfrm_sa *sa = &list[i];

		if (sa->spi != spi)
			continue;
		/* A clock that was set back makes it old. */
		if (!sa->larval && now >= sa->added_s && now - sa->added_s < SETTLED_S)
			later = true;
		else
			(void)end_one(h, sa, why);
	}
	free(list);
	return later;
}

size_t sas_sweep(struct host *h, uint32_t addr, const struct rsip_range *ranges, size_t n,
	const char *why)
{
	struct xfrm_sa *list;
	size_t have, ended = 0;

	if (h->xfrm == NULL || n == 0 || addr == 0 ||
		xfrm_list(h->xfrm, addr, &list, &have) != 0)
		return 0;
	for (size_t i = 0; i < have; i++) {
		if (in(ranges, n, list[i].spi) && !sas_leased(h, addr, list[i].spi) &&
			end_one(h, &list[i], why))
			ended++;
	}
	free(list);
	return ended;
}

size_t sas_sweep_hold(struct hold *hold, const char *why)
{
	static const struct rsip_range all[] = { { 1, UINT32_MAX } };
	const struct rsip_grant *g = hold_grant(hold);
	bool freeing = hold->freeing;
	size_t n;

	if (g == NULL || hold->use == HOLD_EXEC)
		return 0;
	hold->freeing = true;
	if (g->kind == RSIP_RSA_IP)
		n = sas_sweep(hold->gw->host, g->address, all, 1, why);
	else
		n = sas_sweep(hold->gw->host, g->address, g->spis, g->n_spis, why);
	hold->freeing = freeing;
	return n;
}
