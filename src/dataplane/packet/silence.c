/*
 * nftables rules by `nft -f -` as a child (its library is GPL and not linked).  A table
 * is replaced in one transaction, so no packet meets the kernel in between.
 */
#include "dataplane/packet/silence.h"

#include "base/err.h"
#include "dataplane/packet/napt.h"

#include <ctype.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

void silence_init(
	struct silence *s, const char *private_interface, const char *public_interface)
{
	s->rules = NULL;
	s->private_interface = private_interface;
	s->public_interface = public_interface;
	(void)snprintf(s->table, sizeof s->table, "rsip_%s_%s", private_interface,
		public_interface);
	for (char *c = s->table; *c; c++)
		if (!isalnum((unsigned char)*c))
			*c = '_';
}

/* Run nft on the text in `rules`; what it says on error goes to `said`. */
static int run_nft(int rules, int said)
{
	static char name[] = "nft", option[] = "-f", input[] = "-";
	char *const argv[] = { name, option, input, NULL };
	posix_spawn_file_actions_t actions;
	pid_t child;
	int status;

	int err = posix_spawn_file_actions_init(&actions);
	if (err)
		return -err;
	(void)posix_spawn_file_actions_adddup2(&actions, rules, STDIN_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, said, STDOUT_FILENO);
	(void)posix_spawn_file_actions_adddup2(&actions, said, STDERR_FILENO);
	/* A daemon's PATH may lack the place where Debian keeps it. */
	err = posix_spawn(&child, "/usr/sbin/nft", &actions, NULL, argv, environ);
	if (err == ENOENT)
		err = posix_spawnp(&child, name, &actions, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	if (err)
		return -err;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : ERR_REFUSED;
}

/* The first line that nft printed. */
static void explain(int err, int said, char *why, size_t size)
{
	char line[160] = "";
	ssize_t n = pread(said, line, sizeof line - 1, 0);

	if (err == -ENOENT)
		(void)snprintf(why, size, "nft not found; install nftables");
	else if (err == ERR_REFUSED && n > 0)
		(void)snprintf(why, size,
			"nft refused the rules for the kernel's part: %.*s",
			(int)strcspn(line, "\n"), line);
	else
		(void)snprintf(why, size, "can't run nft: %s", err_text(err));
}

static int apply(const char *text, size_t len, char *why, size_t size)
{
	int rules = memfd_create("rules", MFD_CLOEXEC);
	int said = memfd_create("said", MFD_CLOEXEC);
	int err = rules < 0 || said < 0 ? -errno : 0;

	if (!err && write(rules, text, len) != (ssize_t)len)
		err = -EIO;
	if (!err)
		err = lseek(rules, 0, SEEK_SET) ? -errno : run_nft(rules, said);
	if (err && why)
		explain(err, said, why, size);
	if (rules >= 0)
		(void)close(rules);
	if (said >= 0)
		(void)close(said);
	return err;
}

static void print_addr(FILE *out, uint32_t addr)
{
	char text[ADDR_TEXT_MAX];

	(void)fputs(addr_format(addr, text), out);
}

/* "{ a, b }" of the tunnel ends: those configured, else every address of the gateway. */
static void print_private(FILE *out, const struct forward *f)
{
	const uint32_t *ends = f->n_tunnel_ends ? f->tunnel_ends : f->local;
	size_t n = f->n_tunnel_ends ? f->n_tunnel_ends : f->n_local;

	if (n == 0)
		return;
	(void)fputs("  ip daddr { ", out);
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && ends[i] == ends[i - 1])
			continue;
		if (i)
			(void)fputs(", ", out);
		print_addr(out, ends[i]);
	}
	(void)fputs(" } ip protocol { 4, 47 } drop\n", out);
}

