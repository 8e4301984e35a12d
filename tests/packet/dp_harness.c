/*
 * A data plane driver without rsipd, for tests of the driver alone.
 *
 *     dp_harness DRIVER PRIVATE PUBLIC POOLS PORTS [TUNNEL-ENDS]
 *
 * with DP_NAPT="HOSTS PORTS [ADDRESS]" in the environment for translated hosts, DP_PINS
 * for a folder to pin in.
 *
 * (lists by comma; a pool is ADDRESS[/LEN], ports are N-M).  Prints "ready", then takes
 * commands, one a line, each answered by a line that begins with its word:
 *
 *     lease BIND HOST NA NB METHOD TUNNEL PORTS SPIS REMOTE   ("-" for none)
 *         and then, if it ends by itself, MILLISECONDS from now
 *     remove BIND
 *     settled                        after the leases of a predecessor
 *     stats
 *     quit
 *
 * and prints "misuse HOST ERROR BIND" whenever the driver reports one.
 */
#include "base/err.h"
#include "dataplane/dp.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_ITEMS 64
#define MAX_LINE  4096

struct list {
	char *text;
	char *item[MAX_ITEMS];
	size_t n;
};

static struct list split(const char *text)
{
	struct list l = { .text = strdup(text) };
	char *rest = l.text;

	for (char *at; strcmp(text, "-") && l.n < MAX_ITEMS && (at = strsep(&rest, ","));)
		l.item[l.n++] = at;
	return l;
}

static _Noreturn void fail(const char *what, const char *text)
{
	(void)fprintf(stderr, "dp_harness: %s: %s\n", what, text);
	exit(2);
}

static uint32_t to_addr(const char *text)
{
	uint32_t a;

	if (addr_parse(text, &a))
		fail("not an address", text);
	return a;
}

