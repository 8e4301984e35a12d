/* See store_fixture.h. */
#include "store_fixture.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char store_dir[64], store_path[80];

/* --- a clock of the test's ------------------------------------------------------------
 */

struct store_time store_now = { 1000000, 1700000000000, "boot one" };

static int clock_read(struct store_clock *self, struct store_time *t)
{
	(void)self;
	*t = store_now;
	return 0;
}

const struct store_clock store_test_clock = { .read = clock_read };

void reboot(uint64_t boot_ms, uint64_t down_ms)
{
	store_now.boot_ms = boot_ms;
	store_now.wall_ms += down_ms;
	store_now.boot_id[0]++;
}

/* --- helpers --------------------------------------------------------------------------
 */

int store_setup(void **state)
{
	(void)state;
	strcpy(store_dir, "/tmp/rsip-store-XXXXXX");
	if (mkdtemp(store_dir) == NULL)
		return -1;
	(void)snprintf(store_path, sizeof(store_path), "%s/%s", store_dir, STORE_FILE);
	return 0;
}

int store_teardown(void **state)
{
	char name[96];

	(void)state;
	(void)unlink(store_path);
	(void)snprintf(name, sizeof(name), "%s-lock", store_path);
	(void)unlink(name);
	return rmdir(store_dir); /* fails where something else was left */
}

struct store *opened(void)
{
	char why[STORE_WHY] = "";
	struct store *s = NULL;

	if (store_open(store_dir, &store_test_clock, &s, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	return s;
}

void expect_open_error(int code, const char *word)
{
	char why[STORE_WHY] = "";
	struct store *s = NULL;

	assert_int_equal(
		store_open(store_dir, &store_test_clock, &s, why, sizeof(why)), code);
	assert_null(s);
	/* The file, the cause, and what to do. */
	if (strstr(why, store_path) == NULL || strstr(why, word) == NULL ||
		strchr(why, ';') == NULL)
		fail_msg("\"%s\" does not name %s or say \"%s\"", why, store_path, word);
}

struct lease lease_of(uint32_t id, uint64_t expires_ms)
{
	static struct range ports[1];

	ports[0] = (struct range){ id % 60000 + 1024, id % 60000 + 1027 };
	return (struct lease){ .client_id = 5,
		.bind_id = id,
		.host = 0x0a000000 + id,
		.address = 0xcb007101,
		.method = METHOD_RSAP_IP,
		.tunnel = TUNNEL_IPIP,
		.ports = ports,
		.n_ports = 1,
		.granted_ms = store_now.boot_ms,
		.expires_ms = expires_ms };
}

int put_lease(struct store *s, uint32_t id, uint64_t expires_ms, bool gone)
{
	struct lease l = lease_of(id, expires_ms);
	struct effect e = { .kind = EFFECT_PERSIST };

	e.persist.kind = PERSIST_LEASE;
	e.persist.gone = gone;
	e.persist.lease = &l;
	return store_apply(s, &e);
}

int put_resting(struct store *s, const struct resting *r, bool gone)
{
	struct effect e = { .kind = EFFECT_PERSIST };

	e.persist.kind = PERSIST_RESTING;
	e.persist.gone = gone;
	e.persist.resting = r;
	return store_apply(s, &e);
}

void put_raw(const void *key, size_t key_len, const void *value, size_t len)
{
	MDB_val k = { key_len, (void *)(uintptr_t)key };
	MDB_val v = { len, (void *)(uintptr_t)value };
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(
		mdb_env_open(env, store_path, MDB_NOSUBDIR | MDB_NOLOCK, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static int on_registration(void *ctx, const struct registration *r)
{
	((struct loaded *)ctx)->registration = *r;
	return 0;
}

static int on_lease(void *ctx, const struct lease *l)
{
	struct loaded *got = ctx;

	if (got->refuse != 0 && l->bind_id % 2 == 1)
		return got->refuse;
	if (got->n < 64) {
		got->ids[got->n] = l->bind_id;
		got->expires_ms[got->n] = l->expires_ms;
	}
	got->n++;
	return 0;
}

static int on_resting(void *ctx, const struct resting *r)
{
	((struct loaded *)ctx)->resting = *r;
	return 0;
}

int load(struct store *s, struct loaded *got)
{
	struct store_callbacks cb = { got, on_registration, on_lease, on_resting };
	int refuse = got->refuse;

	memset(got, 0, sizeof(*got));
	got->refuse = refuse;
	return store_load(s, &cb, &got->counts);
}

struct loaded reload(void)
{
	struct loaded got = { .refuse = 0 };
	struct store *s = opened();

	assert_int_equal(load(s, &got), 0);
	store_close(s);
	return got;
}
