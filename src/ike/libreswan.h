#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * What libreswan's connections need on a leased address, as a section of ipsec.conf that
 * they take in by `also=`.  Pure text.
 */
struct libreswan {
	uint32_t address;
	uint16_t port; /* leased, for IKE; 0: none, IKE is told apart by cookie */
};

/* Returns the length it would need, as snprintf does. */
int libreswan_format(const struct libreswan *l, char *buf, size_t size);
