/*
 * Files that cannot be used as a lease store: each is said to be so, with what to do, and
 * is left as it was.
 */
#include "base/err.h"
#include "store/record.h"
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct file {
	char *bytes;
	size_t len;
};

static struct file file_read(void)
{
	struct file f = { 0 };
	struct stat st;
	int fd = open(store_path, O_RDONLY);

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
	int fd = open(store_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

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
		assert_int_equal(put_lease(s, id, store_now.boot_ms + 60000, false), 0);
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
	struct file before;

	(void)state;
	put_raw("key", 3, "value", 5);
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
	struct file before = file_with_leases(3);

	(void)state;
	free(before.bytes);
	assert_int_equal(record_meta_encode(&bytes, &key, &m), 0);
	put_raw(key.bytes, key.len, bytes.at, bytes.len);
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
		err = store_open(store_dir, &store_test_clock, &s, why, sizeof(why));
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
		if (store_open(store_dir, &store_test_clock, &s, why, sizeof(why)) != 0) {
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
		err = store_open(store_dir, &store_test_clock, &s, why, sizeof(why));
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
	assert_int_equal(chmod(store_path, 0444), 0);
	expect_open_error(-EACCES, "writable");
	file_expect(f.bytes, f.len);
	free(f.bytes);
}

static void test_no_directory(void **state)
{
	char why[STORE_WHY] = "";
	struct store *s = NULL;

	(void)state;
	assert_int_equal(store_open("/tmp/rsip-no-such-store_dir", &store_test_clock, &s,
				 why, sizeof(why)),
		-ENOENT);
	assert_non_null(strstr(why, "/tmp/rsip-no-such-store_dir/" STORE_FILE));
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
		int err = store_open(
			store_dir, &store_test_clock, &second, why, sizeof(why));

		_exit(err == ERR_EXISTS && strstr(why, "another") != NULL ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROW(test_not_a_store),
		ROW(test_foreign_lmdb),
		ROW(test_newer),
		ROW(test_damaged),
		ROW(test_bit_flips),
		ROW(test_read_only),
		ROW(test_no_directory),
		ROW(test_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
