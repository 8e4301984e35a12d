/*
 * Plays *.rows into the forwarding procedures: bytes in, bytes out, counters.  A file is
 * a list of cases; each begins with fresh tables.  Lines:
 *
 *     case NAME                      begins a case
 *     lease BIND HOST NA NB METHOD TUNNEL PORTS SPIS REMOTE   ("-" for none; of method
 *                                    listen-ike the identity in HEX in place of REMOTE)
 *     remove BIND
 *     local ADDRESS                  one more address of the gateway's own
 *     napt ADDRESS PORTS             other hosts are translated to this address
 *     mtu private|public N
 *     only-host                      option ike-from-peer = only-host
 *     ike-mappings N                 option of that name
 *     time MS                        the clock goes on by MS, timers run
 *     private HEX, public HEX        a packet from that link (spaces in HEX allowed)
 *     kernel                         the last packet was left to the kernel
 *     expect private|public HEX      the next packet that was sent
 *     count DIR.NAME N               a counter, since the case began
 *     misuse HOST ERROR BIND         the next error told to the program
 *     # text
 *
 * A packet or an error that no line expects fails the case.  Prints TAP.
 *
 * Built with the programs of driver xdp beside it (ROWS_BPF), each packet goes through
 * them as well, and what they decide must be the same.
 */
#include "base/err.h"
#include "dataplane/forward.h"
#ifdef ROWS_BPF
#include "shadow.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SENT  128
#define MAX_ITEMS 64
#define SECRET    0x0001000000000001 /* outer identifications begin at 1 */
#define POOL_SIZE 3

struct sent {
	enum forward_link link;
	size_t len;
	uint8_t *bytes;
};

struct misuse {
	uint32_t host, bind_id;
	uint16_t error;
};

struct play {
	struct forward *f;
#ifdef ROWS_BPF
	struct shadow *shadow;
	uint64_t decided;
#endif
	uint64_t now_ms;
	struct sent sent[MAX_SENT];
	size_t n_sent, n_seen;
	struct misuse misuse[MAX_SENT];
	size_t n_misuse, n_told;
	uint32_t local[MAX_ITEMS];
	size_t n_local;
	bool taken;
	char name[128];
	unsigned int cases, failed_cases, line;
	bool failed;
	const char *file;
};

static void fault(struct play *p, const char *what, const char *more)
{
	if (!p->failed)
		(void)printf("not ok %u - %s\n", p->cases, p->name);
	p->failed = true;
	(void)printf("# %s:%u: %s %s\n", p->file, p->line, what, more);
}

static bool on_send(void *ctx, enum forward_link link, uint32_t dst,
	const struct forward_piece *piece, int n)
{
	struct play *p = ctx;
	size_t len = 0;

#ifdef ROWS_BPF
	shadow_send(p->shadow, link, dst, piece, n);
#endif
	(void)dst;
	for (int i = 0; i < n; i++)
		len += piece[i].len;
	if (p->n_sent == MAX_SENT)
		return false;
	struct sent *s = &p->sent[p->n_sent++];
	*s = (struct sent){ link, 0, malloc(len ? len : 1) };
	for (int i = 0; i < n; i++) {
		memcpy(s->bytes + s->len, piece[i].at, piece[i].len);
		s->len += piece[i].len;
	}
	return true;
}

static void on_misuse(void *ctx, uint32_t host, uint16_t error, uint32_t bind_id)
{
	struct play *p = ctx;

	if (p->n_misuse < MAX_SENT)
		p->misuse[p->n_misuse++] = (struct misuse){ host, bind_id, error };
}

static void print_hex(const char *what, const uint8_t *b, size_t n)
{
	(void)printf("#   %s ", what);
	for (size_t i = 0; i < n; i++)
		(void)printf("%02x", b[i]);
	(void)printf("\n");
}

/* What nothing expected. */
static void check_rest(struct play *p)
{
	for (; p->n_seen < p->n_sent; p->n_seen++) {
		fault(p, "a packet that no line expects", "");
		print_hex("sent", p->sent[p->n_seen].bytes, p->sent[p->n_seen].len);
	}
	if (p->n_told < p->n_misuse)
		fault(p, "an error that no line expects", "");
}

