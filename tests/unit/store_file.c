/*
 * The lease file as a whole: what was committed comes back, whatever happened to the
 * process, the clock or the disk; and a file that cannot be used is said to be so and
 * left alone.
 */
#include "base/err.h"
#include "store/internal.h"
#include "store/record.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64], path[80];

/* --- a clock of the test's ------------------------------------------------------------
 */

static struct store_time now = { 1000000, 1700000000000, "boot one" };

static int clock_read(struct store_clock *self, struct store_time *t)
{
	(void)self;
	*t = now;
	return 0;
}

static const struct store_clock clock_test = { .read = clock_read };

static void reboot(uint64_t boot_ms, uint64_t down_ms)
{
	now.boot_ms = boot_ms;
	now.wall_ms += down_ms;
	now.boot_id[0]++;
}

/* --- helpers --------------------------------------------------------------------------
 */

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/rsip-store-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/%s", dir, STORE_FILE);
	return 0;
}

static int teardown(void **state)
{
	char name[96];

	(void)state;
	(void)unlink(path);
	(void)snprintf(name, sizeof(name), "%s-lock", path);
	(void)unlink(name);
	return rmdir(dir); /* fails where something else was left */
}

static struct store *opened(void)
{
	char why[STORE_WHY] = "";
	struct store *s = NULL;

	if (store_open(dir, &clock_test, &s, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	return s;
}

static void expect_open_error(int code, const char *word)
{
	char why[STORE_WHY] = "";
	struct store *s = NULL;

	assert_int_equal(store_open(dir, &clock_test, &s, why, sizeof(why)), code);
	assert_null(s);
	/* The file, the cause, and what to do. */
	if (strstr(why, path) == NULL || strstr(why, word) == NULL ||
		strchr(why, ';') == NULL)
		fail_msg("\"%s\" does not name %s or say \"%s\"", why, path, word);
}

static struct lease lease_of(uint32_t id, uint64_t expires_ms)
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
		.granted_ms = now.boot_ms,
		.expires_ms = expires_ms };
}

static int put_lease(struct store *s, uint32_t id, uint64_t expires_ms, bool gone)
{
	struct lease l = lease_of(id, expires_ms);
	struct effect e = { .kind = EFFECT_PERSIST };

	e.persist.kind = PERSIST_LEASE;
	e.persist.gone = gone;
	e.persist.lease = &l;
	return store_apply(s, &e);
}

/* What a load brought, by ID. */
struct loaded {
	struct store_loaded counts;
	uint32_t ids[64];
	uint64_t expires_ms[64];
	struct registration registration;
	struct resting resting;
	size_t n;
	int refuse; /* what the callback for leases answers for odd IDs */
};

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

static int load(struct store *s, struct loaded *got)
{
	struct store_callbacks cb = { got, on_registration, on_lease, on_resting };
	int refuse = got->refuse;

	memset(got, 0, sizeof(*got));
	got->refuse = refuse;
	return store_load(s, &cb, &got->counts);
}

static struct loaded reload(void)
{
	struct loaded got = { .refuse = 0 };
	struct store *s = opened();

	assert_int_equal(load(s, &got), 0);
	store_close(s);
	return got;
}

/* --- what comes back ------------------------------------------------------------------
 */

