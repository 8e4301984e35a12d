/*
 * Keys: their file, their numbers, and what is derived from one.  A secret serves TLS as
 * it is; for UDP each direction has a key of its own, so that no message can be sent back
 * to who sent it.
 */
#include "auth/key.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE_MAX ((size_t)16 * 1024 * 1024)

/* --- numbers and derived keys ---------------------------------------------------------
 */

static void digest(const char *label, const void *bytes, size_t len,
	uint8_t out[static SHA256_DIGEST_LENGTH])
{
	unsigned int n = SHA256_DIGEST_LENGTH;

	(void)HMAC(EVP_sha256(), label, (int)strlen(label), bytes, len, out, &n);
}

static uint64_t number_of(const uint8_t *bytes, size_t n)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = value << 8 | bytes[i];
	return value;
}

uint64_t auth_identity(const char *name)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];
	uint64_t identity;

	digest("rsip identity", name, strlen(name), hash);
	identity = number_of(hash, 8);
	return identity != 0 ? identity : 1;
}

/* HMAC under the secret, of a label: RFC 5869's expansion, of one block. */
static void derive(const struct auth_key *k, const char *label, uint8_t *out)
{
	unsigned int n = AUTH_SECRET_LEN;
	char info[40];
	int len = snprintf(info, sizeof(info), "%s\x01", label);

	(void)HMAC(EVP_sha256(), k->secret, AUTH_SECRET_LEN, (const uint8_t *)info,
		(size_t)len, out, &n);
}

static void key_fill(struct auth_key *k)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];

	digest("rsip key id", k->secret, AUTH_SECRET_LEN, hash);
	k->id = (uint32_t)number_of(hash, 4);
	k->identity = auth_identity(k->name);
	derive(k, "rsip udp to gateway", k->to_gateway);
	derive(k, "rsip udp to host", k->to_host);
}

/* --- text -----------------------------------------------------------------------------
 */

static const char name_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._-@:";

bool auth_name_is_legal(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= AUTH_NAME_MAX && strspn(name, name_letters) == len;
}

bool auth_secret_new(char text[static AUTH_SECRET_TEXT])
{
	uint8_t secret[AUTH_SECRET_LEN];
	bool good = RAND_bytes(secret, sizeof(secret)) == 1;

	if (good)
		(void)EVP_EncodeBlock((unsigned char *)text, secret, sizeof(secret));
	OPENSSL_cleanse(secret, sizeof(secret));
	return good;
}

static bool secret_read(const char *text, uint8_t secret[static AUTH_SECRET_LEN])
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789+/";
	uint8_t bytes[AUTH_SECRET_LEN + 1];
	bool good = strlen(text) == AUTH_SECRET_TEXT - 1 && text[43] == '=' &&
		    strspn(text, letters) == 43 &&
		    EVP_DecodeBlock(bytes, (const unsigned char *)text, 44) == 33;

	if (good)
		memcpy(secret, bytes, AUTH_SECRET_LEN);
	OPENSSL_cleanse(bytes, sizeof(bytes));
	return good;
}

struct reading {
	const char *file;
	int line;
	char *why;
	size_t why_size;
};

static int __attribute__((format(printf, 2, 3)))
fail(const struct reading *r, const char *format, ...)
{
	va_list args;
	int n = r->line > 0 ? snprintf(r->why, r->why_size, "%s:%d: ", r->file, r->line)
			    : snprintf(r->why, r->why_size, "%s: ", r->file);

	if (n < 0 || (size_t)n >= r->why_size)
		return ERR_CONFIG;
	va_start(args, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): only with other files */
	(void)vsnprintf(r->why + n, r->why_size - (size_t)n, format, args);
	va_end(args);
	return ERR_CONFIG;
}

static int key_add(struct auth_keys *keys, const struct auth_key *k, size_t *size,
	const struct reading *r)
{
	if (keys->n == AUTH_KEYS_MAX)
		return fail(r, "more than %d keys", AUTH_KEYS_MAX);
	if (keys->n == *size) {
		size_t more = *size > 0 ? *size * 2 : 16;
		/* Not realloc(): no copy of a secret stays behind. */
		struct auth_key *at = calloc(more, sizeof(*at));

		if (at == NULL)
			return -ENOMEM;
		if (keys->n > 0)
			memcpy(at, keys->at, keys->n * sizeof(*at));
		OPENSSL_cleanse(keys->at, keys->n * sizeof(*at));
		free(keys->at);
		keys->at = at;
		*size = more;
	}
	keys->at[keys->n++] = *k;
	return 0;
}

static int line_read(
	char *line, struct auth_keys *keys, size_t *size, const struct reading *r)
{
	char *rest = line, *name, *secret, *more;
	struct auth_key k = { 0 };
	int err;

	line[strcspn(line, "#\r")] = 0;
	name = strtok_r(rest, " \t", &rest);
	if (name == NULL)
		return 0;
	secret = strtok_r(NULL, " \t", &rest);
	more = strtok_r(NULL, " \t", &rest);
	if (!auth_name_is_legal(name))
		return fail(r,
			"the name is not 1 to %d letters, digits, '.', '_', '-', "
			"'@', ':'",
			AUTH_NAME_MAX);
	if (secret == NULL || more != NULL || !secret_read(secret, k.secret))
		return fail(r, "expected NAME and a key of 32 bytes in base64, as `rsip "
			       "genkey NAME` prints them");
	(void)snprintf(k.name, sizeof(k.name), "%s", name);
	k.line = r->line;
	key_fill(&k);
	err = key_add(keys, &k, size, r);
	OPENSSL_cleanse(&k, sizeof(k));
	return err;
}

