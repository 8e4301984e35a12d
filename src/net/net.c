/*
 * All sockets of the gateway as one: which of them a message leaves from, and when their
 * memory may go.
 */
#include "net/net.h"

#include "base/addr.h"
#include "base/err.h"
#include "net/tcp.h"
#include "net/udp.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct net {
	struct net_conf conf;
	struct net_place places[NET_PLACES_MAX];
	uv_loop_t *loop;
	struct net_counters counters;
	struct udp_batch *batch;
	struct udp **udp;
	size_t n_udp;
	struct tcp *tcp; /* NULL: not served */
	size_t parts;    /* not let go of by the loop yet */
};

const char *net_close_name(enum net_close c)
{
	static const char *const names[NET_CLOSES] = {
		[NET_CLOSE_TOTAL] = "total",
		[NET_CLOSE_HOST] = "host",
		[NET_CLOSE_IDLE] = "idle",
		[NET_CLOSE_STALL] = "stall",
		[NET_CLOSE_PROTOCOL] = "protocol",
		[NET_CLOSE_MEMORY] = "memory",
	};

	return (unsigned int)c < NET_CLOSES ? names[c] : NULL;
}

static void on_part_gone(void *ctx)
{
	struct net *n = ctx;

	if (--n->parts > 0)
		return;
	udp_batch_free(n->batch);
	free(n->udp);
	free(n);
}

void net_free(struct net *n)
{
	if (n == NULL)
		return;
	assert(n->udp != NULL || n->n_udp == 0);
	for (size_t i = 0; i < n->n_udp; i++)
		udp_free(n->udp[i], on_part_gone, n);
	if (n->tcp != NULL)
		tcp_free(n->tcp, on_part_gone, n);
	on_part_gone(n); /* the one of net_new() */
}

static bool is_same(const struct net_endpoint *a, const struct net_endpoint *b)
{
	return a->addr == b->addr && a->port == b->port;
}

static bool is_among(
	const struct net_endpoint *at, const struct net_endpoint *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_same(at, &list[i]))
			return true;
	return false;
}

static bool is_open(const struct net *n, const struct net_endpoint *at)
{
	for (size_t i = 0; i < n->n_udp; i++)
		if (is_same(at, udp_endpoint(n->udp[i])))
			return true;
	return false;
}

/* UDP socket i and the TCP listener beside it. */
static void close_endpoint(struct net *n, size_t i)
{
	if (n->tcp != NULL)
		tcp_unlisten(n->tcp, udp_endpoint(n->udp[i]));
	udp_free(n->udp[i], on_part_gone, n);
	n->udp[i] = n->udp[--n->n_udp];
}

static int open_endpoint(struct net *n, const struct net_endpoint *at, const char **what)
{
	struct udp **udp = realloc(n->udp, (n->n_udp + 1) * sizeof(struct udp *));
	int err;

	*what = "UDP";
	if (udp == NULL)
		return -ENOMEM;
	n->udp = udp;
	err = udp_new(n->loop, at, &n->conf, n->batch, &n->counters, &n->udp[n->n_udp]);
	if (err != 0)
		return err;
	n->n_udp++;
	n->parts++;
	*what = "TCP";
	err = n->tcp != NULL ? tcp_listen(n->tcp, at) : 0;
	if (err != 0)
		close_endpoint(n, n->n_udp - 1);
	return err;
}

static void explain(const struct net_endpoint *at, const char *what, int err, char *why,
	size_t why_size)
{
	char addr[ADDR_TEXT_MAX];
	const char *next = "";

	if (err == -EADDRINUSE)
		next = "; another program holds it: end that, or change `listen`";
	else if (err == -EADDRNOTAVAIL)
		next = "; no interface has that address: bring it up, or change `listen`";
	else if (err == -EACCES)
		next = "; ports below 1024 need CAP_NET_BIND_SERVICE";
	(void)snprintf(why, why_size, "cannot listen on %s:%u (%s): %s%s",
		addr_format(at->addr, addr), at->port, what, err_text(err), next);
}