static void test_round_trip(void **state)
{
	struct registration r = { .client_id = 5,
		.host = 0x0a000001,
		.counters = true,
		.counter = 9,
		.expires_ms = now.boot_ms + 5000 };
	struct resting t = { 0xcb007101, REST_SPI, { 300, 400 }, now.boot_ms + 120000 };
	struct effect e = { .kind = EFFECT_PERSIST };
	struct store *s = opened();
	struct loaded got;

	(void)state;
	assert_int_equal(store_pending(s), 0);
	assert_int_equal(store_commit(s), 0);
	assert_string_equal(store_error(s), "");
	e.persist.kind = PERSIST_REGISTRATION;
	e.persist.reg = &r;
	assert_int_equal(store_apply(s, &e), 0);
	e.persist.kind = PERSIST_RESTING;
	e.persist.resting = &t;
	assert_int_equal(store_apply(s, &e), 0);
	assert_int_equal(put_lease(s, 20, now.boot_ms + 60000, false), 0);
	assert_int_equal(put_lease(s, 10, now.boot_ms + 50000, false), 0);
	assert_int_equal(put_lease(s, 30, now.boot_ms + 50000, false), 0);
	assert_int_equal(store_pending(s), 5);
	assert_int_equal(store_commit(s), 0);
	assert_int_equal(store_pending(s), 0);
	/* freed again, and one that never was */
	assert_int_equal(put_lease(s, 30, 0, true), 0);
	assert_int_equal(put_lease(s, 31, 0, true), 0);
	assert_int_equal(store_commit(s), 0);
	/* not committed: not there */
	assert_int_equal(put_lease(s, 40, now.boot_ms + 50000, false), 0);
	store_abort(s);
	assert_int_equal(store_pending(s), 0);
	assert_int_equal(put_lease(s, 41, now.boot_ms + 50000, false), 0);
	store_close(s);

	got = reload();
	assert_int_equal(got.counts.registrations, 1);
	assert_int_equal(got.counts.leases, 2);
	assert_int_equal(got.counts.resting, 1);
	assert_int_equal(got.counts.dropped, 0);
	assert_int_equal(got.ids[0], 10);
	assert_int_equal(got.ids[1], 20);
	assert_int_equal(got.expires_ms[1], now.boot_ms + 60000);
	assert_int_equal(got.registration.counter, 9);
	assert_int_equal(got.registration.expires_ms, now.boot_ms + 5000);
	assert_int_equal(got.resting.kind, REST_SPI);
	assert_int_equal(got.resting.range.hi, 400);
	assert_int_equal(got.resting.until_ms, now.boot_ms + 120000);
}

