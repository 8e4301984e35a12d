/*
 * From argv to a command's function by the rows of the tables.  Knows nothing about any
 * command; errors of usage end here with the line that helps on.
 */
#include "cli/cli.h"

#include "base/err.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX   6
#define OPTIONS_MAX 32

/* Where in the tables a command line has led: rsip gateway show ... */
struct path {
	const struct cli_command *at[DEPTH_MAX];
	int n;
};

const struct cli_option cli_common_options[] = {
	{ "json", 0, CLI_FLAG, offsetof(struct cli, json), NULL, "print one JSON value",
		0, 0 },
	{ "socket", 0, CLI_TEXT, offsetof(struct cli, socket), "PATH",
		"control socket of the daemon", 0, 0 },
	{ 0 },
};
#define N_COMMON ((int)(sizeof(cli_common_options) / sizeof(cli_common_options[0])) - 1)

/* getopt's numbers for the options that are not in a table. */
enum { OPT_HELP = 1, OPT_VERSION, OPT_COMMON, OPT_OWN = OPT_COMMON + OPTIONS_MAX };

int cli_usage(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)fputs("rsip: ", stderr);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	va_end(args);
	return CLI_USAGE;
}

int cli_fail(int code, const char *text)
{
	(void)fprintf(stderr, "rsip: %s\n",
		text != NULL && text[0] != 0 ? text : err_text(code));
	if (code == ERR_UNREACHABLE)
		return CLI_UNREACHABLE;
	/* Malformed is what a daemon says of a parameter, which came from the command
	 * line. */
	return code == ERR_CONFIG || code == ERR_MALFORMED ? CLI_USAGE : CLI_FAILED;
}

bool cli_number(
	const char *what, const char *text, uint32_t min, uint32_t max, uint32_t *n)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	const char *digits = hex ? text + 2 : text;
	size_t len = strspn(digits, hex ? "0123456789abcdefABCDEF" : "0123456789");
	unsigned long long value;

	errno = 0;
	value = strtoull(digits, NULL, hex ? 16 : 10);
	if (len == 0 || digits[len] != 0 || errno != 0 || value < min || value > max) {
		(void)cli_usage(
			"%s \"%s\" is not a number from %u to %u", what, text, min, max);
		return false;
	}
	*n = (uint32_t)value;
	return true;
}

/* --- help -----------------------------------------------------------------------------
 */

static void print_path(FILE *out, const struct path *path)
{
	(void)fputs("rsip", out);
	for (int i = 0; i < path->n; i++)
		(void)fprintf(out, " %s", path->at[i]->name);
}

static void print_options(FILE *out, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o != NULL && o->name != NULL; o++) {
		char left[40];

		(void)snprintf(left, sizeof(left), "%c%c%s--%s%s%s",
			o->letter != 0 ? '-' : ' ', o->letter != 0 ? o->letter : ' ',
			o->letter != 0 ? ", " : "  ", o->name,
			o->metavar != NULL ? " " : "",
			o->metavar != NULL ? o->metavar : "");
		(void)fprintf(out, "  %-26s %s\n", left, o->help);
	}
}

static void print_commands(FILE *out, const struct cli_command *commands)
{
	(void)fputs("\nCommands (any unique beginning will do):\n", out);
	for (const struct cli_command *c = commands; c->name != NULL; c++) {
		char left[64];

		(void)snprintf(left, sizeof(left), "%s%s%s", c->name,
			c->args != NULL ? " " : "", c->args != NULL ? c->args : "");
		(void)fprintf(out, "  %-26s %s\n", left, c->help);
	}
}