static size_t to_ranges(const char *text, uint32_t max, struct range *r)
{
	struct list l = split(text);

	for (size_t i = 0; i < l.n; i++)
		if (range_parse(l.item[i], 0, max, &r[i]))
			fail("not a range", l.item[i]);
	free(l.text);
	return l.n;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void on_misuse(void *ctx, uint32_t host, uint16_t error, uint32_t bind_id)
{
	char text[ADDR_TEXT_MAX];

	(void)ctx;
	(void)printf("misuse %s %u %u\n", addr_format(host, text), error, bind_id);
}

static void on_note(void *ctx, const char *text)
{
	(void)ctx;
	(void)fprintf(stderr, "note: %s\n", text);
}

static enum lease_method to_method(const char *word)
{
	static const char *const words[METHODS] = { "rsa-ip", "rsap-ip", "rsipsec",
		"listen", "listen-ike" };

	for (int i = 0; i < METHODS; i++)
		if (strcmp(words[i], word) == 0)
			return (enum lease_method)i;
	fail("not a method", word);
}

static void to_remote(const char *text, struct remote *r)
{
	if (strcmp(text, "-") == 0)
		return;
	char one[64];
	size_t n = strcspn(text, ",");

	(void)snprintf(one, sizeof(one), "%.*s", (int)n, text);
	r->flow = strchr(one, ':') ? REMOTE_MICRO : REMOTE_MACRO;
	if (endpoint_parse(one, 1, &r->addr, &r->port))
		fail("not a remote", text);
	for (const char *at = text + n; *at == ',' && r->n_more < REMOTE_MORE_MAX;
		at += n) {
		n = strcspn(++at, ",");
		(void)snprintf(one, sizeof(one), "%.*s", (int)n, at);
		r->more[r->n_more++] = to_addr(one);
	}
}

/* "ADDRESS/LEN,... PORTS [ADDRESS]" */
static void to_napt(const char *text, struct prefix4 *hosts, struct dp_napt *napt)
{
	char list[256], ports[32], address[32] = "";

	if (!text)
		return;
	if (sscanf(text, "%255s %31s %31s", list, ports, address) < 2)
		fail("not HOSTS PORTS [ADDRESS]", text);
	struct list l = split(list);
	for (size_t i = 0; i < l.n; i++)
		if (prefix_parse(l.item[i], &hosts[i]))
			fail("not a prefix", l.item[i]);
	napt->hosts = hosts;
	napt->n_hosts = l.n;
	napt->address = address[0] ? to_addr(address) : 0;
	(void)to_ranges(ports, 65535, &napt->ports);
	free(l.text);
}

static void do_lease(
	const struct dp_driver *d, struct dp *dp, char *const word[], size_t n)
{
	struct range ports[MAX_ITEMS], spis[MAX_ITEMS];
	struct lease l = {
		.client_id = 1,
		.bind_id = (uint32_t)strtoul(word[1], NULL, 0),
		.host = to_addr(word[2]),
		.gateway = to_addr(word[3]),
		.address = to_addr(word[4]),
		.method = to_method(word[5]),
		.tunnel = strcmp(word[6], "gre") ? TUNNEL_IPIP : TUNNEL_GRE,
		.ports = ports,
		.n_ports = to_ranges(word[7], 65535, ports),
		.spis = spis,
		.n_spis = to_ranges(word[8], UINT32_MAX, spis),
		.expires_ms =
			n > 10 ? now_ms() + strtoull(word[10], NULL, 0) : UINT64_MAX,
	};

	to_remote(word[9], &l.remote);
	(void)printf("lease %s\n", err_text(d->install(dp, &l)));
}

static void do_stats(const struct dp_driver *d, struct dp *dp)
{
	static const char *const words[DP_DIRECTIONS] = { "in", "out" };
	struct dp_stats s;

	d->stats(dp, &s);
	(void)printf("stats");
	for (int i = 0; i < DP_DIRECTIONS; i++) {
		(void)printf(" %s.forward=%llu %s.bytes=%llu", words[i],
			(unsigned long long)s.forwarded[i], words[i],
			(unsigned long long)s.forwarded_bytes[i]);
		for (int r = 0; r < DP_REASONS; r++)
			if (s.dropped[i][r])
				(void)printf(" %s.%s=%llu", words[i],
					dp_reason_name((enum dp_reason)r),
					(unsigned long long)s.dropped[i][r]);
	}
	(void)printf(" halfopen=%llu answered=%llu reassembled=%llu arp=%llu icmp=%llu "
		     "lost=%llu fast=%llu segments=%llu\n",
		(unsigned long long)s.cookies_halfopen,
		(unsigned long long)s.cookies_answered, (unsigned long long)s.reassembled,
		(unsigned long long)s.arp_answered, (unsigned long long)s.icmp_answered,
		(unsigned long long)s.lost, (unsigned long long)s.fast,
		(unsigned long long)s.segments);
}

/* False: time to end. */
static bool command(const struct dp_driver *d, struct dp *dp, char *line)
{
	char *word[11], *rest = line;
	size_t n = 0;

	while (n < 11 && (word[n] = strsep(&rest, " ")))
		n++;
	if (n >= 10 && strcmp(word[0], "lease") == 0) {
		do_lease(d, dp, word, n);
	} else if (n == 2 && strcmp(word[0], "remove") == 0) {
		d->remove(dp, (uint32_t)strtoul(word[1], NULL, 0));
		(void)puts("remove ok");
	} else if (strcmp(word[0], "settled") == 0) {
		if (d->settled)
			d->settled(dp);
		(void)puts("settled ok");
	} else if (strcmp(word[0], "stats") == 0) {
		do_stats(d, dp);
	} else if (strcmp(word[0], "quit") == 0) {
		return false;
	} else {
		fail("not a command", line);
	}
	return true;
}

/* Commands that have come; false at the end of input. */
static bool commands(const struct dp_driver *d, struct dp *dp)
{
	static char have[MAX_LINE];
	static size_t used;
	ssize_t n = read(STDIN_FILENO, have + used, sizeof have - 1 - used);

	if (n <= 0)
		return false;
	used += (size_t)n;
	have[used] = '\0';
	for (char *end; (end = strchr(have, '\n'));) {
		*end = '\0';
		if (!command(d, dp, have))
			return false;
		used -= (size_t)(end + 1 - have);
		memmove(have, end + 1, used + 1);
	}
	return true;
}

static void run(const struct dp_driver *d, struct dp *dp)
{
	int fds[4], n = d->fds(dp, fds);
	struct pollfd p[5] = { { .fd = STDIN_FILENO, .events = POLLIN } };

	for (int i = 0; i < n; i++)
		p[i + 1] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	for (;;) {
		uint64_t at = d->deadline(dp), now = now_ms();
		int wait = at == UINT64_MAX ? -1 : at <= now ? 0 : (int)(at - now);

		if (poll(p, (nfds_t)n + 1, wait) < 0)
			return;
		for (int i = 0; i < n; i++)
			if (p[i + 1].revents & (POLLERR | POLLNVAL | POLLHUP))
				fail("poll", "an error on a descriptor of the driver");
		d->service(dp, now_ms());
		if (p[0].revents && !commands(d, dp))
			return;
		(void)fflush(stdout);
	}
}

int main(int argc, char **argv)
{
	struct prefix4 pools[MAX_ITEMS];
	struct range ports[MAX_ITEMS];
	uint32_t ends[MAX_ITEMS];
	struct dp *dp;
	char why[256];

	if (argc < 6)
		fail("usage", "dp_harness DRIVER PRIVATE PUBLIC POOLS PORTS [ENDS]");
	struct list p = split(argv[4]), e = split(argc > 6 ? argv[6] : "-");
	for (size_t i = 0; i < p.n; i++)
		if (prefix_parse(p.item[i], &pools[i]))
			fail("not a pool", p.item[i]);
	for (size_t i = 0; i < e.n; i++)
		ends[i] = to_addr(e.item[i]);
	struct dp_pool pool = { pools, p.n, ports, to_ranges(argv[5], 65535, ports) };
	struct prefix4 translated[MAX_ITEMS];
	struct dp_conf conf = {
		.private_interface = argv[2],
		.public_interface = argv[3],
		.tunnel_ends = ends,
		.n_tunnel_ends = e.n,
		.pools = &pool,
		.n_pools = 1,
		.pins = getenv("DP_PINS"),
	};
	to_napt(getenv("DP_NAPT"), translated, &conf.napt);
	struct dp_events events = { .misuse = on_misuse, .note = on_note };
	const struct dp_driver *d = dp_driver_find(argv[1]);
	if (!d)
		fail("no driver", argv[1]);
	int err = d->open(&conf, &events, &dp, why, sizeof why);
	if (err)
		fail(err_text(err), why);
	(void)puts("ready");
	(void)fflush(stdout);
	run(d, dp);
	d->close(dp);
	free(p.text);
	free(e.text);
	return 0;
}
