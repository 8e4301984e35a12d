/*
 * The rules.  Only TCP, UDP and ICMP of other hosts share an address with leases: ESP, AH
 * and the rest have no port to tell them apart by (RFC 3104 section 5: what no lease
 * matches is discarded), so they are refused where the address is shared.
 */
#include "dataplane/packet/napt.h"

#define TRANSLATED "{ icmp, tcp, udp }"

/* Is a pool's address translated to? */
static bool is_shared(const struct forward *f)
{
	if (f->napt.address)
		return forward_pool_of(f, f->napt.address) != NULL;
	for (size_t i = 0; i < f->n_local; i++)
		if (forward_pool_of(f, f->local[i]))
			return true;
	return false;
}

static void print_hosts(FILE *out, const struct forward *f)
{
	char text[PREFIX_TEXT_MAX];

	(void)fputs("ip saddr { ", out);
	for (size_t i = 0; i < f->napt.n_hosts; i++)
		(void)fprintf(out, "%s%s", i ? ", " : "",
			prefix_format(&f->napt.hosts[i], text));
	(void)fputs(" } ", out);
}

static void print_pools(FILE *out, const struct forward *f)
{
	char text[PREFIX_TEXT_MAX];

	(void)fputs("ip saddr { ", out);
	for (size_t i = 0; i < f->n_pools; i++)
		(void)fprintf(out, "%s%s", i ? ", " : "",
			prefix_format(&f->pools[i].addresses, text));
	(void)fputs(" } ", out);
}

void napt_print_ingress(FILE *out, const struct forward *f)
{
	char to[ADDR_TEXT_MAX];
	const struct range *p = &f->napt.ports;

	/* An own address leaves the kernel more than this, by other rules. */
	if (!f->napt.n_hosts || !f->napt.address || forward_is_local(f, f->napt.address))
		return;
	(void)addr_format(f->napt.address, to);
	/* Whose a fragment is shows the first one, which comes only if it is theirs. */
	(void)fprintf(out,
		"  ip daddr %s ip protocol " TRANSLATED
		" ip frag-off & 0x1fff != 0 return\n"
		"  ip daddr %s tcp dport %u-%u return\n"
		"  ip daddr %s udp dport %u-%u return\n"
		"  ip daddr %s icmp type { echo-reply, timestamp-reply, "
		"destination-unreachable, time-exceeded, parameter-problem } return\n",
		to, to, p->lo, p->hi, to, p->lo, p->hi, to);
}

/* masquerade, or snat to the address, with or without the ports. */
static void print_target(FILE *out, const struct forward *f, bool ports)
{
	char to[ADDR_TEXT_MAX];

	if (f->napt.address)
		(void)fprintf(out, "snat to %s", addr_format(f->napt.address, to));
	else
		(void)fputs(ports ? "masquerade to " : "masquerade", out);
	if (ports)
		(void)fprintf(out, ":%u-%u", f->napt.ports.lo, f->napt.ports.hi);
	(void)fputc('\n', out);
}

static void print_translate(FILE *out, const struct forward *f, const char *public)
{
	(void)fputs(" chain translate {\n"
		    "  type nat hook postrouting priority 100; policy accept;\n",
		out);
	(void)fprintf(out, "  oifname \"%s\" ", public);
	print_hosts(out, f);
	(void)fputs("meta l4proto " TRANSLATED " ", out);
	print_target(out, f, true);
	if (!is_shared(f)) {
		(void)fprintf(out, "  oifname \"%s\" ", public);
		print_hosts(out, f);
		print_target(out, f, false);
	}
	(void)fputs(" }\n", out);
}

/*
 * What the kernel's forwarding, which NAPT needs, must not do: carry a leased address
 * that came past the tunnel's checks, or send back what was for no translated host.
 */
static void print_guard(
	FILE *out, const struct forward *f, const char *private, const char *public)
{
	char to[ADDR_TEXT_MAX];

	(void)fputs(" chain guard {\n"
		    "  type filter hook forward priority 0; policy accept;\n",
		out);
	if (f->n_pools) {
		(void)fprintf(out, "  iifname \"%s\" ", private);
		print_pools(out, f);
		(void)fputs("drop\n", out);
	}
	if (f->napt.address)
		(void)fprintf(out, "  iifname \"%s\" ip daddr %s drop\n", public,
			addr_format(f->napt.address, to));
	if (is_shared(f)) {
		(void)fprintf(out, "  iifname \"%s\" oifname \"%s\" ", private, public);
		print_hosts(out, f);
		(void)fputs("meta l4proto != " TRANSLATED
			    " reject with icmp type admin-prohibited\n",
			out);
	}
	(void)fputs(" }\n", out);
}

void napt_print(FILE *out, const struct forward *f, const char *table,
	const char *private_interface, const char *public_interface)
{
	(void)fprintf(out, "table ip %s {\n", table);
	print_translate(out, f, public_interface);
	print_guard(out, f, private_interface, public_interface);
	(void)fputs("}\n", out);
}