/* The level's commands or the command's own lines; then what every command takes. */
static void print_help(
	FILE *out, const struct path *path, const struct cli_command *commands)
{
	const struct cli_command *last = path->n > 0 ? path->at[path->n - 1] : NULL;
	const char *about;

	(void)fputs("Usage: ", out);
	print_path(out, path);
	if (commands != NULL)
		(void)fputs(" COMMAND ...", out);
	else if (last != NULL)
		(void)fprintf(out, " [OPTIONS]%s%s", last->args != NULL ? " " : "",
			last->args != NULL ? last->args : "");
	about = last != NULL ? last->help
			     : "Realm Specific IP: leases of a shared address";
	(void)fprintf(out, "\n\n%c%s.\n", toupper((unsigned char)about[0]), about + 1);
	if (last != NULL && last->details != NULL)
		(void)fprintf(out, "\n%s\n", last->details);
	if (commands != NULL)
		print_commands(out, commands);
	(void)fputs("\nOptions:\n", out);
	if (commands == NULL && last != NULL)
		print_options(out, last->options);
	print_options(out, cli_common_options);
	(void)fprintf(out, "  %-26s %s\n", "    --help", "print this help");
	(void)fprintf(out, "  %-26s %s\n", "    --version", "print the version");
	(void)fputs("\nExit status: 0 done, 1 refused or failed, 2 usage, 3 daemon not "
		    "reachable.\n",
		out);
}

static int usage_hint(const struct path *path)
{
	(void)fputs("Try: ", stderr);
	print_path(stderr, path);
	(void)fputs(" --help\n", stderr);
	return CLI_USAGE;
}

/* --- options --------------------------------------------------------------------------
 */

/* The two tables as getopt wants them. */
struct getopt_tables {
	struct option longs[2 * OPTIONS_MAX + 3];
	char letters[2 * OPTIONS_MAX + 3];
	size_t n, n_letters;
};

static void tables_add(
	struct getopt_tables *t, const struct cli_option *options, int first)
{
	for (int i = 0; options != NULL && options[i].name != NULL; i++) {
		const struct cli_option *o = &options[i];

		assert(i < OPTIONS_MAX);
		t->longs[t->n++] = (struct option){ o->name,
			o->kind == CLI_FLAG ? no_argument : required_argument, NULL,
			first + i };
		if (o->letter == 0)
			continue;
		t->letters[t->n_letters++] = o->letter;
		if (o->kind != CLI_FLAG)
			t->letters[t->n_letters++] = ':';
	}
}

static void tables_init(struct getopt_tables *t, const struct cli_command *command)
{
	*t = (struct getopt_tables){ 0 };
	/* '+': options end at the first argument; above the command that is its name. */
	if (command == NULL || command->rest)
		t->letters[t->n_letters++] = '+';
	t->longs[t->n++] = (struct option){ "help", no_argument, NULL, OPT_HELP };
	t->longs[t->n++] = (struct option){ "version", no_argument, NULL, OPT_VERSION };
	tables_add(t, cli_common_options, OPT_COMMON);
	if (command != NULL)
		tables_add(t, command->options, OPT_OWN);
}

static bool option_store(const struct cli_option *o, void *into, const char *text)
{
	void *member = (char *)into + o->offset;

	switch (o->kind) {
	case CLI_FLAG:
		*(bool *)member = true;
		return true;
	case CLI_TEXT:
		*(const char **)member = text;
		return true;
	case CLI_U32:
		((struct cli_u32 *)member)->set = true;
		return cli_number(o->name, text, o->min, o->max > 0 ? o->max : UINT32_MAX,
			&((struct cli_u32 *)member)->value);
	}
	return false;
}

static const struct cli_option *option_find(const struct cli_command *command, int c)
{
	if (c >= OPT_OWN && c < OPT_OWN + OPTIONS_MAX)
		return &command->options[c - OPT_OWN];
	for (const struct cli_option *o = command->options; o != NULL && o->name != NULL;
		o++)
		if (o->letter == c)
			return o;
	return NULL;
}

/* What the words so far ask for. */
enum parsed { PARSED_ON, PARSED_DONE, PARSED_USAGE };

/*
 * Options of one level, from argv[1] on; optind is then the first argument.  `commands`
 * is what that level offers, NULL for a command itself.
 */