static void print_ports(FILE *out, const struct forward_pool *pool)
{
	(void)fputs("{ ", out);
	for (size_t i = 0; i < pool->n_ports; i++)
		(void)fprintf(out, "%s%u-%u", i ? ", " : "", pool->ports[i].lo,
			pool->ports[i].hi);
	(void)fputs(" }", out);
}

/*
 * An address that is also the gateway's own keeps its sockets.  Later fragments show no
 * ports, though nft would read some: the kernel may hold them, it gets no first one.
 */
static void print_own(FILE *out, uint32_t addr, const struct forward_pool *pool)
{
	char text[ADDR_TEXT_MAX];

	(void)addr_format(addr, text);
	(void)fprintf(out,
		"  ip daddr %s ip protocol { 50, 51 } drop\n"
		"  ip daddr %s ip frag-off & 0x1fff != 0 return\n"
		"  ip daddr %s udp dport { 500, 4500 } drop\n",
		text, text, text);
	for (int i = 0; pool->n_ports && i < 2; i++) {
		(void)fprintf(out, "  ip daddr %s %s dport ", text, i ? "tcp" : "udp");
		print_ports(out, pool);
		(void)fputs(" drop\n", out);
	}
	(void)fprintf(out, "  ip daddr %s return\n", text);
}

static void print_public(FILE *out, const struct forward *f)
{
	char text[PREFIX_TEXT_MAX];

	for (size_t i = 0; i < f->n_local; i++) {
		const struct forward_pool *pool = forward_pool_of(f, f->local[i]);

		if (pool && (i == 0 || f->local[i] != f->local[i - 1]))
			print_own(out, f->local[i], pool);
	}
	napt_print_ingress(out, f);
	for (size_t i = 0; i < f->n_pools; i++)
		(void)fprintf(out, "  ip daddr %s drop\n",
			prefix_format(&f->pools[i].addresses, text));
}

static void print_chain(FILE *out, const char *name, const char *interface)
{
	(void)fprintf(out,
		" chain %s {\n  type filter hook ingress device \"%s\" priority -500;"
		" policy accept;\n",
		name, interface);
}

/* nft has no "delete if there": adding first makes the deletion always succeed. */
static void print_fresh(FILE *out, const struct silence *s)
{
	(void)fprintf(out,
		"table netdev %s\ndelete table netdev %s\n"
		"table ip %s\ndelete table ip %s\n",
		s->table, s->table, s->table, s->table);
}

static void print_all(FILE *out, const struct silence *s, const struct forward *f)
{
	print_fresh(out, s);
	(void)fprintf(out, "table netdev %s {\n", s->table);
	print_chain(out, "private", s->private_interface);
	print_private(out, f);
	(void)fputs(" }\n", out);
	print_chain(out, "public", s->public_interface);
	print_public(out, f);
	(void)fputs(" }\n}\n", out);
	if (f->napt.n_hosts)
		napt_print(out, f, s->table, s->private_interface, s->public_interface);
}

/* The rules for f, or none, to be freed; NULL when memory is short. */
static char *text_of(const struct silence *s, const struct forward *f)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	if (f)
		print_all(out, s, f);
	else
		print_fresh(out, s);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

int silence_set(
	struct silence *s, const struct forward *f, bool anew, char *why, size_t size)
{
	char *text = text_of(s, f);

	if (!text)
		return -ENOMEM;
	if (!anew && s->rules && strcmp(s->rules, text) == 0) {
		free(text);
		return 0;
	}
	int err = apply(text, strlen(text), why, size);
	free(s->rules);
	s->rules = err ? NULL : text;
	if (err)
		free(text);
	return err;
}

void silence_end(struct silence *s)
{
	char *text = text_of(s, NULL);

	/* Left behind, it is replaced by the next start; there is nobody to tell. */
	if (text)
		(void)apply(text, strlen(text), NULL, 0);
	free(text);
	free(s->rules);
	s->rules = NULL;
}

void silence_leave(struct silence *s)
{
	free(s->rules);
	s->rules = NULL;
}
