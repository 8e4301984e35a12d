/* `rsip genkey NAME`: a line for the key files of a host and its gateway. */
#include "auth/key.h"
#include "base/err.h"
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int cli_genkey(struct cli *cli, const void *options, int argc, char **argv)
{
	char secret[AUTH_SECRET_TEXT];

	(void)options, (void)argc;
	if (!auth_name_is_legal(argv[0]))
		return cli_usage("NAME \"%s\" is not 1 to %d letters, digits, '.', '_', "
				 "'-', '@', ':'",
			argv[0], AUTH_NAME_MAX);
	if (!auth_secret_new(secret))
		return cli_fail(ERR_UNSUPPORTED, "there are no random numbers");
	if (cli->json)
		return cli_print_json(
			json_pack("{s:s, s:s}", "name", argv[0], "key", secret));
	return printf("%s %s\n", argv[0], secret) > 0 && fflush(stdout) == 0
		       ? CLI_OK
		       : cli_fail(-EIO, NULL);
}
