#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What the files of bench/ctl share: ctl.c runs the rounds and prints, ctl_server.c has
 * the servers under test, ctl_load.c the hosts that ask them.
 */

#define CTL_HOSTS 1000

/* --- servers ---------------------------------------------------------------------- */

struct server {
	const char *name;
	pid_t pid;
	uint16_t port; /* on 127.0.0.1 */
	int out;       /* the pipe of its standard output, or -1 */
};

/*
 * Each runs pinned to `cpu` and dies with this process.  0 or -1 with the reason on
 * standard error.  `rsipd` is the program, `dir` an empty folder for its state.
 */
int server_echo(struct server *s, bool batched, int cpu);
int server_rsipd(struct server *s, const char *rsipd, const char *dir, int cpu);
/* Ends it and waits for that. */
void server_end(struct server *s);
/* The CPU time it has used so far, in seconds. */
double server_cpu_s(const struct server *s);

/* --- load ------------------------------------------------------------------------- */

enum load_kind { LOAD_EXTEND, LOAD_PAIR }; /* EXTEND; ASSIGN and FREE in turn */

/* Latencies in microseconds, by counting. */
#define SAMPLE_MAX 100000
struct sample {
	uint32_t count[SAMPLE_MAX + 1]; /* the last one: that long or longer */
	uint64_t n;
};
void sample_add(struct sample *s, uint64_t us);
/* 0 <= q <= 1. */
uint64_t sample_quantile(const struct sample *s, double q);

struct load_result {
	double seconds;
	double cpu_s;     /* of the server */
	uint64_t answers; /* of a pair, both */
	uint64_t resent;  /* after 12.5 ms without an answer */
	uint64_t refused; /* ERROR_RESPONSEs */
};

struct load;

/* The hosts' socket, on `cpu`; NULL with the reason on standard error. */
struct load *load_new(int cpu);
void load_free(struct load *l);
/* Each host registers and leases one port, for EXTEND.  0 or -1. */
int load_prepare(struct load *l, const struct server *s);
/*
 * The first n hosts keep one request each under way for that long; the answers' latencies
 * go to `sample`.  An echo server gets the very same requests.
 */
void load_run(struct load *l, const struct server *s, enum load_kind kind, size_t n,
	double seconds, struct sample *sample, struct load_result *r);

uint64_t now_ns(void);
int pin(int cpu);
