/* What every command prints alike: JSON, and tables of JSON objects. */
#include "cli/cli.h"

#include "base/err.h"
#include "ipc/ipc.h"

#include <errno.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cli_column cli_binding_columns[] = {
	{ "client_id", "CLIENT", true },
	{ "bind_id", "BIND", true },
	{ "host", "HOST", false },
	{ "method", "METHOD", false },
	{ "address", "ADDRESS", false },
	{ "ports", "PORTS", false },
	{ "spis", "SPIS", false },
	{ "remote_address", "REMOTE", false },
	{ "remote_ports", "RPORTS", false },
	{ "tunnel", "TUNNEL", false },
	{ "lease_remaining", "LEFT", true },
	{ "state", "STATE", false },
	{ NULL, NULL, false },
};

int cli_print_json(json_t *value)
{
	int err = json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_INDENT(2));

	json_decref(value);
	if (err != 0 || putchar('\n') == EOF || fflush(stdout) != 0)
		return cli_fail(-EIO, "cannot write to standard output");
	return CLI_OK;
}

int cli_call(const char *socket, const char *method, json_t *params, uint32_t timeout_ms,
	json_t **reply)
{
	struct ipc_client *client;
	char why[IPC_WHY] = "";
	int err = ipc_client_new(socket, &client, why, sizeof(why));

	if (err != 0) {
		json_decref(params);
		return cli_fail(err, why);
	}
	err = ipc_client_call(
		client, method, params, timeout_ms, reply, why, sizeof(why));
	ipc_client_free(client);
	return err == 0 ? CLI_OK : cli_fail(err, why);
}

/* What a table shows of a JSON value; text is for numbers. */
static const char *cell_text(const json_t *value, char *text, size_t size)
{
	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_boolean(value))
		return json_is_true(value) ? "yes" : "no";
	if (json_is_integer(value)) {
		(void)snprintf(
			text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return text;
	}
	return "-";
}

static int table_add(
	struct libscols_table *t, const struct cli_column *columns, const json_t *row)
{
	struct libscols_line *line = scols_table_new_line(t, NULL);

	if (line == NULL)
		return -ENOMEM;
	for (size_t i = 0; columns[i].key != NULL; i++) {
		char text[32];
		const json_t *value = json_object_get(row, columns[i].key);
		int err = scols_line_set_data(
			line, i, cell_text(value, text, sizeof(text)));

		if (err != 0)
			return err;
	}
	return 0;
}

static int table_fill(
	struct libscols_table *t, const struct cli_column *columns, const json_t *rows)
{
	size_t i;
	json_t *row;

	for (const struct cli_column *c = columns; c->key != NULL; c++)
		if (scols_table_new_column(
			    t, c->title, 0, c->right ? SCOLS_FL_RIGHT : 0) == NULL)
			return -ENOMEM;
	json_array_foreach(rows, i, row)
	{
		int err = table_add(t, columns, row);

		if (err != 0)
			return err;
	}
	return 0;
}

int cli_print_table(const struct cli_column *columns, const json_t *rows)
{
	struct libscols_table *t = scols_new_table();
	int err = -ENOMEM;

	if (t != NULL)
		err = table_fill(t, columns, rows);
	if (err == 0) {
		/* Columns may be wider than the terminal: cut numbers would be of no use.
		 */
		(void)scols_table_enable_noencoding(t, 1);
		(void)scols_table_set_termforce(t, SCOLS_TERMFORCE_NEVER);
		err = scols_print_table(t);
	}
	scols_unref_table(t);
	if (err != 0 || fflush(stdout) != 0)
		return cli_fail(err != 0 ? err : -EIO, "cannot write the table");
	return CLI_OK;
}
