#pragma once

#include "kxd/kxd.h"

/* Carry out what the decisions say. */
void act(struct kxd *d, const struct kx_action *a);

uint32_t act_addr4(const struct kx_addr *a);