static void end_case(struct play *p)
{
	if (p->cases == 0)
		return;
	check_rest(p);
#ifdef ROWS_BPF
	p->decided += p->shadow->redirected + p->shadow->dropped;
	shadow_close(p->shadow);
#endif
	for (size_t i = 0; i < p->n_sent; i++)
		free(p->sent[i].bytes);
	forward_fini(p->f);
	if (p->failed)
		p->failed_cases++;
	else
		(void)printf("ok %u - %s\n", p->cases, p->name);
}

static void begin_case(struct play *p, const char *name)
{
	static const struct prefix4 addresses[POOL_SIZE] = { { 0xcb007100, 28 },
		{ 0xcb007120, 32 }, { 0xcb007121, 32 } };
	static const struct range ports = { 1024, 65535 };
	const uint32_t na = 0x0a000001;
	const struct dp_pool pool = { addresses, POOL_SIZE, &ports, 1 };
	const struct dp_conf conf = {
		.tunnel_ends = &na, .n_tunnel_ends = 1, .pools = &pool, .n_pools = 1
	};
	const struct dp_events events = { .ctx = p, .misuse = on_misuse };
	const struct forward_out out = { p, on_send };

	end_case(p);
	(void)snprintf(p->name, sizeof p->name, "%s", name);
	p->cases++;
	p->failed = false;
	p->n_sent = p->n_seen = p->n_misuse = p->n_told = p->n_local = 0;
	p->now_ms = 1000;
	if (forward_init(p->f, &conf, &events, &out, SECRET)) {
		(void)printf("Bail out! no memory\n");
		exit(1);
	}
#ifdef ROWS_BPF
	int status = shadow_open(p->shadow, p->f);
	if (status)
		exit(status == 77 ? 0 : status);
#endif
}

static size_t split(char *text, char *item[MAX_ITEMS])
{
	size_t n = 0;

	for (char *at;
		text && strcmp(text, "-") && n < MAX_ITEMS && (at = strsep(&text, ","));)
		item[n++] = at;
	return n;
}

static size_t to_ranges(struct play *p, char *text, struct range *r)
{
	char *item[MAX_ITEMS];
	size_t n = split(text, item);

	for (size_t i = 0; i < n; i++)
		if (range_parse(item[i], 0, UINT32_MAX, &r[i]))
			fault(p, "not a range:", item[i]);
	return n;
}

static uint32_t to_addr(struct play *p, const char *text)
{
	uint32_t a = 0;

	if (!text || addr_parse(text, &a))
		fault(p, "not an address:", text ? text : "");
	return a;
}

/* ADDRESS[:PORT], or of a name with several addresses ADDRESS[:PORT],ADDRESS,... */
static void to_remote(struct play *p, const char *text, struct remote *r)
{
	char first[64];
	size_t n = strcspn(text, ",");

	(void)snprintf(first, sizeof(first), "%.*s", (int)n, text);
	r->flow = strchr(first, ':') ? REMOTE_MICRO : REMOTE_MACRO;
	if (endpoint_parse(first, 1, &r->addr, &r->port))
		fault(p, "not a remote:", text);
	for (const char *at = text + n; *at == ',' && r->n_more < REMOTE_MORE_MAX;
		at += n) {
		n = strcspn(++at, ",");
		(void)snprintf(first, sizeof(first), "%.*s", (int)n, at);
		r->more[r->n_more++] = to_addr(p, first);
	}
}

static size_t to_bytes(struct play *p, char *const *word, size_t n, uint8_t *b)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		const char *at = word[i];
		unsigned int byte;

		for (; at[0] && at[1] && len < 65535; at += 2) {
			if (sscanf(at, "%2x", &byte) != 1)
				fault(p, "not hexadecimal:", at);
			b[len++] = (uint8_t)byte;
		}
	}
	return len;
}

