#pragma once

#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A store in a folder of its own, with a clock that the test turns. */
extern char store_dir[64], store_path[80]; /* between set-up and tear-down */
extern struct store_time store_now;
extern const struct store_clock store_test_clock;

int store_setup(void **state);
int store_teardown(void **state);
#define ROW(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)

/* Another boot, whose clock starts at boot_ms, after so long by the wall clock. */
void reboot(uint64_t boot_ms, uint64_t down_ms);
struct store *opened(void);
/* The sentence names the file, says `word`, and what to do. */
void expect_open_error(int code, const char *word);
/* A lease of four ports; valid until the next call. */
struct lease lease_of(uint32_t id, uint64_t expires_ms);
int put_lease(struct store *s, uint32_t id, uint64_t expires_ms, bool gone);
int put_resting(struct store *s, const struct resting *r, bool gone);
/* Into the file behind the store's back, which is not open. */
void put_raw(const void *key, size_t key_len, const void *value, size_t len);

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
int load(struct store *s, struct loaded *got);
/* Opened, loaded, closed. */
struct loaded reload(void);
