/*
 * Programs of a few instructions.  Where a pool list is too long for one, all IPv4 passes
 * and forwarding sorts it out.
 */
#include "dataplane/packet/filter.h"

#include "dataplane/core/flow.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <stdlib.h>
#include <string.h>

#define EACH_POOL      4 /* instructions */
#define KERNELS_HEAD   10
#define OWN_RANGES     16 /* of ports on an own address */
#define MAX_OWN        16 /* addresses; further ones are sorted out by forwarding */
#define EACH_OWN       (KERNELS_HEAD + OWN_RANGES * 2 + 1)
#define OTHERS         (8 + (MAX_OWN + 1) * EACH_OWN) /* at most, whatever the link */
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

/* Not a whole TCP or UDP packet to this address: `skip` instructions on. */
static void kernels_head(struct filter *f, uint32_t addr, size_t rest)
{
	const uint8_t skip = (uint8_t)rest;
	const struct sock_filter code[KERNELS_HEAD] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, IP_AT(IP4_AT_DST)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, addr, 0, (uint8_t)(skip + 8)),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, IP_AT(0)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x45, 0, (uint8_t)(skip + 6)),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, IP_AT(IP4_AT_FRAG)),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, IP4_MF | IP4_OFFSET,
			(uint8_t)(skip + 4), 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, IP_AT(IP4_AT_PROTO)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IP4_TCP, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IP4_UDP, 0, (uint8_t)(skip + 1)),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, IP_AT(IP4_HDR + 2)),
	};

	put(f, code, KERNELS_HEAD);
}

/*
 * On an own address all ports but the pool's and IKE's are of the gateway's sockets or of
 * the hosts that it translates: what comes for them would only be copied in vain.
 */
static void own_code(struct filter *f, uint32_t addr, const struct forward_pool *pool)
{
	struct range ours[OWN_RANGES] = { { FLOW_IKE_PORT, FLOW_IKE_PORT },
		{ FLOW_NATT_PORT, FLOW_NATT_PORT } };
	const struct sock_filter refuse = REFUSE;
	size_t n = 2;

	if (pool->n_ports > OWN_RANGES - n)
		return;
	for (size_t i = 0; i < pool->n_ports; i++)
		ours[n++] = pool->ports[i];
	kernels_head(f, addr, n * 2 + 1);
	for (size_t i = 0; i < n; i++) {
		const struct sock_filter code[] = {
			BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ours[i].lo, 0, 1),
			BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, ours[i].hi, 0,
				(uint8_t)((n - 1 - i) * 2 + 1)),
		};

		put(f, code, 2);
	}
	put(f, &refuse, 1);
}

/* The address that hosts are translated to, where it is no own one. */
static void napt_code(struct filter *f, const struct dp_napt *napt)
{
	const struct sock_filter code[] = {
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, napt->ports.lo, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, napt->ports.hi, 1, 0),
		REFUSE,
	};

	kernels_head(f, napt->address, 3);
	put(f, code, 3);
}

static void kernels_code(struct filter *f, const struct forward *conf)
{
	size_t n = 0;

	for (size_t i = 0; i < conf->n_local && n < MAX_OWN; i++) {
		const struct forward_pool *pool = forward_pool_of(conf, conf->local[i]);

		if (!pool || (i > 0 && conf->local[i] == conf->local[i - 1]))
			continue;
		own_code(f, conf->local[i], pool);
		n++;
	}
	if (conf->napt.n_hosts && conf->napt.address &&
		!forward_is_local(conf, conf->napt.address))
		napt_code(f, &conf->napt);
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
	kernels_code(f, conf);
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
