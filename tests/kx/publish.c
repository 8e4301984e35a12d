/*
 * One update as rsip-hostd makes it: publish SERVER:PORT KEYFILE NAME [ADDRESS [PORT
 * [ptr]]].  Prints why not; exit status 1 then.
 */
#include "kx/publish.h"
#include "base/addr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int status = 1;

static void on_done(void *ctx, const char *why)
{
	(void)ctx;
	if (why != NULL)
		(void)puts(why);
	status = why != NULL;
}

int main(int argc, char **argv)
{
	struct kx_publish_job job = { .what.ttl_s = 30 };
	struct kx_publisher *p;
	char why[512] = "usage";
	uv_loop_t loop;

	if (argc < 4 || uv_loop_init(&loop) != 0 ||
		endpoint_parse(argv[1], 53, &job.server, &job.port) != 0 ||
		kx_name_parse(argv[3], &job.what.name) != 0 ||
		kx_tsig_load(&job.key, argv[2], why, sizeof(why)) != 0) {
		(void)puts(why);
		return 2;
	}
	if (argc > 4 && addr_parse(argv[4], &job.what.addr) == 0)
		job.what.present = true;
	if (argc > 5)
		job.what.port = (uint16_t)strtoul(argv[5], NULL, 10);
	job.ptr = argc > 6;
	job.what.present &= argc <= 7; /* a seventh word: gone, with its PTR */
	if (kx_publish_new(&loop, &job, on_done, NULL, &p) != 0)
		return 2;
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&loop);
	return status;
}
