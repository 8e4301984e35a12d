#pragma once

#include "net/net.h"

/*
 * A server on a free port of loopback that answers each message with its own bytes, and
 * what it saw.  Answers leave with net_flush() after each step of the loop.
 */
struct fixture {
	uv_loop_t loop;
	struct net *net;
	struct net_endpoint at[2];
	size_t messages, closed;
	uint64_t last_conn;
	struct peer last;
	size_t last_len;
	bool mute;     /* take messages, answer nothing */
	bool close;    /* end the connection behind the answer */
	size_t repeat; /* answers to one message; 0 is 1 */
};

#define LOOPBACK 0x7f000001

void fixture_open(struct fixture *f, struct net_limits limits, bool tcp);
void fixture_close(struct fixture *f);
/* Steps of the loop until *what is at least n; fails the test after five seconds. */
void fixture_until(struct fixture *f, const size_t *what, size_t n);
/* One step that does not wait. */
void fixture_step(struct fixture *f);

/* A socket of the test at 127.0.0.x, connected over TCP or UDP to the first endpoint. */
int fixture_host(struct fixture *f, int type, unsigned int x);
/* `len` bytes of a message of that whole length: 1, type, length, then i, i+1, ... */
void fixture_message(uint8_t *bytes, uint16_t len, uint8_t type);
/* Read exactly n bytes, stepping the loop meanwhile; returns how many came before the
 * end.
 */
size_t fixture_read(struct fixture *f, int fd, uint8_t *bytes, size_t n);
