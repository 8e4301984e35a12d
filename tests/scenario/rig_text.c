/*
 * Effects as words, for the scenarios' `effect` lines and for messages about faults:
 *
 *     install bind=7 client=3 host=10.0.0.5 method=rsap-ip address=203.0.113.1
 * ports=2048-2063
 */
#include "rig_internal.h"
#include "words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const methods[METHODS] = { "rsa-ip", "rsap-ip", "rsipsec", "listen",
	"listen-ike" };
static const char *const tunnels[] = { "none", "ipip", "gre", "l2tp" };
static const char *const audits[] = { "register", "deregister", "quota", "exhausted",
	"grant", "extend", "end" };
static const char *const reasons[] = { "freed", "deregistered", "expired", "operator" };
static const char *const rests[] = { "address", "port", "spi" };

static void put_addr(FILE *out, const char *key, uint32_t addr)
{
	char text[ADDR_TEXT_MAX];

	(void)fprintf(out, " %s=%s", key, addr_format(addr, text));
}

static void put_ranges(
	FILE *out, const char *key, const struct range *r, size_t n, bool hex)
{
	int len = ranges_format(r, n, hex, NULL, 0);
	char *text = malloc((size_t)len + 1);

	if (text == NULL)
		abort();
	(void)ranges_format(r, n, hex, text, (size_t)len + 1);
	(void)fprintf(out, " %s=%s", key, n == 0 ? "-" : text);
	free(text);
}

static void put_lease(FILE *out, const struct lease *l)
{
	(void)fprintf(out, " bind=%u client=%u method=%s tunnel=%s", l->bind_id,
		l->client_id, methods[l->method], tunnels[l->tunnel]);
	put_addr(out, "host", l->host);
	put_addr(out, "gateway", l->gateway);
	put_addr(out, "address", l->address);
	put_ranges(out, "ports", l->ports, l->n_ports, false);
	put_ranges(out, "spis", l->spis, l->n_spis, true);
	if (l->remote.flow == REMOTE_NONE)
		(void)fprintf(out, " remote=*");
	else
		put_addr(out, "remote", l->remote.addr);
	for (size_t i = 0; i < l->remote.n_more; i++)
		put_addr(out, "also", l->remote.more[i]);
	if (l->remote_name_len > 0)
		fprintf(out, " name=%.*s", (int)l->remote_name_len, l->remote_name);
	if (l->ike_id_len > 0)
		(void)fprintf(out, " ike-id=%u:", (unsigned int)l->ike_id[0]);
	for (size_t i = 1; i < l->ike_id_len; i++)
		(void)fprintf(out, "%02x", (unsigned int)l->ike_id[i]);
	if (l->remote.flow == REMOTE_MICRO)
		(void)fprintf(out, " rport=%u", (unsigned int)l->remote.port);
	(void)fprintf(out, " granted=%" PRIu64 " expires=%" PRIu64, l->granted_ms,
		l->expires_ms);
}

static void put_registration(FILE *out, const struct registration *r)
{
	(void)fprintf(out, " client=%u", r->client_id);
	put_addr(out, "host", r->host);
	(void)fprintf(out, " transport=%s expires=%" PRIu64,
		r->peer.transport == TRANSPORT_UDP ? "udp" : "tcp", r->expires_ms);
}

static void put_persist(FILE *out, const struct effect *e)
{
	const struct resting *rest = e->persist.resting;

	(void)fprintf(out, "%s ", e->persist.gone ? "forget" : "persist");
	switch (e->persist.kind) {
	case PERSIST_REGISTRATION:
		(void)fprintf(out, "registration");
		put_registration(out, e->persist.reg);
		break;
	case PERSIST_LEASE:
		(void)fprintf(out, "lease");
		put_lease(out, e->persist.lease);
		break;
	case PERSIST_RESTING:
		(void)fprintf(out, "resting kind=%s", rests[rest->kind]);
		put_addr(out, "address", rest->address);
		put_ranges(out, "range", &rest->range, 1, rest->kind == REST_SPI);
		break;
	}
}

char *watch_text(const struct effect *e)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out;

	if (e->kind == EFFECT_REPLY)
		return words_decode(e->reply.bytes, e->reply.len);
	out = open_memstream(&text, &len);
	if (out == NULL)
		abort();
	switch (e->kind) {
	case EFFECT_INSTALL:
	case EFFECT_REMOVE:
		(void)fprintf(
			out, "%s", e->kind == EFFECT_INSTALL ? "install" : "remove");
		put_lease(out, e->lease);
		break;
	case EFFECT_PERSIST:
		put_persist(out, e);
		break;
	case EFFECT_AUDIT:
		(void)fprintf(out, "audit %s reason=%s", audits[e->audit.kind],
			reasons[e->audit.reason]);
		if (e->audit.lease != NULL)
			put_lease(out, e->audit.lease);
		else
			put_registration(out, e->audit.reg);
		break;
	case EFFECT_RESOLVE:
		fprintf(out, "resolve %s name=%.*s", e->resolve.waits ? "waits" : "again",
			(int)e->resolve.len, e->resolve.name);
		break;
	case EFFECT_REPLY:
		break;
	}
	(void)fclose(out);
	return text;
}