static enum parsed parse_options(struct cli *cli, const struct path *path,
	const struct cli_command *commands, void *own, int argc, char **argv)
{
	const struct cli_command *command =
		commands == NULL ? path->at[path->n - 1] : NULL;
	struct getopt_tables t;
	int c;

	tables_init(&t, command);
	optind = 0; /* GNU: start anew */
	while ((c = getopt_long(argc, argv, t.letters, t.longs, NULL)) != -1) {
		bool ok = true;

		if (c == OPT_HELP) {
			print_help(stdout, path, commands);
			return PARSED_DONE;
		} else if (c == OPT_VERSION) {
			(void)printf("rsip %s\n", RSIP_VERSION);
			return PARSED_DONE;
		} else if (c >= OPT_COMMON && c < OPT_COMMON + N_COMMON) {
			ok = option_store(
				&cli_common_options[c - OPT_COMMON], cli, optarg);
		} else {
			const struct cli_option *o = c != '?' && command != NULL
							     ? option_find(command, c)
							     : NULL;

			ok = o != NULL && option_store(o, own, optarg);
		}
		if (!ok) {
			(void)usage_hint(path);
			return PARSED_USAGE;
		}
	}
	return PARSED_ON;
}

/* --- commands -------------------------------------------------------------------------
 */

/* The row of that name or unique beginning. */
static const struct cli_command *command_find(
	const struct cli_command *commands, const char *word)
{
	const struct cli_command *found = NULL;

	for (const struct cli_command *c = commands; c->name != NULL; c++) {
		if (strcmp(c->name, word) == 0)
			return c;
		if (strncmp(c->name, word, strlen(word)) != 0)
			continue;
		if (found != NULL) {
			(void)cli_usage(
				"\"%s\" may be %s or %s", word, found->name, c->name);
			return NULL;
		}
		found = c;
	}
	if (found == NULL)
		(void)cli_usage("there is no command \"%s\" here", word);
	return found;
}

static int command_run(struct cli *cli, const struct path *path,
	const struct cli_command *command, int argc, char **argv)
{
	void *own = calloc(1, command->options_size > 0 ? command->options_size : 1);
	enum parsed parsed;
	int n, status;

	if (own == NULL)
		return cli_fail(-ENOMEM, NULL);
	parsed = parse_options(cli, path, NULL, own, argc, argv);
	n = argc - optind;
	if (parsed == PARSED_DONE) {
		status = CLI_OK;
	} else if (parsed == PARSED_USAGE) {
		status = CLI_USAGE;
	} else if (n < command->min_args ||
		   (command->max_args >= 0 && n > command->max_args)) {
		(void)cli_usage("%s takes %s", command->name,
			command->args != NULL ? command->args : "no arguments");
		status = usage_hint(path);
	} else {
		status = command->run(cli, own, n, argv + optind);
	}
	free(own);
	return status;
}

int cli_main(const struct cli_command *commands, int argc, char **argv)
{
	struct path path = { .n = 0 };
	struct cli cli = { 0 };
	char name[] = "rsip"; /* getopt's messages start with it at every level */

	while (commands != NULL) {
		const struct cli_command *next;

		if (argc > 0)
			argv[0] = name;
		switch (parse_options(&cli, &path, commands, NULL, argc, argv)) {
		case PARSED_DONE:
			return CLI_OK;
		case PARSED_USAGE:
			return CLI_USAGE;
		case PARSED_ON:
			break;
		}
		if (optind >= argc) {
			print_help(stderr, &path, commands);
			return CLI_USAGE;
		}
		next = command_find(commands, argv[optind]);
		if (next == NULL)
			return usage_hint(&path);
		assert(path.n < DEPTH_MAX);
		path.at[path.n++] = next;
		argc -= optind;
		argv += optind;
		commands = next->sub;
	}
	argv[0] = name;
	assert(path.n > 0);
	return command_run(&cli, &path, path.at[path.n - 1], argc, argv);
}
