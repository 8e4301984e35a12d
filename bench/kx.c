/*
 * Decisions about key exchangers: how long one takes when all is known, how many cold
 * ones a core validates beside the same look-ups by libunbound alone, and what a flood of
 * random destinations does to memory.  Everything comes from signed zone files; the
 * process is bound to one core, the validator's thread with it.
 *
 * Times are given by the clock, and by the processor time of both threads, which other
 * load on the machine changes little.
 */
#include "kx/decide.h"
#include "kx/resolve.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HOSTS     4000
#define WARM      2000
#define WARM_RUNS 500
#define FLOOD     100000
#define PARALLEL  64
#define RUNS      3

struct bench {
	uv_loop_t loop;
	struct kx_resolve *resolve;
	struct kx_policy *policy;
	struct kx *kx;
	size_t connects, ends, asked;
};

static char folder[] = "/tmp/rsip-bench-kx-XXXXXX";

static double now_ms(void)
{
	return (double)uv_hrtime() / 1e6;
}

static double cpu_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int smaller(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static long rss_kb(void)
{
	long pages = 0, rss = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f == NULL || fscanf(f, "%ld %ld", &pages, &rss) != 2)
		rss = 0;
	if (f != NULL)
		(void)fclose(f);
	return rss * (sysconf(_SC_PAGESIZE) / 1024);
}

static void die(const char *what)
{
	(void)fprintf(stderr, "kx: %s\n", what);
	exit(1);
}

static void step(struct bench *b, struct kx_event *ev);

static void on_answer(void *ctx, uint32_t id, const struct kx_answer *a)
{
	struct kx_event ev = { .kind = KX_ANSWER, .id = id, .answer = a };

	step(ctx, &ev);
}

static void step(struct bench *b, struct kx_event *ev)
{
	struct kx_action out[64];
	bool more = false;
	size_t n;

	ev->now_ms = uv_hrtime() / 1000000;
	n = kx_step(b->kx, ev, out, 64);
	for (size_t i = 0; i < n; i++) {
		b->connects += out[i].kind == KX_CONNECT;
		b->ends += out[i].kind == KX_DROP;
		more |= out[i].kind == KX_WAKE && out[i].until_ms <= ev->now_ms;
		if (out[i].kind != KX_ASK)
			continue;
		b->asked++;
		if (kx_resolve_ask(b->resolve, out[i].id, &out[i].name, out[i].type,
			    uv_now(&b->loop) + 5000, on_answer, b) != 0)
			die("a look-up was refused");
	}
	if (more)
		step(b, &(struct kx_event){ .kind = KX_TIMER });
}

static void nothing(void *ctx, uint32_t id, const struct kx_answer *a)
{
	struct bench *b = ctx;

	(void)id;
	b->connects += a->status == KX_SECURE;
	b->ends++;
}

/* A validator with nothing in its cache but the zones' files. */
static void resolver_open(struct bench *b)
{
	char anchor[64], why[256];
	struct kx_resolve_conf conf = {
		.zones = folder, .anchor = anchor, .in_flight = 1024
	};
	struct kx_name root;

	(void)snprintf(anchor, sizeof(anchor), "%s/anchor.key", folder);
	memset(b, 0, sizeof(*b));
	if (uv_loop_init(&b->loop) != 0 ||
		kx_resolve_new(&b->loop, &conf, &b->resolve, why, sizeof(why)) != 0)
		die(why);
	/* The files are read with the first question. */
	(void)kx_name_parse("ns.test.", &root);
	(void)kx_resolve_ask(
		b->resolve, 1, &root, KX_T_A, uv_now(&b->loop) + 60000, nothing, b);
	while (kx_resolve_count(b->resolve) > 0)
		(void)uv_run(&b->loop, UV_RUN_ONCE);
	b->connects = b->ends = 0;
}

static void decisions_open(struct bench *b)
{
	struct kx_rule rule = { .group = KX_PRIVATE, .prefix.addr.len = 4 };
	struct kx_conf conf = { .random = random_seeded(1),
		.limits = { .rate = 1000000,
			.burst = 1000000,
			.source_rate = 1000000,
			.source_burst = 1000000,
			.source_waiting = 100000,
			.waiting = 16384,
			.ike_ms = 600000,
			.total_ms = 600000 } };
	uint32_t other;

	b->policy = kx_policy_new();
	(void)kx_policy_add(b->policy, &rule, &other);
	conf.policy = b->policy;
	b->kx = kx_new(&conf);
	if (b->kx == NULL)
		die("no memory");
}

static void close_all(struct bench *b)
{
	kx_free(b->kx);
	kx_policy_free(b->policy);
	kx_resolve_free(b->resolve);
	(void)uv_run(&b->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&b->loop);
}

static void packet(struct bench *b, uint32_t source, uint32_t destination)
{
	struct kx_event ev = { .kind = KX_PACKET,
		.source = kx_addr_from4(source),
		.flow.destination = kx_addr_from4(destination) };

	step(b, &ev);
}

static uint32_t host(uint32_t i)
{
	return 0x0a010000U + i;
}

/* --- what is measured -----------------------------------------------------------------
 */

/* All in the decisions' own table: how long a packet takes. */
static double warm_own(struct bench *b)
{
	double from;

	decisions_open(b);
	packet(b, 1, host(0));
	while (b->connects == 0)
		(void)uv_run(&b->loop, UV_RUN_ONCE);
	from = cpu_ms();
	for (uint32_t i = 0; i < WARM; i++)
		packet(b, 2 + i, host(0));
	from = cpu_ms() - from;
	if (b->connects != WARM + 1)
		die("not every packet was decided");
	kx_free(b->kx);
	kx_policy_free(b->policy);
	return from / WARM;
}

