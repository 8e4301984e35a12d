/*
 * BPF_PROG_TEST_RUN, one packet a time.  The procedures run first: what they learn and
 * the hops that they use reach the tables as in the driver, so the programs decide as
 * much as they ever would.
 */
#include "shadow.h"

#include "dataplane/core/ip4.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t macs[LINKS][6] = { { 2, 0, 0, 0, 0, 1 }, { 2, 0, 0, 0, 0, 2 } };
static const uint8_t there[LINKS][6] = { { 2, 0, 0, 0, 1, 1 }, { 2, 0, 0, 0, 1, 2 } };

static void on_out_spi(void *ctx, const struct learned *e, bool is_there)
{
	struct shadow *s = ctx;

	keep_out_spi(&s->keep, e, is_there);
}

static void on_cookie(void *ctx, const struct learned *e, bool is_there)
{
	struct shadow *s = ctx;

	keep_cookie(&s->keep, e, is_there);
}

static void on_path(void *ctx, uint32_t host, uint16_t mtu)
{
	struct shadow *s = ctx;

	keep_path(&s->keep, host, mtu);
}

int shadow_open(struct shadow *s, struct forward *f)
{
	const struct dp_events events = { 0 };
	char why[256];

	memset(s, 0, sizeof *s);
	s->forward = f;
	keep_measure(&s->keep, f, 4096);
	int err = load_open(&s->load, &s->keep, NULL, &events, why, sizeof why);
	if (err) {
		(void)printf("1..0 # SKIP %s\n", why);
		load_close(&s->load);
		return err == -EPERM || err == -EACCES || err == -ENOSYS ? 77 : 1;
	}
	/* Where to does not matter, only that there is an interface. */
	for (int i = 0; i < LINKS; i++)
		if (load_set_link(&s->load, (enum forward_link)i, 1))
			return 1;
	if (keep_init(&s->keep, load_conf(&s->load), 0x1234567800000001))
		return 1;
	/* Reasons are compared, so no packet is one too many. */
	for (int i = 0; i < MAPS_MOSTS; i++)
		load_conf(&s->load)->most[i] = UINT32_MAX;
	f->tables.learned[LEARNED_SPI].watch = on_out_spi;
	f->tables.learned[LEARNED_SPI].watch_ctx = s;
	f->tables.learned[LEARNED_IKE].watch = on_cookie;
	f->tables.learned[LEARNED_IKE].watch_ctx = s;
	f->path = on_path;
	f->path_ctx = s;
	shadow_conf(s);
	return 0;
}

void shadow_close(struct shadow *s)
{
	s->forward->tables.learned[LEARNED_SPI].watch = NULL;
	s->forward->tables.learned[LEARNED_IKE].watch = NULL;
	s->forward->path = NULL;
	keep_fini(&s->keep);
	load_close(&s->load);
}

void shadow_conf(struct shadow *s)
{
	keep_conf(&s->keep, macs);
}

void shadow_send(struct shadow *s, enum forward_link link, uint32_t dst,
	const struct forward_piece *piece, int n)
{
	struct shadow_sent *to = &s->sent[s->n_sent < SHADOW_SENT ? s->n_sent : 0];

	s->n_sent++;
	to->link = link;
	to->len = 0;
	for (int i = 0; i < n; i++) {
		if (to->len + piece[i].len <= sizeof to->bytes)
			memcpy(to->bytes + to->len, piece[i].at, piece[i].len);
		to->len += piece[i].len;
	}
	keep_hop(&s->keep, link, dst, there[link]);
}

/* Each packet has its own identification outside; the rest of the header must not differ.
 */
static void same_id(uint8_t *want, const uint8_t *have)
{
	be_put16(want + IP4_AT_ID, be_get16(have + IP4_AT_ID));
	be_put16(want + IP4_AT_CSUM, 0);
	be_put16(want + IP4_AT_CSUM, csum_fold(csum_sum20(want)));
}

static const char *check_redirect(
	struct shadow *s, enum forward_link from, const uint8_t *frame, size_t len)
{
	enum forward_link to = from == LINK_PRIVATE ? LINK_PUBLIC : LINK_PRIVATE;
	struct shadow_sent *w = &s->sent[0];