int net_listen(struct net *n, const struct net_endpoint *endpoints, size_t n_endpoints,
	char *why, size_t why_size)
{
	size_t before = n->n_udp;
	const char *what = "";

	for (size_t i = 0; i < n_endpoints; i++) {
		int err = is_open(n, &endpoints[i])
				  ? 0
				  : open_endpoint(n, &endpoints[i], &what);

		if (err == 0)
			continue;
		explain(&endpoints[i], what, err, why, why_size);
		while (n->n_udp > before)
			close_endpoint(n, n->n_udp - 1);
		return err;
	}
	for (size_t i = n->n_udp; i > 0; i--)
		if (!is_among(udp_endpoint(n->udp[i - 1]), endpoints, n_endpoints))
			close_endpoint(n, i - 1);
	return 0;
}

/* Without sockets yet; NULL when memory is short. */
static struct net *net_alloc(uv_loop_t *loop, const struct net_conf *conf)
{
	struct net *n = calloc(1, sizeof(*n));
	struct udp_batch *batch = udp_batch_new();

	if (n == NULL || batch == NULL) {
		udp_batch_free(batch);
		free(n);
		return NULL;
	}
	n->parts = 1; /* ours, until net_free() */
	n->loop = loop;
	n->conf = *conf;
	n->conf.endpoints = NULL; /* only of the caller's call */
	n->conf.places = n->places;
	n->conf.n_places = conf->n_places < NET_PLACES_MAX ? conf->n_places : 0;
	for (size_t i = 0; i < n->conf.n_places; i++)
		n->places[i] = conf->places[i];
	n->batch = batch;
	return n;
}

int net_new(uv_loop_t *loop, const struct net_conf *conf, struct net **net, char *why,
	size_t why_size)
{
	struct net *n = net_alloc(loop, conf);
	int err;

	if (n == NULL)
		return -ENOMEM;
	err = conf->tcp ? tcp_new(loop, &n->conf, &n->counters, &n->tcp) : 0;
	n->parts += n->tcp != NULL;
	if (err == 0)
		err = net_listen(n, conf->endpoints, conf->n_endpoints, why, why_size);
	if (err != 0)
		net_free(n);
	else
		*net = n;
	return err;
}

static struct udp *udp_of(const struct net *n, const struct peer *to)
{
	for (size_t i = 0; i < n->n_udp; i++)
		if (udp_serves(n->udp[i], to->local, to->local_port))
			return n->udp[i];
	return NULL;
}

int net_send(struct net *n, const struct peer *to, const uint8_t *bytes, size_t len,
	bool close)
{
	struct udp *u;

	if (to->transport == TRANSPORT_TCP && n->tcp != NULL)
		return tcp_send(n->tcp, to->conn, bytes, len, close);
	if (to->transport == TRANSPORT_TCP) {
		n->counters.tcp_unsent++;
		return ERR_UNREACHABLE;
	}
	u = udp_of(n, to);
	if (u == NULL) {
		n->counters.udp_unsent++;
		return ERR_UNREACHABLE;
	}
	udp_send(u, to, bytes, len);
	return 0;
}

void net_owe(struct net *n, const struct peer *to, int answers)
{
	if (to->transport == TRANSPORT_TCP && n->tcp != NULL)
		tcp_owe(n->tcp, to->conn, answers);
}

void net_flush(struct net *n)
{
	for (size_t i = 0; i < n->n_udp; i++)
		udp_flush(n->udp[i]);
	if (n->tcp != NULL)
		tcp_flush(n->tcp);
}

void net_set_limits(struct net *n, const struct net_limits *limits)
{
	n->conf.limits = *limits;
}

int net_set_places(struct net *n, const struct net_place *places, size_t n_places)
{
	int err = 0;

	if (n_places > NET_PLACES_MAX)
		return -E2BIG;
	for (size_t i = 0; i < n_places; i++)
		n->places[i] = places[i];
	n->conf.n_places = n_places;
	for (size_t i = 0; i < n->n_udp && err == 0; i++)
		err = udp_place(n->udp[i]);
	return err == 0 && n->tcp != NULL ? tcp_place(n->tcp) : err;
}

uint64_t net_kernel_dropped(const struct net *n, enum transport transport)
{
	uint64_t sum = 0;

	if (transport == TRANSPORT_TCP)
		return n->tcp != NULL ? tcp_kernel_dropped(n->tcp) : 0;
	for (size_t i = 0; i < n->n_udp; i++)
		sum += udp_kernel_dropped(n->udp[i]);
	return sum;
}

void net_secure(struct net *n, const struct net_proof *proof)
{
	n->conf.proof = *proof;
}

const struct net_counters *net_counters(const struct net *n)
{
	return &n->counters;
}
