/* The packet filter's part of holding, by iptables: its library is not ours to link. */
#include "kxd/hold.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHAIN "RSIP-KXD"

extern char **environ;

/* Runs a program with text on its standard input; its words are thrown away. */
static int run(const char *program, char *const argv[], const char *input)
{
	posix_spawn_file_actions_t actions;
	FILE *text = tmpfile();
	pid_t child;
	int status = -1, err;

	if (text == NULL)
		return -errno;
	if (fputs(input, text) < 0 || fflush(text) != 0 ||
		fseek(text, 0, SEEK_SET) != 0) {
		(void)fclose(text);
		return -EIO;
	}
	(void)posix_spawn_file_actions_init(&actions);
	(void)posix_spawn_file_actions_adddup2(&actions, fileno(text), STDIN_FILENO);
	(void)posix_spawn_file_actions_addopen(
		&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	(void)posix_spawn_file_actions_addopen(
		&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	err = posix_spawnp(&child, program, &actions, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)fclose(text);
	if (err != 0)
		return -err;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : ERR_REFUSED;
}

static int iptables(const char *change)
{
	char line[128], *argv[16], *save = NULL;
	size_t n = 0;

	(void)snprintf(line, sizeof(line), "iptables -w 5 -t mangle %s", change);
	for (char *word = strtok_r(line, " ", &save); word != NULL && n < 15;
		word = strtok_r(NULL, " ", &save))
		argv[n++] = word;
	argv[n] = NULL;
	return run("iptables", argv, "");
}

static bool decides(const struct kx_rule *r)
{
	return r->name.len == 0 &&
	       (r->group == KX_PRIVATE || r->group == KX_PRIVATE_OR_CLEAR);
}

/* What has a group of its own within a wider one passes here and meets its policy. */
static void put_rule(FILE *f, const struct kxd_conf *c, const struct prefix4 *src,
	const struct kx_rule *r)
{
	char from[PREFIX_TEXT_MAX], to[KX_PREFIX_TEXT];

	(void)fprintf(f, "-A " CHAIN " -s %s -d %s", prefix_format(src, from),
		kx_prefix_format(&r->prefix, to));
	if (r->protocol != 0)
		(void)fprintf(f, " -p %u", r->protocol);
	if (r->source_port != 0)
		(void)fprintf(f, " --sport %u", r->source_port);
	if (r->port != 0)
		(void)fprintf(f, " --dport %u", r->port);
	if (decides(r))
		(void)fprintf(f,
			" -m conntrack --ctstate NEW -j NFQUEUE --queue-num %u "
			"--queue-bypass\n",
			c->hold_queue);
	else
		(void)fputs(" -j RETURN\n", f);
}

static char *rules_text(const struct kxd_conf *c)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (f == NULL)
		return NULL;
	(void)fputs("*mangle\n:" CHAIN " - [0:0]\n", f);
	/* In the order of the policy: the most specific first. */
	for (size_t i = 0; i < kx_policy_count(c->policy); i++)
		for (size_t k = 0; k < c->n_protect; k++)
			if (kx_policy_at(c->policy, i)->name.len == 0)
				put_rule(
					f, c, &c->protect[k], kx_policy_at(c->policy, i));
	(void)fputs("COMMIT\n", f);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

int hold_rules(const struct kxd_conf *conf, char *why, size_t why_size)
{
	static char name[] = "iptables-restore", noflush[] = "-n", wait[] = "-w",
		    five[] = "5";
	char *argv[] = { name, noflush, wait, five, NULL };
	char *text;
	int err;

	if (conf == NULL) {
		(void)iptables("-D PREROUTING -j " CHAIN);
		(void)iptables("-F " CHAIN);
		(void)iptables("-X " CHAIN);
		return 0;
	}
	text = rules_text(conf);
	err = text != NULL ? run(name, argv, text) : -ENOMEM;
	free(text);
	if (err == 0 && iptables("-C PREROUTING -j " CHAIN) != 0)
		err = iptables("-I PREROUTING -j " CHAIN);
	if (err != 0)
		(void)snprintf(why, why_size,
			"cannot send packets to the queue with iptables: %s; install it, "
			"or "
			"set hold = false",
			err == ERR_REFUSED ? "it refuses the rules" : err_text(err));
	return err;
}