static void do_lease(struct play *p, char *word[])
{
	static const char *const methods[METHODS] = { "rsa-ip", "rsap-ip", "rsipsec",
		"listen", "listen-ike" };
	uint8_t id[IKE_ID_MAX];
	struct range ports[MAX_ITEMS], spis[MAX_ITEMS];
	struct lease l = {
		.bind_id = (uint32_t)strtoul(word[1], NULL, 0),
		.host = to_addr(p, word[2]),
		.gateway = to_addr(p, word[3]),
		.address = to_addr(p, word[4]),
		.tunnel = strcmp(word[6], "gre") ? TUNNEL_IPIP : TUNNEL_GRE,
		.ports = ports,
		.n_ports = to_ranges(p, word[7], ports),
		.spis = spis,
		.n_spis = to_ranges(p, word[8], spis),
		.expires_ms = UINT64_MAX,
	};

	for (int i = 0; i < METHODS; i++)
		if (strcmp(methods[i], word[5]) == 0)
			l.method = (enum lease_method)i;
	if (l.method == METHOD_IKE) {
		l.ike_id_len = (uint16_t)to_bytes(p, &word[9], 1, id);
		l.ike_id = id;
	} else if (strcmp(word[9], "-")) {
		to_remote(p, word[9], &l.remote);
	}
#ifdef ROWS_BPF
	int err = keep_install(&p->shadow->keep, &p->f->tables, &l);
#else
	int err = tables_install(&p->f->tables, &l);
#endif
	if (err)
		fault(p, "lease:", err_text(err));
}

static enum forward_link to_link(const char *word)
{
	return strcmp(word, "private") ? LINK_PUBLIC : LINK_PRIVATE;
}

/* Exactly as long as the packet, so that a sanitizer sees a read behind it. */
static void do_packet(struct play *p, enum forward_link link, char *const *word, size_t n)
{
	static uint8_t bytes[65536];
	size_t len = to_bytes(p, word, n, bytes);
#ifdef ROWS_BPF
	const char *differs =
		shadow_packet(p->shadow, link, bytes, len, p->now_ms, &p->taken);
	if (differs)
		fault(p, differs, "");
#else
	uint8_t *exact = malloc(len ? len : 1);

	memcpy(exact, bytes, len);
	p->taken = link == LINK_PRIVATE ? forward_private(p->f, exact, len, p->now_ms)
					: forward_public(p->f, exact, len, p->now_ms);
	free(exact);
#endif
}

static void do_expect(struct play *p, char *const *word, size_t n)
{
	static uint8_t want[65536];
	size_t len = to_bytes(p, word + 2, n - 2, want);

	if (p->n_seen == p->n_sent) {
		fault(p, "nothing was sent", "");
		return;
	}
	const struct sent *s = &p->sent[p->n_seen++];
	if (s->link != to_link(word[1]))
		fault(p, "sent to the other link than", word[1]);
	if (s->len == len && memcmp(s->bytes, want, len) == 0)
		return;
	fault(p, "another packet was sent", "");
	print_hex("want", want, len);
	print_hex("sent", s->bytes, s->len);
}

static bool counter(const struct dp_stats *s, const char *name, uint64_t *value)
{
	enum dp_direction dir = strncmp(name, "in.", 3) ? DP_OUT : DP_IN;
	const char *word = strchr(name, '.');

	word = word ? word + 1 : name;
	for (int r = 0; r < DP_REASONS; r++) {
		if (strcmp(dp_reason_name((enum dp_reason)r), word) == 0) {
			*value = s->dropped[dir][r];
			return true;
		}
	}
	*value = strcmp(word, "forward") == 0       ? s->forwarded[dir]
		 : strcmp(word, "bytes") == 0       ? s->forwarded_bytes[dir]
		 : strcmp(name, "halfopen") == 0    ? s->cookies_halfopen
		 : strcmp(name, "answered") == 0    ? s->cookies_answered
		 : strcmp(name, "reassembled") == 0 ? s->reassembled
		 : strcmp(name, "icmp") == 0        ? s->icmp_answered
						    : UINT64_MAX;
	return *value != UINT64_MAX;
}

static void do_count(struct play *p, char *const *word)
{
	struct dp_stats s;
	uint64_t have, want = strtoull(word[2], NULL, 10);
	char text[64];

	forward_stats(p->f, &s);
	if (!counter(&s, word[1], &have)) {
		fault(p, "no counter", word[1]);
	} else if (have != want) {
		(void)snprintf(text, sizeof text, "%s is %llu", word[1],
			(unsigned long long)have);
		fault(p, "count:", text);
	}
}

static void do_misuse(struct play *p, char *const *word)
{
	if (p->n_told == p->n_misuse) {
		fault(p, "no error was told", "");
		return;
	}
	const struct misuse *m = &p->misuse[p->n_told++];
	if (m->host != to_addr(p, word[1]) || m->error != strtoul(word[2], NULL, 10) ||
		m->bind_id != strtoul(word[3], NULL, 10)) {
		char text[64];

		(void)snprintf(text, sizeof text, "%u of bind %u", m->error, m->bind_id);
		fault(p, "another error was told:", text);
	}
}

