/*
 * OpenSSL over memory BIOs.  Answers for: TLS 1.3 and nothing older, no connection whose
 * other end is unknown, no tickets (a host is known by its key each time).
 */
#include "auth/tls.h"

#include "base/err.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* On the wire a key's name, '#', and its number. */
#define IDENTITY_MAX (AUTH_NAME_MAX + 10)
#define ALPN         "\x06rsip/1"
#define ALPN_LEN     7

struct tls_ctx {
	SSL_CTX *ssl;
	struct auth_keys keys;
	bool server, certificates;
	char peer_name[256];
	size_t users; /* connections, and whoever made it */
};

struct tls {
	struct tls_ctx *ctx;
	SSL *ssl;
	BIO *in, *out; /* of ssl */
	char peer[AUTH_NAME_MAX + 1];
	char error[128];
	bool failed;
};

/* --- shared keys ----------------------------------------------------------------------
 */

/* "NAME#ID" or, for a name's first key, "NAME". */
static const struct auth_key *key_of_identity(
	const struct auth_keys *keys, const char *identity, size_t len)
{
	char name[IDENTITY_MAX + 1];
	const struct auth_key *k;
	char *hash;

	if (len > IDENTITY_MAX)
		return NULL;
	memcpy(name, identity, len);
	name[len] = 0;
	hash = strchr(name, '#');
	if (hash == NULL)
		return auth_key_named(keys, name);
	*hash = 0;
	k = auth_key_find(keys, (uint32_t)strtoul(hash + 1, NULL, 16));
	return k != NULL && strcmp(k->name, name) == 0 ? k : NULL;
}

/* A shared key is a session that both ends have had all along. */
static SSL_SESSION *session_of(SSL *ssl, const struct auth_key *k)
{
	static const unsigned char suite[] = { 0x13, 0x01 }; /* AES-128-GCM, SHA-256 */
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, suite);
	SSL_SESSION *s = SSL_SESSION_new();

	if (s == NULL || cipher == NULL ||
		SSL_SESSION_set1_master_key(s, k->secret, AUTH_SECRET_LEN) != 1 ||
		SSL_SESSION_set_cipher(s, cipher) != 1 ||
		SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION) != 1) {
		SSL_SESSION_free(s);
		return NULL;
	}
	return s;
}

static void peer_is(struct tls *t, const char *name)
{
	(void)snprintf(t->peer, sizeof(t->peer), "%s", name);
}

static int on_find_psk(
	SSL *ssl, const unsigned char *identity, size_t len, SSL_SESSION **session)
{
	struct tls *t = SSL_get_app_data(ssl);
	const struct auth_key *k =
		key_of_identity(&t->ctx->keys, (const char *)identity, len);

	*session = NULL;
	if (k == NULL)
		return 1; /* not known: a certificate may still do */
	*session = session_of(ssl, k);
	peer_is(t, k->name);
	return *session != NULL;
}

static int on_use_psk(SSL *ssl, const EVP_MD *md, const unsigned char **identity,
	size_t *len, SSL_SESSION **session)
{
	static _Thread_local char text[IDENTITY_MAX + 1];
	struct tls *t = SSL_get_app_data(ssl);
	const struct auth_key *k = t->ctx->keys.n > 0 ? &t->ctx->keys.at[0] : NULL;

	*session = NULL;
	*len = 0;
	*identity = NULL;
	/* After a retry the hash is fixed: ours is SHA-256. */
	if (k == NULL || (md != NULL && EVP_MD_get_type(md) != NID_sha256))
		return 1;
	*session = session_of(ssl, k);
	*len = (size_t)snprintf(text, sizeof(text), "%s#%08x", k->name, k->id);
	*identity = (const unsigned char *)text;
	return *session != NULL;
}

/* --- contexts -------------------------------------------------------------------------
 */

static int fail(char *why, size_t why_size, const char *what, const char *file)
{
	unsigned long e = ERR_peek_last_error();
	const char *reason = ERR_reason_error_string(e);

	(void)snprintf(why, why_size, "%s%s%s: %s", what, file[0] != 0 ? " " : "", file,
		reason != NULL ? reason : "failed");
	ERR_clear_error();
	return ERR_CONFIG;
}

