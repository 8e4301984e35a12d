/* Our side's keys, and the bodies of load-key and load-conn. */
#include "kxd/peers_inner.h"

#include "base/err.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- files ----------------------------------------------------------------------------
 */

static int file_read(
	struct file *f, const char *path, const char *what, char *why, size_t why_size)
{
	FILE *file = fopen(path, "re");
	int err = file != NULL ? 0 : -errno;

	f->len = 0;
	if (err == 0) {
		f->len = fread(f->text, 1, sizeof(f->text), file);
		if (ferror(file))
			err = -EIO;
		else if (f->len == 0 || f->len == sizeof(f->text))
			err = ERR_RANGE;
		(void)fclose(file);
	}
	if (err == 0)
		return 0;
	(void)snprintf(why, why_size, "cannot read the %s %s: %s", what, path,
		err == ERR_RANGE ? "empty, or too long" : err_text(err));
	return ERR_CONFIG;
}

/* The public half, for charon finds a private key without a certificate by it. */
static int spki_of(struct own *own, char *why, size_t why_size)
{
	char none[] = ""; /* a passphrase nobody can be asked for */
	BIO *bio = BIO_new_mem_buf(own->key.text, (int)own->key.len);
	EVP_PKEY *key =
		bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, none) : NULL;
	uint8_t *at = own->spki;
	int len = key != NULL ? i2d_PUBKEY(key, NULL) : 0;

	if (len > 0 && len <= (int)sizeof(own->spki))
		len = i2d_PUBKEY(key, &at);
	else
		len = 0;
	own->spki_len = len > 0 ? (size_t)len : 0;
	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	if (own->spki_len > 0)
		return 0;
	(void)snprintf(why, why_size,
		"%s holds no private key in PEM, without a passphrase, of at most 4,096 "
		"bits",
		own->conf->key);
	return ERR_CONFIG;
}

int own_read(struct own *own, const struct kxd_conf *conf, char *why, size_t why_size)
{
	int err = file_read(&own->key, conf->key, "key", why, why_size);

	own->conf = conf;
	own->certificate.len = own->ca.len = 0;
	if (err == 0 && conf->certificate[0] != 0)
		err = file_read(&own->certificate, conf->certificate, "certificate", why,
			why_size);
	if (err == 0 && conf->ca[0] != 0)
		err = file_read(
			&own->ca, conf->ca, "certificate of the CA", why, why_size);
	if (err == 0)
		err = spki_of(own, why, why_size);
	return err;
}

/* --- bodies ---------------------------------------------------------------------------
 */

/* "a, b" as a list. */
static void put_words(struct wr *w, const char *name, const char *text)
{
	char copy[KXD_TEXT], *save = NULL;

	(void)snprintf(copy, sizeof(copy), "%s", text);
	vici_list(w, name);
	for (char *word = strtok_r(copy, ", \t", &save); word != NULL;
		word = strtok_r(NULL, ", \t", &save))
		vici_item(w, word);
	vici_list_end(w);
}

static void put_number(struct wr *w, const char *name, unsigned int n)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%u", n);
	vici_key(w, name, text);
}

static void put_blob(struct wr *w, const char *name, const void *bytes, size_t len)
{
	vici_list(w, name);
	vici_item_bytes(w, bytes, len);
	vici_list_end(w);
}

static void put_local(struct wr *w, const struct own *own)
{
	char id[KX_NAME_TEXT + 8];

	(void)snprintf(id, sizeof(id), "fqdn:%s", own->conf->identity);
	vici_section(w, "local-1");
	vici_key(w, "auth", "pubkey");
	vici_key(w, "id", id);
	if (own->certificate.len > 0)
		put_blob(w, "certs", own->certificate.text, own->certificate.len);
	else
		put_blob(w, "pubkeys", own->spki, own->spki_len);
	vici_section_end(w);
}

static void put_common(struct wr *w, const struct own *own)
{
	const struct kxd_conf *c = own->conf;

	vici_key(w, "version", "2");
	vici_key(w, "mobike", "no");
	vici_key(w, "keyingtries", "1");
	vici_key(w, "dpd_delay", "30s");
	put_words(w, "proposals", c->ike_proposals);
	vici_one(w, "local_addrs", c->address[0] != 0 ? c->address : "%any");
}