	s->redirected++;
	if (s->n_sent != 1 || w->link != to)
		return "the program forwarded, the procedure did not";
	if (memcmp(frame, there[to], 6) != 0 || memcmp(frame + 6, macs[to], 6) != 0 ||
		be_get16(frame + 12) != ETH_P_IP)
		return "the program wrote another link header";
	if (to == LINK_PRIVATE)
		same_id(w->bytes, frame + ETH_HLEN);
	if (len != ETH_HLEN + w->len || memcmp(frame + ETH_HLEN, w->bytes, w->len) != 0)
		return "the program sent another packet";
	return NULL;
}

/* What happened to one packet, by the counters. */
static const char *check_counts(const struct dp_stats *slow, const struct dp_stats *fast)
{
	for (int d = 0; d < DP_DIRECTIONS; d++) {
		if (slow->forwarded[d] != fast->forwarded[d] ||
			slow->forwarded_bytes[d] != fast->forwarded_bytes[d])
			return "the program counted another number of bytes";
		for (int r = 0; r < DP_REASONS; r++)
			if (slow->dropped[d][r] != fast->dropped[d][r])
				return "the program gave another reason";
	}
	return NULL;
}

static void subtract(struct dp_stats *from, const struct dp_stats *what)
{
	for (int d = 0; d < DP_DIRECTIONS; d++) {
		from->forwarded[d] -= what->forwarded[d];
		from->forwarded_bytes[d] -= what->forwarded_bytes[d];
		for (int r = 0; r < DP_REASONS; r++)
			from->dropped[d][r] -= what->dropped[d][r];
	}
}

static void counters(struct shadow *s, struct dp_stats *slow, struct dp_stats *fast)
{
	forward_stats(s->forward, slow);
	memset(fast, 0, sizeof *fast);
	load_stats(&s->load, fast);
}

/* NOLINTBEGIN(readability-non-const-parameter): the kernel writes to out */
static int run(struct shadow *s, enum forward_link link, const uint8_t *p, size_t len,
	uint8_t *out, uint32_t *out_len)
/* NOLINTEND(readability-non-const-parameter) */
{
	uint8_t in[ETH_HLEN + 2048] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in,
		.data_size_in = (uint32_t)(ETH_HLEN + len), .data_out = out,
		.data_size_out = *out_len);

	memcpy(in, macs[link], 6);
	memcpy(in + 6, there[link], 6);
	be_put16(in + 12, ETH_P_IP);
	memcpy(in + ETH_HLEN, p, len);
	if (bpf_prog_test_run_opts(load_program(&s->load, link), &opts))
		return -errno;
	*out_len = opts.data_size_out;
	return (int)opts.retval;
}

const char *shadow_packet(struct shadow *s, enum forward_link link, const uint8_t *p,
	size_t len, uint64_t now_ms, bool *taken)
{
	struct dp_stats slow[2], fast[2];
	uint8_t *exact = malloc(len ? len : 1), out[4096];
	uint32_t out_len = sizeof out;

	memcpy(exact, p, len);
	counters(s, &slow[0], &fast[0]);
	s->n_sent = 0;
	*taken = link == LINK_PRIVATE ? forward_private(s->forward, exact, len, now_ms)
				      : forward_public(s->forward, exact, len, now_ms);
	free(exact);
	s->packets++;
	/* Larger frames would be fragments of memory; they are too large for a link, too.
	 */
	if (len > 2000)
		return NULL;
	int verdict = run(s, link, p, len, out, &out_len);
	counters(s, &slow[1], &fast[1]);
	subtract(&slow[1], &slow[0]);
	subtract(&fast[1], &fast[0]);
	const char *fault = NULL;
	if (verdict == XDP_REDIRECT) {
		fault = check_redirect(s, link, out, out_len);
	} else if (verdict == XDP_DROP) {
		s->dropped++;
		if (s->n_sent)
			fault = "the program dropped, the procedure forwarded";
	} else {
		return verdict == XDP_PASS ? NULL : "the program failed";
	}
	return fault ? fault : check_counts(&slow[1], &fast[1]);
}