static int certificates_load(
	struct tls_ctx *c, const struct tls_conf *conf, char *why, size_t why_size)
{
	if (SSL_CTX_use_certificate_chain_file(c->ssl, conf->certificate) != 1)
		return fail(
			why, why_size, "cannot use the certificate", conf->certificate);
	if (SSL_CTX_use_PrivateKey_file(c->ssl, conf->key, SSL_FILETYPE_PEM) != 1)
		return fail(why, why_size, "cannot use the private key", conf->key);
	if (SSL_CTX_load_verify_file(c->ssl, conf->authority) != 1)
		return fail(why, why_size, "cannot use the authority", conf->authority);
	/* Both ends show one: a connection without is refused. */
	SSL_CTX_set_verify(
		c->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	c->certificates = true;
	return 0;
}

static int keys_copy(struct auth_keys *to, const struct auth_keys *from)
{
	*to = (struct auth_keys){ .at = calloc(from->n, sizeof(*to->at)),
		.n = from->n,
		.by_id = calloc(from->n, sizeof(*to->by_id)) };
	if (to->at == NULL || to->by_id == NULL) {
		to->n = 0;
		auth_keys_fini(to);
		return -ENOMEM;
	}
	memcpy(to->at, from->at, from->n * sizeof(*to->at));
	memcpy(to->by_id, from->by_id, from->n * sizeof(*to->by_id));
	return 0;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
	const unsigned char *in, unsigned int in_len, void *arg)
{
	(void)ssl;
	(void)arg;
	for (unsigned int i = 0; i + ALPN_LEN <= in_len; i += in[i] + 1U)
		if (memcmp(in + i, ALPN, ALPN_LEN) == 0) {
			*out = in + i + 1;
			*out_len = in[i];
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_ALERT_FATAL; /* it wants something else of us */
}

static bool set_up(struct tls_ctx *c)
{
	SSL_CTX *s = c->ssl;

	if (SSL_CTX_set_min_proto_version(s, TLS1_3_VERSION) != 1 ||
		SSL_CTX_set_ciphersuites(s, "TLS_AES_128_GCM_SHA256") != 1)
		return false;
	(void)SSL_CTX_set_num_tickets(s, 0);
	(void)SSL_CTX_set_session_cache_mode(s, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_options(s, SSL_OP_NO_TICKET);
	/* A connection at rest holds no buffers. */
	(void)SSL_CTX_set_mode(
		s, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
	SSL_CTX_set_alpn_select_cb(s, on_alpn, NULL);
	if (SSL_CTX_set_alpn_protos(s, (const unsigned char *)ALPN, ALPN_LEN) != 0)
		return false;
	if (c->keys.n > 0 && c->server)
		SSL_CTX_set_psk_find_session_callback(s, on_find_psk);
	else if (c->keys.n > 0)
		SSL_CTX_set_psk_use_session_callback(s, on_use_psk);
	/* Without certificates nothing but a shared key makes a connection. */
	if (!c->certificates)
		SSL_CTX_set_verify(s,
			c->server ? SSL_VERIFY_NONE
				  : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			NULL);
	return true;
}

int tls_ctx_new(
	const struct tls_conf *conf, struct tls_ctx **ctx, char *why, size_t why_size)
{
	struct tls_ctx *c = calloc(1, sizeof(*c));
	int err = 0;

	if (c == NULL)
		return -ENOMEM;
	c->users = 1;
	c->server = conf->server;
	(void)snprintf(c->peer_name, sizeof(c->peer_name), "%s",
		conf->peer_name != NULL ? conf->peer_name : "");
	c->ssl = SSL_CTX_new(conf->server ? TLS_server_method() : TLS_client_method());
	if (c->ssl == NULL)
		err = -ENOMEM;
	if (err == 0 && conf->keys != NULL && conf->keys->n > 0)
		err = keys_copy(&c->keys, conf->keys);
	if (err == 0 && conf->certificate != NULL)
		err = certificates_load(c, conf, why, why_size);
	if (err == 0 && !set_up(c))
		err = fail(why, why_size, "cannot set up TLS 1.3", "");
	if (err != 0)
		tls_ctx_free(c);
	else
		*ctx = c;
	return err;
}

void tls_ctx_free(struct tls_ctx *c)
{
	if (c == NULL || --c->users > 0)
		return;
	SSL_CTX_free(c->ssl);
	auth_keys_fini(&c->keys);
	free(c);
}

/* --- connections ----------------------------------------------------------------------
 */

/* What the gateway's certificate must say; with a shared key there is none to look at. */
static bool expect_peer(SSL *ssl, const char *name)
{
	X509_VERIFY_PARAM *p = SSL_get0_param(ssl);

	if (name[0] == 0)
		return true;
	return X509_VERIFY_PARAM_set1_ip_asc(p, name) == 1 ||
	       X509_VERIFY_PARAM_set1_host(p, name, 0) == 1;
}

static void handshake(struct tls *t);
static int give_up(struct tls *t);

struct tls *tls_new(struct tls_ctx *ctx)
{
	struct tls *t = calloc(1, sizeof(*t));
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	if (t != NULL)
		t->ssl = SSL_new(ctx->ssl);
	if (t == NULL || t->ssl == NULL || in == NULL || out == NULL) {
		(void)BIO_free(in);
		(void)BIO_free(out);
		if (t != NULL)
			SSL_free(t->ssl);
		free(t);
		return NULL;
	}
	SSL_set_bio(t->ssl, in, out); /* takes them over */
	t->in = in;
	t->out = out;
	t->ctx = ctx;
	ctx->users++;
	(void)SSL_set_app_data(t->ssl, t);
	if (ctx->server) {
		SSL_set_accept_state(t->ssl);
	} else {
		SSL_set_connect_state(t->ssl);
		if (expect_peer(t->ssl, ctx->peer_name))
			handshake(t);
		else
			(void)give_up(t);
	}
	return t;
}

void tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_free(t->ssl);
	tls_ctx_free(t->ctx);
	free(t);
}

static int give_up(struct tls *t)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	if (!t->failed)
		(void)snprintf(t->error, sizeof(t->error), "%s",
			reason != NULL ? reason : "closed by the other end");
	t->failed = true;
	t->peer[0] = 0;
	ERR_clear_error();
	return ERR_PROTOCOL;
}

/* The common name, if it could be a key's name as well. */
static void name_from_certificate(struct tls *t)
{
	X509 *cert = SSL_get0_peer_certificate(t->ssl);
	char name[AUTH_NAME_MAX + 2] = "";

	if (cert == NULL && SSL_session_reused(t->ssl))
		return; /* by the shared key that was found */
	t->peer[0] = 0;
	if (cert == NULL)
		return;
	if (X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name,
		    sizeof(name)) > 0 &&
		auth_name_is_legal(name))
		peer_is(t, name);
}

static void handshake(struct tls *t)
{
	int rc, what;

	if (t->failed || SSL_is_init_finished(t->ssl))
		return;
	ERR_clear_error();
	rc = SSL_do_handshake(t->ssl);
	what = SSL_get_error(t->ssl, rc);
	if (rc != 1) {
		if (what != SSL_ERROR_WANT_READ && what != SSL_ERROR_WANT_WRITE)
			(void)give_up(t);
		return;
	}
	name_from_certificate(t);
	/* A host takes whoever has its key for its gateway, or its authority's word. */
	if (!t->ctx->server && t->peer[0] == 0)
		peer_is(t, "gateway");
	if (t->peer[0] == 0) {
		(void)snprintf(t->error, sizeof(t->error),
			"the certificate has no usable common name");
		t->failed = true;
	}
}

int tls_input(struct tls *t, const uint8_t *bytes, size_t len)
{
	if (t->failed)
		return ERR_PROTOCOL;
	if (BIO_write(t->in, bytes, (int)len) != (int)len)
		return -ENOMEM;
	handshake(t);
	return t->failed ? ERR_PROTOCOL : 0;
}

int tls_read(struct tls *t, uint8_t *buf, size_t size)
{
	int got, what;

	if (t->failed)
		return ERR_PROTOCOL;
	if (!tls_is_ready(t))
		return 0;
	ERR_clear_error();
	got = SSL_read(t->ssl, buf, (int)size);
	if (got > 0)
		return got;
	what = SSL_get_error(t->ssl, got);
	return what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE ? 0
									   : give_up(t);
}

int tls_write(struct tls *t, const uint8_t *bytes, size_t len)
{
	size_t done = 0;

	if (t->failed || !tls_is_ready(t))
		return ERR_PROTOCOL;
	ERR_clear_error();
	while (done < len) {
		int n = SSL_write(t->ssl, bytes + done, (int)(len - done));

		if (n <= 0)
			return give_up(t);
		done += (size_t)n;
	}
	return 0;
}

size_t tls_pending(const struct tls *t)
{
	return BIO_ctrl_pending(t->out);
}

size_t tls_output(struct tls *t, uint8_t *buf, size_t size)
{
	int n = BIO_read(t->out, buf, (int)size);

	return n > 0 ? (size_t)n : 0;
}

bool tls_is_ready(const struct tls *t)
{
	return !t->failed && SSL_is_init_finished(t->ssl) && t->peer[0] != 0;
}

const char *tls_peer(const struct tls *t)
{
	return t->peer;
}

const char *tls_error(const struct tls *t)
{
	return t->error;
}
