/*
 * libreswan 4.10 takes its SPIs from the kernel and can't be given a block; what is to be
 * said is the address and the port.  From a port other than 500 it puts the non-ESP
 * marker in front of IKE, which a peer expects on 4500 only.
 */
#include "ike/libreswan.h"

#include "base/addr.h"

#include <stdio.h>

int libreswan_format(const struct libreswan *l, char *buf, size_t size)
{
	char address[ADDR_TEXT_MAX], port[96] = "";

	if (l->port != 0)
		(void)snprintf(port, sizeof(port),
			"    leftikeport=%u\n    rightikeport=4500\n", l->port);
	return snprintf(buf, size,
		"# Written by `rsip ike libreswan`; connections say also=rsip.\n"
		"conn rsip\n"
		"    left=%s\n"
		"%s"
		"    mobike=no\n"
		"    encapsulation=no\n",
		addr_format(l->address, address), port);
}
