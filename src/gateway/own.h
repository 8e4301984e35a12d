#pragma once

#include "conf/conf.h"

/*
 * A pool address that is an address of the gateway itself: the kernel and the hosts must
 * not use the same ports.  Sockets on that address and `ip_local_port_range` must lie
 * outside the pool's ports, or be reserved (ip_local_reserved_ports), and so must the
 * ports that other hosts are translated to; for these the kernel must forward, too.
 */

/* 0, or ERR_CONFIG with the address, the ports and the next step in why. */
int own_check(const struct conf *conf, char *why, size_t why_size);

/* The parts, with files and addresses given, for tests. */
struct own_view {
	const char *proc; /* "/proc" */
	const uint32_t *addresses;
	size_t n_addresses;
};
int own_check_view(
	const struct own_view *v, const struct conf *conf, char *why, size_t why_size);