static int compare(const void *left, const void *right, void *keys)
{
	const struct auth_key *at = keys;
	uint32_t a = at[*(const uint32_t *)left].id, b = at[*(const uint32_t *)right].id;

	return a < b ? -1 : a > b;
}

static int index_make(struct auth_keys *keys, struct reading *r)
{
	keys->by_id = calloc(keys->n + 1, sizeof(*keys->by_id));
	if (keys->by_id == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < keys->n; i++)
		keys->by_id[i] = (uint32_t)i;
	qsort_r(keys->by_id, keys->n, sizeof(*keys->by_id), compare, keys->at);
	for (size_t i = 1; i < keys->n; i++) {
		const struct auth_key *a = &keys->at[keys->by_id[i - 1]],
				      *b = &keys->at[keys->by_id[i]];

		if (a->id != b->id)
			continue;
		r->line = a->line > b->line ? a->line : b->line;
		return fail(r,
			"this key stands in line %d already; each host has its own",
			a->line > b->line ? b->line : a->line);
	}
	return 0;
}

static int text_read(char *text, struct auth_keys *keys, struct reading *r)
{
	size_t size = 0;
	int err = 0;

	for (char *line = text; line != NULL && err == 0;) {
		char *end = strchr(line, '\n');

		if (end != NULL)
			*end++ = 0;
		r->line++;
		err = line_read(line, keys, &size, r);
		line = end;
	}
	if (err == 0 && keys->n == 0) {
		r->line = 0;
		err = fail(r, "has no key; `rsip genkey NAME` makes one");
	}
	if (err == 0)
		err = index_make(keys, r);
	if (err != 0)
		auth_keys_fini(keys);
	return err;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): written to through the reading */
int auth_keys_parse(const char *file, const char *text, struct auth_keys *keys, char *why,
	size_t why_size)
{
	struct reading r = { file, 0, why, why_size };
	char *copy = strdup(text);
	int err;

	*keys = (struct auth_keys){ 0 };
	if (copy == NULL)
		return -ENOMEM;
	err = text_read(copy, keys, &r);
	OPENSSL_cleanse(copy, strlen(text));
	free(copy);
	return err;
}

/* --- file -----------------------------------------------------------------------------
 */

static int file_check(int fd, const struct reading *r, size_t *size)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return fail(r, "cannot be read: %s", err_text(-errno));
	if (!S_ISREG(st.st_mode))
		return fail(r, "is not a file");
	if ((st.st_mode & S_IRWXO) != 0)
		return fail(r,
			"others may read it: chmod o= it, and make new keys if they "
			"did");
	if ((size_t)st.st_size > FILE_SIZE_MAX)
		return fail(r, "is longer than keys can be");
	*size = (size_t)st.st_size;
	return 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): likewise */
int auth_keys_load(const char *file, struct auth_keys *keys, char *why, size_t why_size)
{
	struct reading r = { file, 0, why, why_size };
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK), err;
	size_t size = 0, have = 0;
	char *text;
	ssize_t got;

	*keys = (struct auth_keys){ 0 };
	if (fd < 0)
		return fail(&r, "cannot be read: %s", err_text(-errno));
	err = file_check(fd, &r, &size);
	text = err == 0 ? calloc(1, size + 1) : NULL;
	if (err == 0 && text == NULL)
		err = -ENOMEM;
	while (err == 0 && have < size && (got = read(fd, text + have, size - have)) > 0)
		have += (size_t)got;
	(void)close(fd);
	if (err == 0)
		err = text_read(text, keys, &r);
	if (text != NULL)
		OPENSSL_cleanse(text, size);
	free(text);
	return err;
}

void auth_keys_fini(struct auth_keys *keys)
{
	if (keys->at != NULL)
		OPENSSL_cleanse(keys->at, keys->n * sizeof(*keys->at));
	free(keys->at);
	free(keys->by_id);
	*keys = (struct auth_keys){ 0 };
}

const struct auth_key *auth_key_find(const struct auth_keys *keys, uint32_t id)
{
	size_t lo = 0, hi = keys->n;

	while (lo < hi) {
		size_t middle = lo + (hi - lo) / 2;
		const struct auth_key *k = &keys->at[keys->by_id[middle]];

		if (k->id == id)
			return k;
		if (k->id < id)
			lo = middle + 1;
		else
			hi = middle;
	}
	return NULL;
}

const struct auth_key *auth_key_of(const struct auth_keys *keys, uint64_t identity)
{
	for (size_t i = 0; i < keys->n; i++)
		if (keys->at[i].identity == identity)
			return &keys->at[i];
	return NULL;
}

const struct auth_key *auth_key_named(const struct auth_keys *keys, const char *name)
{
	for (size_t i = 0; i < keys->n; i++)
		if (strcmp(keys->at[i].name, name) == 0)
			return &keys->at[i];
	return NULL;
}