static void do_local(struct play *p, const char *word)
{
	p->local[p->n_local++] = to_addr(p, word);
	(void)forward_set_local(p->f, p->local, p->n_local);
}

/* Whose they are does not matter to packets. */
static void do_napt(struct play *p, char *const *word)
{
	p->f->napt.n_hosts = 1;
	p->f->napt.address = to_addr(p, word[1]);
	(void)to_ranges(p, word[2], &p->f->napt.ports);
}

static void do_remove(struct play *p, uint32_t bind_id)
{
#ifdef ROWS_BPF
	keep_remove(&p->shadow->keep, &p->f->tables, bind_id);
#else
	tables_remove(&p->f->tables, bind_id);
#endif
}

static void play_line(struct play *p, char *word[], size_t n)
{
	if (strcmp(word[0], "case") == 0 && n == 2)
		begin_case(p, word[1]);
	else if (p->cases == 0)
		fault(p, "before the first case:", word[0]);
	else if (strcmp(word[0], "lease") == 0 && n == 10)
		do_lease(p, word);
	else if (strcmp(word[0], "remove") == 0 && n == 2)
		do_remove(p, (uint32_t)strtoul(word[1], NULL, 0));
	else if (strcmp(word[0], "local") == 0 && n == 2)
		do_local(p, word[1]);
	else if (strcmp(word[0], "napt") == 0 && n == 3)
		do_napt(p, word);
	else if (strcmp(word[0], "mtu") == 0 && n == 3)
		p->f->mtu[to_link(word[1])] = (uint32_t)strtoul(word[2], NULL, 10);
	else if (strcmp(word[0], "only-host") == 0 && n == 1)
		p->f->ike_only_host = true;
	else if (strcmp(word[0], "ike-mappings") == 0 && n == 2)
		p->f->tables.learned[LEARNED_IKE].max =
			(uint32_t)strtoul(word[1], NULL, 10);
	else if (strcmp(word[0], "time") == 0 && n == 2)
		forward_sweep(p->f, p->now_ms += strtoull(word[1], NULL, 10));
	else if (strcmp(word[0], "private") == 0 || strcmp(word[0], "public") == 0)
		do_packet(p, to_link(word[0]), word + 1, n - 1);
	else if (strcmp(word[0], "kernel") == 0 && n == 1)
		p->taken ? fault(p, "not left to the kernel", "") : (void)0;
	else if (strcmp(word[0], "expect") == 0 && n >= 3)
		do_expect(p, word, n);
	else if (strcmp(word[0], "count") == 0 && n == 3)
		do_count(p, word);
	else if (strcmp(word[0], "misuse") == 0 && n == 4)
		do_misuse(p, word);
	else
		fault(p, "not a line of rows:", word[0]);
#ifdef ROWS_BPF
	if (p->cases)
		shadow_conf(p->shadow);
#endif
}

static void play_file(struct play *p, const char *path)
{
	FILE *in = fopen(path, "re");
	char *line = NULL, *word[MAX_ITEMS];
	size_t size = 0;

	if (!in) {
		(void)printf("Bail out! can't open %s\n", path);
		exit(1);
	}
	p->file = path;
	p->line = 0;
	while (getline(&line, &size, in) > 0) {
		size_t n = 0;
		char *rest = line;

		p->line++;
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '#')
			continue;
		for (char *at; n < MAX_ITEMS && (at = strsep(&rest, " "));)
			if (*at)
				word[n++] = at;
		if (n > 0)
			play_line(p, word, n);
	}
	free(line);
	(void)fclose(in);
}

int main(int argc, char **argv)
{
	struct play *p = calloc(1, sizeof *p);

	p->f = calloc(1, sizeof *p->f);
#ifdef ROWS_BPF
	p->shadow = calloc(1, sizeof *p->shadow);
#endif
	for (int i = 1; i < argc; i++)
		play_file(p, argv[i]);
	end_case(p);
	(void)printf("1..%u\n", p->cases);
#ifdef ROWS_BPF
	(void)printf(
		"# the programs decided %llu packets\n", (unsigned long long)p->decided);
	free(p->shadow);
#endif
	int failed = p->failed_cases > 0 || p->cases == 0;
	free(p->f);
	free(p);
	return failed;
}
