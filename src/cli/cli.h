#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The frame of `rsip`: one table of commands (commands.c), each row with its arguments,
 * options, help and function.  Parsing, --help at every level, abbreviation to a unique
 * prefix and the exit status of usage errors come from the rows.
 */

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_UNREACHABLE = 3,
	CLI_INSECURE = 4, /* `rsip kx` alone */
	CLI_BOGUS = 5,
};

/* Options that every command takes. */
struct cli {
	bool json;
	const char *socket; /* --socket PATH, or NULL: the command's default */
};

enum cli_kind {
	CLI_FLAG, /* bool */
	CLI_TEXT, /* const char *, NULL when not given */
	CLI_U32,  /* struct cli_u32: decimal or 0x hexadecimal within min..max */
};

struct cli_u32 {
	bool set;
	uint32_t value;
};

/* An option fills one member of the command's own option struct. */
struct cli_option {
	const char *name; /* "ports": --ports */
	char letter;      /* 'g': -g, or 0 */
	enum cli_kind kind;
	size_t offset;       /* offsetof() in the option struct */
	const char *metavar; /* "N" */
	const char *help;    /* one line */
	uint32_t min, max;   /* CLI_U32; max 0 is UINT32_MAX */
};

struct cli_command {
	const char *name;
	const char *args;    /* as in the usage line: "BIND [SECONDS]", or NULL */
	const char *help;    /* one line */
	const char *details; /* more lines for --help, or NULL */
	const struct cli_command
		*sub; /* nested commands, or NULL; ends with a NULL name */
	/*
	 * argv holds the min_args..max_args arguments only, NULL at the end; options is a
	 * struct of options_size bytes, zero where not given.  Returns the exit status.
	 */
	int (*run)(struct cli *cli, const void *options, int argc, char **argv);
	const struct cli_option *options; /* ends with a NULL name, or NULL */
	size_t options_size;
	int min_args, max_args; /* max_args -1: any number */
	bool rest; /* options end at the first argument: for `exec [...] -- COMMAND` */
};

/* The whole table, in commands.c; ends with a NULL name. */
extern const struct cli_command cli_commands[];
/* What every command takes, in cli.c; likewise. */
extern const struct cli_option cli_common_options[];
/* `rsip gateway ...`, in gateway.c. */
extern const struct cli_command cli_gateway_commands[];

/* `rsip config ...`, in config.c. */
extern const struct cli_command cli_config_commands[];
/* `rsip genkey`, in genkey.c. */
int cli_genkey(struct cli *cli, const void *options, int argc, char **argv);

/* Run argv through a table; the exit status of the program. */
int cli_main(const struct cli_command *commands, int argc, char **argv);

/* "rsip: ..." on stderr; returns the exit status that belongs to a code of base/err.h. */
int cli_fail(int code, const char *text);
/* The same for arguments that cannot be: CLI_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* An ID, port or SPI as printed: decimal or 0x hexadecimal; false prints the usage error.
 */
bool cli_number(
	const char *what, const char *text, uint32_t min, uint32_t max, uint32_t *n);

/* One JSON value and a newline on stdout.  Takes over value. */
int cli_print_json(json_t *value);

/*
 * Call a daemon: connects to socket, calls, prints a failure.  Takes over params; returns
 * an exit status, and with CLI_OK the answer's parameters.
 */
int cli_call(const char *socket, const char *method, json_t *params, uint32_t timeout_ms,
	json_t **reply);

/* A column of a table: the key in the JSON objects that are its rows. */
struct cli_column {
	const char *key, *title;
	bool right; /* numbers */
};
/*
 * An array of objects as a table; null and absent print as "-", *_id as the number that
 * other commands take back.  Columns end with a NULL key.
 */
int cli_print_table(const struct cli_column *columns, const json_t *rows);
/* A binding's columns, the same for gateway and host. */
extern const struct cli_column cli_binding_columns[];
