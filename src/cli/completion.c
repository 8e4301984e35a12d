/*
 * `rsip completion SHELL`: a script for bash or zsh.  It carries the tables of commands
 * and options as lines of text and a few lines of shell that read them, so it cannot
 * offer what the program does not take.
 */
#include "cli/completion.h"

#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#define PLACE_TEXT 128

/* --- the tables, one row a line: place, word, value, help, with tabs between ----------
 */

/* Within single quotes of a shell. */
static void put_quoted(const char *text)
{
	for (; *text != 0; text++) {
		if (*text == '\'')
			(void)fputs("'\\''", stdout);
		else
			(void)putchar(*text);
	}
}

static void put_row(const char *place, const char *dashes, const char *word,
	const char *value, const char *help)
{
	(void)printf("%s\t%s%s\t%s\t", place, dashes, word, value != NULL ? value : "-");
	put_quoted(help);
	(void)putchar('\n');
}

static void put_options(const char *place, const struct cli_option *options)
{
	for (const struct cli_option *o = options; o != NULL && o->name != NULL; o++) {
		const char letter[] = { o->letter, 0 };

		put_row(place, "--", o->name, o->metavar, o->help);
		if (o->letter != 0)
			put_row(place, "-", letter, o->metavar, o->help);
	}
}

/* As deep as the tables. */
/* NOLINTNEXTLINE(misc-no-recursion) */
static void put_commands(const char *place, const struct cli_command *commands)
{
	for (const struct cli_command *c = commands; c->name != NULL; c++) {
		char below[PLACE_TEXT];

		put_row(place, "", c->name, NULL, c->help);
		(void)snprintf(below, sizeof(below), "%s/%s",
			strcmp(place, "/") == 0 ? "" : place, c->name);
		put_options(below, c->options);
		if (c->sub != NULL)
			put_commands(below, c->sub);
	}
}

/* What every command takes stands once, under "*". */
static void put_table(void)
{
	(void)fputs("_rsip_table='\n", stdout);
	put_commands("/", cli_commands);
	put_options("*", cli_common_options);
	put_row("*", "--", "help", NULL, "what there is, and how to go on");
	put_row("*", "--", "version", NULL, "the version");
	(void)fputs("'\n", stdout);
}

/* --- the shells -----------------------------------------------------------------------
 */

static const char bash[] =
	"_rsip()\n"
	"{\n"
	"    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	"    local at=/ i next place word value\n"
	"    COMPREPLY=()\n"
	"    for ((i = 1; i < COMP_CWORD; i++)); do\n"
	"        next=${at%/}/${COMP_WORDS[i]}\n"
	"        [[ $_rsip_table == *$'\\n'\"${at}\"$'\\t'\"${COMP_WORDS[i]}\"$'\\t-'* "
	"&&\n"
	"            ${COMP_WORDS[i]} != -* ]] && at=$next\n"
	"    done\n"
	"    while IFS=$'\\t' read -r place word value _; do\n"
	"        [[ $place == \"$at\" || $place == '*' ]] || continue\n"
	"        if [[ $word == \"$prev\" && $value != - ]]; then\n"
	"            case $value in\n"
	"            FILE | PATH) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	"            *'|'*) mapfile -t COMPREPLY < <(compgen -W \"${value//|/ }\" -- "
	"\"$cur\") ;;\n"
	"            *) COMPREPLY=() ;;\n"
	"            esac\n"
	"            return\n"
	"        fi\n"
	"        [[ $word == \"$cur\"* && ($cur == -* || $word != -*) ]] && "
	"COMPREPLY+=(\"$word\")\n"
	"    done <<<\"$_rsip_table\"\n"
	"}\n"
	"complete -F _rsip rsip\n";

static const char zsh[] =
	"_rsip()\n"
	"{\n"
	"    local at=/ i place word value help\n"
	"    local -a found\n"
	"    for ((i = 2; i < CURRENT; i++)); do\n"
	"        [[ $_rsip_table == *$'\\n'\"$at\"$'\\t'\"$words[i]\"$'\\t-'* &&\n"
	"            $words[i] != -* ]] && at=${at%/}/$words[i]\n"
	"    done\n"
	"    while IFS=$'\\t' read -r place word value help; do\n"
	"        [[ $place == \"$at\" || $place == '*' ]] || continue\n"
	"        if [[ $word == \"$words[CURRENT-1]\" && $value != - ]]; then\n"
	"            case $value in\n"
	"            (FILE | PATH) _files ;;\n"
	"            (*'|'*) compadd -- ${(s:|:)value} ;;\n"
	"            esac\n"
	"            return\n"
	"        fi\n"
	"        [[ $words[CURRENT] == -* || $word != -* ]] && found+=(\"$word:$help\")\n"
	"    done <<<\"$_rsip_table\"\n"
	"    _describe -o 'rsip' found\n"
	"}\n"
	"_rsip \"$@\"\n";

static const struct shell {
	const char *name, *head, *code;
} shells[] = {
	{ "bash", "# bash completion for rsip, made by: rsip completion bash\n", bash },
	{ "zsh", "#compdef rsip\n# made by: rsip completion zsh\n", zsh },
};

int cli_completion(struct cli *cli, const void *options, int argc, char **argv)
{
	(void)cli;
	(void)options;
	(void)argc;
	for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
		if (strcmp(argv[0], shells[i].name) != 0)
			continue;
		(void)fputs(shells[i].head, stdout);
		put_table();
		(void)fputs(shells[i].code, stdout);
		return CLI_OK;
	}
	return cli_usage("\"%s\" is not bash or zsh", argv[0]);
}
