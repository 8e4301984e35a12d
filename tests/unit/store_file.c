/*
 * The lease file as a whole: what was committed comes back, whatever happened to the
 * process, the clock or the disk.
 */
#include "base/err.h"
#include "store/internal.h"
#include "store_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- what comes back ------------------------------------------------------------------
 */

static void test_round_trip(void **state)
{
	struct registration r = { .client_id = 5,
		.host = 0x0a000001,
		.counters = true,
		.counter = 9,
		.expires_ms = store_now.boot_ms + 5000 };
	struct resting t = { 0xcb007101, REST_SPI, { 300, 400 },
		store_now.boot_ms + 120000 };
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
	assert_int_equal(put_resting(s, &t, false), 0);
	assert_int_equal(put_lease(s, 20, store_now.boot_ms + 60000, false), 0);
	assert_int_equal(put_lease(s, 10, store_now.boot_ms + 50000, false), 0);
	assert_int_equal(put_lease(s, 30, store_now.boot_ms + 50000, false), 0);
	assert_int_equal(store_pending(s), 5);
	assert_int_equal(store_commit(s), 0);
	assert_int_equal(store_pending(s), 0);
	/* freed again, and one that never was */
	assert_int_equal(put_lease(s, 30, 0, true), 0);
	assert_int_equal(put_lease(s, 31, 0, true), 0);
	assert_int_equal(store_commit(s), 0);
	/* not committed: not there */
	assert_int_equal(put_lease(s, 40, store_now.boot_ms + 50000, false), 0);
	store_abort(s);
	assert_int_equal(store_pending(s), 0);
	assert_int_equal(put_lease(s, 41, store_now.boot_ms + 50000, false), 0);
	store_close(s);

	got = reload();
	assert_int_equal(got.counts.registrations, 1);
	assert_int_equal(got.counts.leases, 2);
	assert_int_equal(got.counts.resting, 1);
	assert_int_equal(got.counts.dropped, 0);
	assert_int_equal(got.ids[0], 10);
	assert_int_equal(got.ids[1], 20);
	assert_int_equal(got.expires_ms[1], store_now.boot_ms + 60000);
	assert_int_equal(got.registration.counter, 9);
	assert_int_equal(got.registration.expires_ms, store_now.boot_ms + 5000);
	assert_int_equal(got.resting.kind, REST_SPI);
	assert_int_equal(got.resting.range.hi, 400);
	assert_int_equal(got.resting.until_ms, store_now.boot_ms + 120000);
}

