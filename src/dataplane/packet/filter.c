/*
 * Programs of a few instructions.  Where a pool list is too long for one, all IPv4 passes
 * and forwarding sorts it out.
 */
#include "dataplane/packet/filter.h"

#include "dataplane/core/ip4.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <stdlib.h>
#include <string.h>

#define EACH_POOL      4 /* instructions */
#define OTHERS         8 /* at most, whatever the link */
#define MAX_POOLS      ((BPF_MAXINSNS - OTHERS) / EACH_POOL)

#define FRAME_PROTOCOL ((uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL))
#define IP_AT(at)      ((uint32_t)(SKF_NET_OFF + (at)))
#define ACCEPT         BPF_STMT(BPF_RET | BPF_K, UINT32_MAX)
#define REFUSE         BPF_STMT(BPF_RET | BPF_K, 0)

static void put(struct filter *f, const struct sock_filter *code, size_t n)
{
	memcpy(f->program.filter + f->program.len, code, n * sizeof *code);
	f->program.len = (unsigned short)(f->program.len + n);
}

/* Tunnel packets, and ICMP, which may tell of their path. */
static void private_code(struct filter *f)
{
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FRAME_PROTOCOL),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 5),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, IP_AT(IP4_AT_PROTO)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IP4_IPIP, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IP4_GRE, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IP4_ICMP, 0, 1),
		ACCEPT,
		REFUSE,
	};

	put(f, code, sizeof code / sizeof *code);
}

/* ARP, and IPv4 to a pool. */
static void public_code(struct filter *f, const struct forward *conf)
{
	const struct sock_filter head[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, FRAME_PROTOCOL),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 0, 1),
		ACCEPT,
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 1, 0),
		REFUSE,
	};
	const struct sock_filter accept = ACCEPT, refuse = REFUSE;

	put(f, head, sizeof head / sizeof *head);
	if (conf->n_pools > MAX_POOLS) {
		put(f, &accept, 1);
		return;
	}
	for (size_t i = 0; i < conf->n_pools; i++) {
		const struct prefix4 *p = &conf->pools[i].addresses;
		const struct sock_filter code[EACH_POOL] = {
			BPF_STMT(BPF_LD | BPF_W | BPF_ABS, IP_AT(IP4_AT_DST)),
			BPF_STMT(BPF_ALU | BPF_AND | BPF_K, prefix_mask(p->len)),
			BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, p->addr, 0, 1),
			ACCEPT,
		};

		put(f, code, EACH_POOL);
	}
	put(f, &refuse, 1);
}

int filter_init(struct filter *f, enum forward_link link, const struct forward *conf)
{
	size_t pools = conf->n_pools <= MAX_POOLS ? conf->n_pools : 0;

	f->program.len = 0;
	f->program.filter = calloc(OTHERS + pools * EACH_POOL, sizeof *f->program.filter);
	if (!f->program.filter)
		return -ENOMEM;
	if (link == LINK_PRIVATE)
		private_code(f);
	else
		public_code(f, conf);
	return 0;
}

void filter_fini(struct filter *f)
{
	free(f->program.filter);
	f->program = (struct sock_fprog){ 0 };
}
