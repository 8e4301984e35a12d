#pragma once

#include "engine/state.h"

/* Where a binding goes: steps V19 and V20 of the validation table. */

/* What a host asked for, and then what it gets. */
struct place {
	/* asked */
	struct reg *reg;
	enum lease_method method;
	bool named; /* the address */
	bool v6;    /* of the family IPv6, which no pool has */
	uint32_t address;
	enum wire_form port_form, spi_form; /* FORM_DONT_NEED: none */
	uint32_t n_ports, n_spis;           /* numbers asked for */
	/* asked when named, then granted; point into the engine's scratch */
	struct range *ports, *spis;
	size_t n_port_ranges, n_spi_ranges;
	const uint8_t *ike_id; /* METHOD_IKE */
	uint16_t ike_id_len;
	/* granted */
	struct pool_addr *addr;
};

/*
 * Find it.  0 or the RSIP error; changes nothing, except that resting ports are freed
 * when that is needed for a grant of "any n".
 */
uint16_t place_find(struct engine *e, struct place *p);
/* Does the host ask for more than its policy allows, whatever the pools have? */
bool place_exceeds_quota(const struct place *p);
