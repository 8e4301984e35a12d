/*
 * A crowd of hosts whose every choice is a byte of the input: requests mostly right, raw
 * bytes now and then, time, restarts, reloads.  Engine, store and data plane must tell
 * the same story, and no answer may speak of another host's.
 */
#include "crowd.h"
#include "fuzz.h"

#include <string.h>

#define STEPS 300 /* a longer input shows nothing that a shorter one does not */
#define HOSTS 5

struct feed {
	const uint8_t *data;
	size_t left;
};

static uint32_t take(struct feed *f, size_t bytes)
{
	uint32_t value = 0;

	for (; bytes > 0 && f->left > 0; bytes--, f->left--)
		value = value << 8 | *f->data++;
	return value;
}

static uint32_t pick(void *ctx, uint32_t n)
{
	return take(ctx, n <= 256 ? 1 : 4) % n;
}

static bool raw(struct crowd *c, struct feed *f)
{
	uint8_t bytes[256];
	size_t len = take(f, 1);

	if (len > f->left)
		len = f->left;
	memcpy(bytes, f->data, len);
	f->data += len;
	f->left -= len;
	/* With its length put right more is reached. */
	if (len >= 4 && bytes[0] == 1) {
		bytes[2] = 0;
		bytes[3] = (uint8_t)len;
	}
	return crowd_bytes(c, bytes, len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = { data, size };
	struct crowd *c = malloc(sizeof(*c));
	bool whole = true;

	MUST(c != NULL);
	crowd_init(c, HOSTS, 1, pick, &f);
	c->rig.quick = true;
	/* Each reply is judged as it comes; all tables are compared once, which is dear.
	 */
	for (int i = 0; i < STEPS && f.left > 0 && whole; i++)
		whole = take(&f, 1) % 8 == 0 ? raw(c, &f) : crowd_step(c);
	whole = whole && rig_check(&c->rig);
	if (!whole)
		(void)fprintf(stderr, "%s\n", c->rig.fault);
	MUST(whole);
	crowd_fini(c);
	free(c);
	return 0;
}