/* What has rested is forgotten, also what was written by another boot or version. */
static void test_resting_ends(void **state)
{
	/* as version 1 had it: address, kind, lowest number; version, highest, time */
	static const uint8_t old_key[] = { 3, 0xcb, 0, 0x71, 1, REST_PORT, 0, 0, 4, 0 };
	static const uint8_t old_value[] = { 1, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0x83,
		0x43, 0xb2, 0x39 };
	struct resting t = { 0xcb007101, REST_SPI, { 300, 400 },
		store_now.boot_ms + 120000 };
	struct store *s = opened();
	struct loaded got = { .refuse = 0 };

	(void)state;
	assert_int_equal(put_resting(s, &t, false), 0);
	assert_int_equal(store_commit(s), 0);
	assert_int_equal(put_resting(s, &t, true), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	assert_int_equal(reload().counts.resting, 0);

	s = opened();
	assert_int_equal(put_resting(s, &t, false), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	reboot(5, 3600000);
	s = opened();
	assert_int_equal(load(s, &got), 0);
	assert_int_equal(got.counts.resting, 1);
	assert_int_equal(got.resting.until_ms, 0);
	assert_int_equal(put_resting(s, &got.resting, true), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	assert_int_equal(reload().counts.resting, 0);

	put_raw(old_key, sizeof(old_key), old_value, sizeof(old_value));
	s = opened();
	assert_int_equal(load(s, &got), 0);
	assert_int_equal(got.counts.resting, 1);
	assert_int_equal(got.resting.range.lo, 1024);
	assert_int_equal(got.resting.range.hi, 1027);
	assert_int_equal(put_resting(s, &got.resting, true), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	assert_int_equal(reload().counts.resting, 0);
}

/* Within one batch the last word about a lease holds. */
static void test_batch_order(void **state)
{
	struct store *s = opened();
	struct loaded got;

	(void)state;
	assert_int_equal(put_lease(s, 1, store_now.boot_ms + 1000, false), 0);
	assert_int_equal(put_lease(s, 1, store_now.boot_ms + 9000, false), 0);
	assert_int_equal(put_lease(s, 2, store_now.boot_ms + 1000, false), 0);
	assert_int_equal(put_lease(s, 2, 0, true), 0);
	assert_int_equal(put_lease(s, 3, 0, true), 0);
	assert_int_equal(put_lease(s, 3, store_now.boot_ms + 3000, false), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	got = reload();
	assert_int_equal(got.n, 2);
	assert_int_equal(got.ids[0], 1);
	assert_int_equal(got.expires_ms[0], store_now.boot_ms + 9000);
	assert_int_equal(got.ids[1], 3);
}

/* The first batch of a program may hold nothing but ends, and so no bytes at all. */
static void test_only_deletions(void **state)
{
	struct store *s = opened();

	(void)state;
	assert_int_equal(put_lease(s, 1, store_now.boot_ms + 9000, false), 0);
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
		assert_int_equal(put_lease(s, id, store_now.boot_ms + 1000, false), 0);
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

/* One lease with a minute left, committed store_now. */
static void store_minute(void)
{
	struct store *s = opened();

	assert_int_equal(put_lease(s, 1, store_now.boot_ms + 60000, false), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
}

static int64_t minute_left(void)
{
	struct loaded got = reload();

	assert_int_equal(got.n, 1);
	return (int64_t)(got.expires_ms[0] - store_now.boot_ms);
}

static void test_time_same_boot(void **state)
{
	(void)state;
	store_minute();
	store_now.boot_ms += 10000;
	store_now.wall_ms += 10000;
	assert_int_equal(minute_left(), 50000);
	/* Steps of the wall clock, a year ahead and two back, change nothing. */
	store_now.wall_ms += 365LL * 86400000;
	assert_int_equal(minute_left(), 50000);
	store_now.wall_ms -= 730LL * 86400000;
	assert_int_equal(minute_left(), 50000);
	store_now.wall_ms += 365LL * 86400000;
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
	store_now.wall_ms -= 86400000;
	reboot(1000, 0);
	assert_int_equal(minute_left(), 30000);
	store_now.wall_ms += 86400000;
}

/* A step of the wall clock before the reboot does not count when a mark came after it. */
static void test_time_step_then_reboot(void **state)
{
	struct store *s;

	(void)state;
	store_minute();
	store_now.boot_ms += 5000;
	store_now.wall_ms +=
		20LL * 365 * 86400000; /* the first answer of an NTP server */
	s = opened();
	assert_int_equal(store_mark(s), 0);
	store_close(s);
	reboot(1000, 5000);
	assert_int_equal(minute_left(), 50000);
	store_now.wall_ms -= 20LL * 365 * 86400000;
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

static int on_other_registration(void *ctx, const struct registration *r)
{
	(void)ctx;
	(void)r;
	return 0;
}

static int on_other_resting(void *ctx, const struct resting *r)
{
	(void)ctx;
	(void)r;
	return 0;
}

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
	struct store_callbacks cb = { NULL, on_other_registration, on_crash_lease,
		on_other_resting };
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
		(void)unlink(store_path);
	}
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
	assert_int_equal(stat(store_path, &st), 0);
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
	assert_int_equal(stat(store_path, &st), 0);
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
	assert_non_null(strstr(store_error(s), store_path));
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
	assert_int_equal(put_lease(s, 1, store_now.boot_ms + 50000, false), 0);
	store_begin(s);
	assert_int_equal(put_lease(s, 2, store_now.boot_ms + 50000, false), 0);
	assert_int_equal(store_end(s, store_write(s)), 0);
	assert_int_equal(store_pending(s), 1);
	store_close(s);
	got = reload();
	assert_int_equal(got.n, 1);
	assert_int_equal(got.ids[0], 1);

	s = opened();
	for (uint32_t id = 100; id < 3000; id++)
		assert_int_equal(put_lease(s, id, store_now.boot_ms + 50000, false), 0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(test_round_trip),
		ROW(test_resting_ends),
		ROW(test_batch_order),
		ROW(test_only_deletions),
		ROW(test_refused),
		ROW(test_time_same_boot),
		ROW(test_time_reboot),
		ROW(test_time_step_then_reboot),
		ROW(test_time_expired),
		ROW(test_killed),
		ROW(test_map_grows),
		ROW(test_disk_full),
		ROW(test_batch_bound),
		ROW(test_steps),
		ROW(test_million),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