/* All in the validator's cache, nothing in ours: seven look-ups in three rounds. */
static void warm(void)
{
	double own, took[WARM_RUNS], cpu = 0;
	struct bench b;

	resolver_open(&b);
	own = warm_own(&b);
	for (int i = 0; i < WARM_RUNS; i++) {
		double from_cpu;

		decisions_open(&b);
		b.connects = 0;
		from_cpu = cpu_ms();
		took[i] = now_ms();
		packet(&b, 1, host(0));
		while (b.connects == 0)
			(void)uv_run(&b.loop, UV_RUN_ONCE);
		took[i] = now_ms() - took[i];
		cpu += cpu_ms() - from_cpu;
		kx_free(b.kx);
		kx_policy_free(b.policy);
	}
	qsort(took, WARM_RUNS, sizeof(took[0]), smaller);
	(void)printf("warm: own table %.4f ms; validator's cache, 7 look-ups: %.3f ms "
		     "least, %.3f median, %.3f of processor\n",
		own, took[0], took[WARM_RUNS / 2], cpu / WARM_RUNS);
	b.kx = NULL;
	b.policy = NULL;
	close_all(&b);
}

/* A second of the clock, and one of the processor. */
struct rate {
	double clock, cpu;
};

static struct rate cold_decisions(size_t *asked)
{
	struct bench b;
	double from, cpu;
	uint32_t next = 0;

	resolver_open(&b);
	decisions_open(&b);
	from = now_ms();
	cpu = cpu_ms();
	while (b.connects + b.ends < HOSTS) {
		while (next < HOSTS && next - (b.connects + b.ends) < PARALLEL)
			packet(&b, 1, host(next++));
		(void)uv_run(&b.loop, UV_RUN_ONCE);
	}
	from = now_ms() - from;
	cpu = cpu_ms() - cpu;
	if (b.connects != HOSTS)
		die("not every destination was found");
	*asked = b.asked;
	close_all(&b);
	return (struct rate){ HOSTS / from * 1000, HOSTS / cpu * 1000 };
}

/* The same names and types, nothing decided: PTR, A, KX of each host. */
static struct rate alone(void)
{
	static const uint16_t types[] = { KX_T_PTR, KX_T_A, KX_T_KX };
	struct bench b;
	size_t n = 3 * (size_t)HOSTS, next = 0;
	double from, cpu;

	resolver_open(&b);
	from = now_ms();
	cpu = cpu_ms();
	while (b.ends < n) {
		for (; next < n && next - b.ends < 2 * PARALLEL; next++) {
			uint32_t i = (uint32_t)(next / 3);
			struct kx_addr addr = kx_addr_from4(host(i));
			char text[64];
			struct kx_name name;

			(void)snprintf(text, sizeof(text), "h%u.many.test", i);
			if (next % 3 == 0)
				kx_addr_reverse(&addr, &name);
			else
				(void)kx_name_parse(text, &name);
			if (kx_resolve_ask(b.resolve, (uint32_t)next, &name,
				    types[next % 3], uv_now(&b.loop) + 5000, nothing,
				    &b) != 0)
				die("a look-up was refused");
		}
		(void)uv_run(&b.loop, UV_RUN_ONCE);
	}
	from = now_ms() - from;
	cpu = cpu_ms() - cpu;
	if (b.connects != n)
		die("not every look-up was secure");
	close_all(&b);
	return (struct rate){ (double)n / from * 1000, (double)n / cpu * 1000 };
}

static void cold(void)
{
	for (int i = 0; i < RUNS; i++) {
		size_t asked;
		struct rate d = cold_decisions(&asked), l = alone();

		(void)printf("cold: %.0f decisions/s by the clock, %.0f by the processor "
			     "(%zu look-ups for %d); libunbound alone %.0f and %.0f "
			     "look-ups/s; look-ups in decisions are %.2f of that\n",
			d.clock, d.cpu, asked, HOSTS, l.clock, l.cpu,
			d.cpu * (double)asked / HOSTS / l.cpu);
	}
}

static void flood(void)
{
	struct random random = random_seeded(3);
	struct bench b;
	long rss[5];

	resolver_open(&b);
	decisions_open(&b);
	rss[0] = rss_kb();
	for (uint32_t i = 0; i < FLOOD; i++) {
		packet(&b, random.next(&random), 0x0a800000U + i % 0x7f0000);
		while (kx_resolve_count(b.resolve) > 128)
			(void)uv_run(&b.loop, UV_RUN_ONCE);
		if ((i + 1) % (FLOOD / 4) == 0)
			rss[(i + 1) / (FLOOD / 4)] = rss_kb();
	}
	(void)printf("flood of %d destinations: %ld kB before, then %ld, %ld, %ld, %ld; "
		     "%u remembered\n",
		FLOOD, rss[0], rss[1], rss[2], rss[3], rss[4],
		kx_count(b.kx)->remembered);
	close_all(&b);
}

int main(void)
{
	char command[256];
	cpu_set_t one;
	int result;

	if (mkdtemp(folder) == NULL)
		die("no temporary folder");
	(void)snprintf(command, sizeof(command), "%s %s %d", MAKE_ZONES, folder, HOSTS);
	result = system(command);
	if (result != 0) {
		(void)rmdir(folder);
		return 77; /* it said what is missing */
	}
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
	flood();
	warm();
	cold();
	(void)snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command) != 0;
}
