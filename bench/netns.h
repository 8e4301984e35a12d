#pragma once

#include <stdint.h>
#include <time.h>

/*
 * Network namespaces of a benchmark's own process: they and what is in them go with it.
 * What fails ends the program, with the reason on stderr.
 */

_Noreturn void bench_fail(const char *what);
double bench_now_s(clockid_t clock);
/* A shell command, as by printf; it must succeed. */
__attribute__((format(printf, 1, 2))) void bench_run(const char *format, ...);

int bench_netns_new(void);
void bench_netns_enter(int netns);
void bench_read_mac(const char *interface, uint8_t mac[6]);
/*
 * A veth from namespace n to another one, where it is eth0.  The machine there answers no
 * ARP, so n is told its address.  mac: of that eth0.
 */
void bench_netns_join(int n, const char *near, const char *address, int far,
	const char *far_address, uint8_t mac[6]);
