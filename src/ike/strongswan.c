/*
 * The drop-in for charon.  The keys are those that strongSwan 5.9.8 reads when it starts
 * (port, port_nat_t, spi_label, spi_mask) or at each allocation (spi_min, spi_max).
 */
#include "ike/strongswan.h"

#include "base/err.h"

#include <inttypes.h>
#include <stdio.h>

int strongswan_spis(const struct range *spis, size_t n, struct range *block)
{
	const struct range *best = NULL;

	for (size_t i = 0; i < n; i++)
		if (best == NULL || spis[i].hi - spis[i].lo > best->hi - best->lo)
			best = &spis[i];
	if (best == NULL || best->hi - best->lo < STRONGSWAN_SPIS_MIN - 1)
		return ERR_NOTFOUND;
	*block = *best;
	return 0;
}

void strongswan_ports(
	const struct range *ports, size_t n, uint16_t *port, uint16_t *port_nat_t)
{
	*port = 500;
	*port_nat_t = 4500;
	if (n == 0)
		return;
	*port = (uint16_t)ports[0].lo;
	if (ports[0].hi > ports[0].lo)
		*port_nat_t = (uint16_t)(ports[0].lo + 1);
	else
		*port_nat_t = n > 1 ? (uint16_t)ports[1].lo : 0;
}

int strongswan_format(const struct strongswan *s, char *buf, size_t size)
{
	char address[ADDR_TEXT_MAX];

	/*
	 * The label is the first leased SPI in front of a cookie: no two hosts of an
	 * address can have the same one, because the gateway leases each SPI once.
	 */
	return snprintf(buf, size,
		"# Written by `rsip ike strongswan` from binding %" PRIu32 " of %s;\n"
		"# write it again when the binding changes.\n"
		"charon {\n"
		"    port = %u\n"
		"    port_nat_t = %u\n"
		"    spi_min = 0x%08" PRIx32 "\n"
		"    spi_max = 0x%08" PRIx32 "\n"
		"    spi_label = 0x%016" PRIx64 "\n"
		"    spi_mask = 0xffffffff00000000\n"
		"}\n",
		s->bind_id, addr_format(s->address, address), s->port, s->port_nat_t,
		s->spis.lo, s->spis.hi, (uint64_t)s->spis.lo << 32);
}