static void put_child(struct wr *w, const struct own *own, const struct child *c)
{
	char addr[ADDR_TEXT_MAX], ts[PREFIX_TEXT_MAX];

	vici_section(w, c->name);
	(void)snprintf(ts, sizeof(ts), "%s/32", addr_format(c->local, addr));
	vici_one(w, "local_ts", ts);
	(void)snprintf(ts, sizeof(ts), "%s/32", addr_format(c->remote, addr));
	vici_one(w, "remote_ts", ts);
	vici_key(w, "mode", "tunnel");
	vici_key(w, "dpd_action", "clear");
	put_words(w, "esp_proposals", own->conf->esp_proposals);
	vici_section_end(w);
}

/* The peer's identity is bound to its own connection: keys and children of no other. */
static void put_remote(struct wr *w, const struct own *own, const struct peer *peer)
{
	char id[PEER_TEXT + 8];

	(void)snprintf(id, sizeof(id), "fqdn:%s", peer->text);
	vici_section(w, "remote-1");
	vici_key(w, "auth", "pubkey");
	vici_key(w, "id", id);
	if (peer->n_keys > 0) {
		vici_list(w, "pubkeys");
		for (size_t i = 0; i < peer->n_keys; i++)
			vici_item_bytes(w, peer->keys[i].bytes, peer->keys[i].len);
		vici_list_end(w);
	} else {
		put_blob(w, "cacerts", own->ca.text, own->ca.len);
	}
	vici_section_end(w);
}

static void put_where(struct wr *w, const struct peer *peer)
{
	char text[KX_ADDR_TEXT];

	vici_list(w, "remote_addrs");
	for (size_t i = 0; i < peer->n_addrs; i++)
		vici_item(w, kx_addr_format(&peer->addrs[i], text));
	/* It may come from elsewhere: its identity counts, not its address. */
	vici_item(w, "%any");
	vici_list_end(w);
	if (peer->port != 0) {
		/* Any port but 500 is spoken to with the marker of 4500 (RFC 3948). */
		put_number(w, "remote_port", peer->port);
		put_number(w, "local_port", 4500);
	}
}

static uint8_t *body_end(struct wr *w, size_t *len)
{
	*len = wr_len(w);
	if (!w->bad)
		return w->start;
	free(w->start);
	return NULL;
}

static struct wr body_begin(size_t size)
{
	uint8_t *bytes = malloc(size);

	return wr_init(bytes, bytes != NULL ? size : 0);
}

uint8_t *msg_load_key(const struct own *own, size_t *len)
{
	struct wr w = body_begin(own->key.len + 64);

	vici_key(&w, "type", "any");
	vici_key_bytes(&w, "data", own->key.text, own->key.len);
	return body_end(&w, len);
}

uint8_t *msg_load_conn(const struct own *own, const struct peer *peer, size_t *len)
{
	struct wr w = body_begin(8192 + own->certificate.len + own->ca.len +
				 peer->n_keys * (SPKI_MAX + 8) + peer->n_children * 512);

	vici_section(&w, peer->conn);
	put_common(&w, own);
	put_where(&w, peer);
	put_local(&w, own);
	put_remote(&w, own, peer);
	vici_section(&w, "children");
	for (size_t i = 0; i < peer->n_children; i++)
		put_child(&w, own, &peer->children[i]);
	vici_section_end(&w);
	vici_section_end(&w);
	return body_end(&w, len);
}

uint8_t *msg_load_any(const struct own *own, size_t *len)
{
	struct wr w = body_begin(8192 + own->certificate.len + own->ca.len);

	vici_section(&w, ANY_CONN);
	put_common(&w, own);
	vici_one(&w, "remote_addrs", "%any");
	put_local(&w, own);
	vici_section(&w, "remote-1");
	vici_key(&w, "auth", "pubkey");
	if (own->ca.len > 0)
		put_blob(&w, "cacerts", own->ca.text, own->ca.len);
	vici_section_end(&w);
	vici_section(&w, "children");
	vici_section_end(&w);
	vici_section_end(&w);
	return body_end(&w, len);
}