/* Within one batch the last word about a lease holds. */
static void test_batch_order(void **state)
{
	struct store *s = opened();
	struct loaded got;

	(void)state;
	assert_int_equal(put_lease(s, 1, now.boot_ms + 1000, false), 0);
	assert_int_equal(put_lease(s, 1, now.boot_ms + 9000, false), 0);
	assert_int_equal(put_lease(s, 2, now.boot_ms + 1000, false), 0);
	assert_int_equal(put_lease(s, 2, 0, true), 0);
	assert_int_equal(put_lease(s, 3, 0, true), 0);
	assert_int_equal(put_lease(s, 3, now.boot_ms + 3000, false), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	got = reload();
	assert_int_equal(got.n, 2);
	assert_int_equal(got.ids[0], 1);
	assert_int_equal(got.expires_ms[0], now.boot_ms + 9000);
	assert_int_equal(got.ids[1], 3);
}

/* The first batch of a program may hold nothing but ends, and so no bytes at all. */
static void test_only_deletions(void **state)
{
	struct store *s = opened();

	(void)state;
	assert_int_equal(put_lease(s, 1, now.boot_ms + 9000, false), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	s = opened();
	assert_int_equal(put_lease(s, 1, 0, true), 0);
	assert_int_equal(put_lease(s, 2, 0, true), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	assert_int_equal(reload().n, 0);
}

/* What the engine refuses as past leaves the file; another refusal ends the load. */
static void test_refused(void **state)
{
	struct loaded got = { .refuse = ERR_RANGE };
	struct store *s = opened();

	(void)state;
	for (uint32_t id = 1; id <= 10; id++)
		assert_int_equal(put_lease(s, id, now.boot_ms + 1000, false), 0);
	assert_int_equal(store_commit(s), 0);
	got.refuse = ERR_NOSPACE;
	assert_int_equal(load(s, &got), ERR_NOSPACE);
	got.refuse = ERR_RANGE;
	assert_int_equal(load(s, &got), 0);
	assert_int_equal(got.counts.leases, 5);
	assert_int_equal(got.counts.dropped, 5);
	store_close(s);
	got = reload();
	assert_int_equal(got.counts.leases, 5);
	assert_int_equal(got.ids[0], 2);
}

/* --- time -----------------------------------------------------------------------------
 */

/* One lease with a minute left, committed now. */
static void store_minute(void)
{
	struct store *s = opened();

	assert_int_equal(put_lease(s, 1, now.boot_ms + 60000, false), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
}

static int64_t minute_left(void)
{
	struct loaded got = reload();

	assert_int_equal(got.n, 1);
	return (int64_t)(got.expires_ms[0] - now.boot_ms);
}

static void test_time_same_boot(void **state)
{
	(void)state;
	store_minute();
	now.boot_ms += 10000;
	now.wall_ms += 10000;
	assert_int_equal(minute_left(), 50000);
	/* Steps of the wall clock, a year ahead and two back, change nothing. */
	now.wall_ms += 365LL * 86400000;
	assert_int_equal(minute_left(), 50000);
	now.wall_ms -= 730LL * 86400000;
	assert_int_equal(minute_left(), 50000);
	now.wall_ms += 365LL * 86400000;
}

static void test_time_reboot(void **state)
{
	(void)state;
	store_minute();
	reboot(3000, 15000);
	assert_int_equal(minute_left(), 45000);
	/* and again, the boot clock far ahead this time */
	reboot(99000000, 15000);
	assert_int_equal(minute_left(), 30000);
	/* A wall clock that went back over the reboot gives no more than there was. */
	{
		struct store *s = opened();

		assert_int_equal(store_mark(s), 0);
		store_close(s);
	}
	now.wall_ms -= 86400000;
	reboot(1000, 0);
	assert_int_equal(minute_left(), 30000);
	now.wall_ms += 86400000;
}

/* A step of the wall clock before the reboot does not count when a mark came after it. */
static void test_time_step_then_reboot(void **state)
{
	struct store *s;

	(void)state;
	store_minute();
	now.boot_ms += 5000;
	now.wall_ms += 20LL * 365 * 86400000; /* the first answer of an NTP server */
	s = opened();
	assert_int_equal(store_mark(s), 0);
	store_close(s);
	reboot(1000, 5000);
	assert_int_equal(minute_left(), 50000);
	now.wall_ms -= 20LL * 365 * 86400000;
}

static void test_time_expired(void **state)
{
	(void)state;
	store_minute();
	reboot(200000, 100000);
	assert_int_equal(minute_left(), -40000); /* and the engine refuses it */
}

/* --- killed at any moment -------------------------------------------------------------
 */

/*
 * Writes IDs to `out` as answers: +id once a lease is committed, -id once its end is.
 * Runs until it is killed.
 */
static _Noreturn void crash_child(int out)
{
	struct store *s = opened();
	int32_t acks[8];

	for (int32_t id = 1;; id += 4) {
		size_t n = 0;

		for (int32_t i = 0; i < 4; i++) {
			(void)put_lease(s, (uint32_t)(id + i), UINT64_MAX, false);
			acks[n++] = id + i;
		}
		/* of every other batch an earlier lease ends */
		if (id % 8 == 1 && id > 16) {
			(void)put_lease(s, (uint32_t)(id - 9), 0, true);
			acks[n++] = -(id - 9);
		}
		if (store_commit(s) != 0)
			_exit(1);
		if (write(out, acks, n * sizeof(acks[0])) !=
			(ssize_t)(n * sizeof(acks[0])))
			_exit(1);
	}
}

#define CRASH_IDS 400000
static uint8_t crash_acked[CRASH_IDS]; /* 1 acknowledged, 2 its end acknowledged */
static uint8_t crash_found[CRASH_IDS];

static int on_crash_lease(void *ctx, const struct lease *l)
{
	(void)ctx;
	assert_true(l->bind_id < CRASH_IDS);
	crash_found[l->bind_id] = 1;
	return 0;
}

/* Runs a child, kills it after n answers and some, and reads all it said. */
static size_t crash_once(size_t n, unsigned int more_us)
{
	size_t answers = 0;
	int32_t ack;
	int fd[2];
	pid_t child;

	memset(crash_acked, 0, sizeof(crash_acked));
	assert_int_equal(pipe(fd), 0);
	child = fork();
	if (child == 0)
		crash_child(fd[1]);
	close(fd[1]);
	while (read(fd[0], &ack, sizeof(ack)) == (ssize_t)sizeof(ack)) {
		assert_true(abs(ack) < CRASH_IDS);
		crash_acked[abs(ack)] = ack > 0 ? 1 : 2;
		if (++answers == n) {
			/* somewhere inside one of the next commits */
			struct timespec t = { 0, (long)more_us * 1000 };

			(void)nanosleep(&t, NULL);
			(void)kill(child, SIGKILL);
		}
	}
	close(fd[0]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	return answers;
}

static void test_killed(void **state)
{
	struct store_callbacks cb = { NULL, on_registration, on_crash_lease, on_resting };
	unsigned int seed = 42;

	(void)state;
	for (int round = 0; round < 25; round++) {
		struct store_loaded counts;
		struct store *s;

		(void)crash_once(10 + (size_t)rand_r(&seed) % 400,
			(unsigned int)rand_r(&seed) % 1500);
		memset(crash_found, 0, sizeof(crash_found));
		s = opened();
		assert_int_equal(store_load(s, &cb, &counts), 0);
		for (size_t id = 0; id < CRASH_IDS; id++) {
			if (crash_acked[id] == 1 && crash_found[id] == 0) {
				/* its end may have been committed and not yet said */
				assert_true(id % 8 == 0);
			}
			if (crash_acked[id] == 2)
				assert_int_equal(crash_found[id], 0);
		}
		store_close(s);
		(void)unlink(path);
	}
}

/* --- files that cannot be used --------------------------------------------------------
 */

struct file {
	char *bytes;
	size_t len;
};

static struct file file_read(void)
{
	struct file f = { 0 };
	struct stat st;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	f.len = (size_t)st.st_size;
	f.bytes = malloc(f.len + 1);
	assert_int_equal(read(fd, f.bytes, f.len), (ssize_t)f.len);
	close(fd);
	return f;
}

static void file_write(const char *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

static void file_expect(const char *bytes, size_t len)
{
	struct file f = file_read();

	assert_int_equal(f.len, len);
	assert_memory_equal(f.bytes, bytes, len);
	free(f.bytes);
}

static struct file file_with_leases(uint32_t n)
{
	struct store *s = opened();

	for (uint32_t id = 1; id <= n; id++)
		assert_int_equal(put_lease(s, id, now.boot_ms + 60000, false), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	return file_read();
}

static void test_not_a_store(void **state)
{
	static char zeros[10000];

	(void)state;
	file_write("", 0);
	expect_open_error(ERR_CORRUPT, "cannot be used");
	file_expect("", 0);
	file_write("port = 4555\n", 12);
	expect_open_error(ERR_CORRUPT, "cannot be used");
	file_expect("port = 4555\n", 12);
	file_write(zeros, sizeof(zeros));
	expect_open_error(ERR_CORRUPT, "cannot be used");
	file_expect(zeros, sizeof(zeros));
}

/* Another program's LMDB file is not taken for an empty store. */
static void test_foreign_lmdb(void **state)
{
	char key[] = "key", value[] = "value";
	MDB_val k = { 3, key }, v = { 5, value };
	struct file before;
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	(void)state;
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	before = file_read();
	expect_open_error(ERR_CORRUPT, "checksum");
	file_expect(before.bytes, before.len);
	free(before.bytes);
}

/* The head of a later format, well made. */
static void test_newer(void **state)
{
	struct record_meta m = { .format = 2 };
	struct record_key key = record_key_meta();
	struct record_bytes bytes = { 0 };
	MDB_val k = { key.len, key.bytes }, v;
	struct file before = file_with_leases(3);
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	(void)state;
	free(before.bytes);
	assert_int_equal(record_meta_encode(&bytes, &key, &m), 0);
	v = (MDB_val){ bytes.len, bytes.at };
	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	free(bytes.at);
	before = file_read();
	expect_open_error(ERR_VERSION, "newer format");
	file_expect(before.bytes, before.len);
	free(before.bytes);
}

/* Cut anywhere, or with a page of rubbish anywhere: noticed, never a crash. */
static void test_damaged(void **state)
{
	struct file f = file_with_leases(2000);
	size_t noticed = 0, pages = f.len / 4096;

	(void)state;
	for (size_t len = 4096; len < f.len; len += f.len / 20) {
		struct store *s = NULL;
		char why[STORE_WHY];
		int err;

		file_write(f.bytes, len);
		err = store_open(dir, &clock_test, &s, why, sizeof(why));
		if (err == 0) {
			/* the cut part was of no use any more */
			struct loaded got = { .refuse = 0 };

			assert_int_equal(load(s, &got), 0);
			assert_int_equal(got.n, 2000);
			store_close(s);
			continue;
		}
		assert_int_equal(err, ERR_CORRUPT);
		file_expect(f.bytes, len);
		noticed++;
	}
	assert_true(noticed > 10);
	noticed = 0;
	for (size_t page = 0; page < pages; page++) {
		struct file bad = { malloc(f.len), f.len };
		struct store *s = NULL;
		char why[STORE_WHY];

		memcpy(bad.bytes, f.bytes, f.len);
		memset(bad.bytes + page * 4096, 0xa5, 4096);
		file_write(bad.bytes, bad.len);
		if (store_open(dir, &clock_test, &s, why, sizeof(why)) != 0) {
			file_expect(bad.bytes, bad.len);
			noticed++;
		} else {
			struct loaded got = { .refuse = 0 };

			assert_int_equal(load(s, &got), 0);
			assert_true(page < 2 || got.n == 2000);
			store_close(s);
		}
		free(bad.bytes);
	}
	assert_true(noticed > pages / 2);
	free(f.bytes);
}

/* Single bits: each flip is noticed, or harmless. */
static void test_bit_flips(void **state)
{
	struct file f = file_with_leases(50);
	unsigned int seed = 7;

	(void)state;
	for (int i = 0; i < 300; i++) {
		size_t at = 8192 + (size_t)rand_r(&seed) % (f.len - 8192);
		char bit = (char)(1 << rand_r(&seed) % 8);
		struct loaded got = { .refuse = 0 };
		struct store *s = NULL;
		char why[STORE_WHY];
		int err;

		f.bytes[at] = (char)(f.bytes[at] ^ bit);
		file_write(f.bytes, f.len);
		err = store_open(dir, &clock_test, &s, why, sizeof(why));
		if (err == 0) {
			assert_int_equal(load(s, &got), 0);
			assert_int_equal(got.n, 50);
			store_close(s);
		} else {
			assert_true(err == ERR_CORRUPT || err == ERR_VERSION);
		}
		f.bytes[at] = (char)(f.bytes[at] ^ bit);
	}
	free(f.bytes);
}

static void test_read_only(void **state)
{
	struct file f = file_with_leases(3);

	(void)state;
	assert_int_equal(chmod(path, 0444), 0);
	expect_open_error(-EACCES, "writable");
	file_expect(f.bytes, f.len);
	free(f.bytes);
}

static void test_no_directory(void **state)
{
	char why[STORE_WHY] = "";
	struct store *s = NULL;

	(void)state;
	assert_int_equal(
		store_open("/tmp/rsip-no-such-dir", &clock_test, &s, why, sizeof(why)),
		-ENOENT);
	assert_non_null(strstr(why, "/tmp/rsip-no-such-dir/" STORE_FILE));
}

static void test_in_use(void **state)
{
	struct store *s = opened();
	int status;
	pid_t child;

	(void)state;
	child = fork();
	if (child == 0) {
		char why[STORE_WHY] = "";
		struct store *second = NULL;
		int err = store_open(dir, &clock_test, &second, why, sizeof(why));

		_exit(err == ERR_EXISTS && strstr(why, "another") != NULL ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	store_close(s);
}

/* --- full -----------------------------------------------------------------------------
 */

/* More than the map holds: it grows while the store runs. */
static void test_map_grows(void **state)
{
	struct store *s;
	struct loaded got;
	struct stat st;

	(void)state;
	s = opened();
	store_set_map_step(s, 1 << 20);
	for (uint32_t id = 1; id <= 60000; id++) {
		assert_int_equal(put_lease(s, id, UINT64_MAX, false), 0);
		if (id % 20000 == 0)
			assert_int_equal(store_commit(s), 0);
	}
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	got = reload();
	assert_int_equal(got.n, 60000);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size > 4 << 20);
}

/*
 * No room on the disk (here: no larger file allowed): the commit fails and says so, the
 * batch waits, and once there is room everything is there.
 */
static void test_disk_full(void **state)
{
	struct rlimit limit, before;
	struct store *s = opened();
	struct loaded got;
	struct stat st;
	uint32_t id;
	int err = 0;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	limit = before;
	limit.rlim_cur = (rlim_t)st.st_size + 40 * 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (id = 1; id < 100000 && err == 0; id++) {
		assert_int_equal(put_lease(s, id, UINT64_MAX, false), 0);
		err = store_commit(s);
	}
	assert_true(err == -EFBIG || err == -EIO);
	assert_non_null(strstr(store_error(s), path));
	assert_int_equal(store_pending(s), 1);
	/* more work waits with it */
	assert_int_equal(put_lease(s, id, UINT64_MAX, false), 0);
	assert_int_not_equal(store_commit(s), 0);
	assert_int_equal(store_pending(s), 2);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(store_commit(s), 0);
	assert_int_equal(store_pending(s), 0);
	store_close(s);
	got = reload();
	assert_int_equal(got.n, id);
}

/* Commits that keep failing do not eat the memory. */
static void test_batch_bound(void **state)
{
	struct store *s = opened();
	struct loaded got;
	uint32_t n = 0;
	int err;

	(void)state;
	while ((err = put_lease(s, n + 1, UINT64_MAX, false)) == 0)
		n++;
	assert_int_equal(err, ERR_NOSPACE);
	assert_int_equal(store_pending(s), n);
	assert_true(n > 100000);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	got = reload();
	assert_int_equal(got.n, n);
}

/* --- size -----------------------------------------------------------------------------
 */

/* Of this process and its children: not what others do to the machine at the time. */
static double cpu_s(void)
{
	double sum = 0;

	for (int i = 0; i < 2; i++) {
		struct rusage u;

		assert_int_equal(
			getrusage(i == 0 ? RUSAGE_SELF : RUSAGE_CHILDREN, &u), 0);
		sum += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
	}
	return sum;
}

static void test_million(void **state)
{
	struct store *s = opened();
	struct loaded got = { .refuse = 0 };
	double took;

	(void)state;
	for (uint32_t id = 1; id <= 1000000; id++) {
		/* IDs are random in life; this order of them is as good */
		assert_int_equal(put_lease(s, id * 2654435761U, UINT64_MAX, false), 0);
		if (id % 100000 == 0)
			assert_int_equal(store_commit(s), 0);
	}
	store_close(s);
	took = cpu_s();
	s = opened();
	assert_int_equal(load(s, &got), 0);
	took = cpu_s() - took;
	store_close(s);
	assert_int_equal(got.n, 1000000);
	print_message("1,000,000 leases verified and loaded in %.2f s\n", took);
	assert_true(took < 2.0);
}

/*
 * A commit in three steps: what is applied while it is written is of the next one; and a
 * write that fails is tried again first, with what came meanwhile behind it.
 */
static void test_steps(void **state)
{
	struct rlimit limit, before;
	struct store *s = opened();
	struct loaded got;
	int result;

	(void)state;
	assert_int_equal(put_lease(s, 1, now.boot_ms + 50000, false), 0);
	store_begin(s);
	assert_int_equal(put_lease(s, 2, now.boot_ms + 50000, false), 0);
	assert_int_equal(store_end(s, store_write(s)), 0);
	assert_int_equal(store_pending(s), 1);
	store_close(s);
	got = reload();
	assert_int_equal(got.n, 1);
	assert_int_equal(got.ids[0], 1);

	s = opened();
	for (uint32_t id = 100; id < 3000; id++)
		assert_int_equal(put_lease(s, id, now.boot_ms + 50000, false), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = (struct rlimit){ 20000, before.rlim_max };
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	store_begin(s);
	result = store_write(s);
	assert_int_equal(put_lease(s, 100, 0, true), 0);
	assert_int_not_equal(store_end(s, result), 0);
	assert_string_not_equal(store_error(s), "");
	assert_int_equal(store_pending(s), 2901);
	assert_int_not_equal(store_commit(s), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(store_commit(s), 0);
	assert_int_equal(store_pending(s), 0);
	store_close(s);
	/* The one that was freed while it was written is not back. */
	got = reload();
	assert_int_equal(got.n, 2900);
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(test_round_trip),
		ROW(test_batch_order),
		ROW(test_only_deletions),
		ROW(test_refused),
		ROW(test_time_same_boot),
		ROW(test_time_reboot),
		ROW(test_time_step_then_reboot),
		ROW(test_time_expired),
		ROW(test_killed),
		ROW(test_not_a_store),
		ROW(test_foreign_lmdb),
		ROW(test_newer),
		ROW(test_damaged),
		ROW(test_bit_flips),
		ROW(test_read_only),
		ROW(test_no_directory),
		ROW(test_in_use),
		ROW(test_map_grows),
		ROW(test_disk_full),
		ROW(test_batch_bound),
		ROW(test_steps),
		ROW(test_million),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
