#pragma once

#include "cli/cli.h"
#include "conf/conf.h"

#include <net/if.h>

/*
 * `rsip doctor`: looks for the usual reasons why it does not work.  A check adds
 * findings; each says what is the case and, unless all is well, what to do.
 */
enum doctor_level { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_PROBLEM, DOCTOR_LEVELS };

struct doctor {
	const struct cli *cli;
	const struct conf *conf; /* of rsipd; NULL where there is none */
	const char *socket;      /* of rsipd */
	json_t *findings;
	size_t counts[DOCTOR_LEVELS];
	int fd; /* a socket to ask about interfaces */
};

/* `todo` NULL or "" when all is well. */
void doctor_add(struct doctor *d, const char *check, enum doctor_level level,
	const char *todo, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* One line of a file of /proc or /sys without its newline; false when there is none. */
bool doctor_read(const char *path, char *line, size_t size);
/* A number in such a file, or `otherwise`. */
long doctor_number(long otherwise, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The checks, by what they look at. */
void doctor_system(struct doctor *d);     /* kernel, time, rights, programs */
void doctor_interfaces(struct doctor *d); /* of the gateway's configuration */
void doctor_network(struct doctor *d);    /* settings that get in the way */
void doctor_daemons(struct doctor *d);    /* rsipd and rsip-hostd themselves */

/* The command. */
struct doctor_options {
	const char *conf;
};
extern const struct cli_option doctor_options[];
int doctor_run(struct cli *cli, const void *options, int argc, char **argv);
