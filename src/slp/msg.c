/*
 * SLP messages from and to bytes, by one table: the fields of each function in their
 * order.  Answers for never reading beyond the message.
 */
#include "slp/msg.h"

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"

#define VERSION    2
#define FIELDS_MAX 8
#define HEADER_LEN 14 /* with an empty language tag */
#define LENGTH_AT  2
/* "All naming authorities", in place of a length (RFC 2608 10.1). */
#define ALL_AUTHORITIES 0xffff

enum field {
	END,
	ERROR,
	BOOT,
	RESPONDERS,
	TYPE,
	SCOPES,
	PREDICATE,
	SPI,
	URL, /* as text */
	TAGS,
	ATTRIBUTES,
	URL_ENTRY,
	URL_ENTRIES,
	AUTHORITY,
	AUTHS,
};

static const enum field fields[][FIELDS_MAX] = {
	[SLP_SRV_RQST] = { RESPONDERS, TYPE, SCOPES, PREDICATE, SPI },
	[SLP_SRV_RPLY] = { ERROR, URL_ENTRIES },
	[SLP_SRV_REG] = { URL_ENTRY, TYPE, SCOPES, ATTRIBUTES, AUTHS },
	[SLP_SRV_DEREG] = { SCOPES, URL_ENTRY, TAGS },
	[SLP_SRV_ACK] = { ERROR },
	[SLP_ATTR_RQST] = { RESPONDERS, URL, SCOPES, TAGS, SPI },
	[SLP_ATTR_RPLY] = { ERROR, ATTRIBUTES, AUTHS },
	[SLP_DA_ADVERT] = { ERROR, BOOT, URL, SCOPES, ATTRIBUTES, SPI, AUTHS },
	[SLP_TYPE_RQST] = { RESPONDERS, AUTHORITY, SCOPES },
	[SLP_TYPE_RPLY] = { ERROR, TYPE },
	[SLP_SA_ADVERT] = { URL, SCOPES, ATTRIBUTES, AUTHS },
};
#define FUNCTIONS (sizeof(fields) / sizeof(fields[0]))

/* NULL for what is no text of a message. */
static struct slp_text *text_of(struct slp_msg *m, enum field f)
{
	switch (f) {
	case RESPONDERS:
		return &m->responders;
	case TYPE:
		return &m->type;
	case SCOPES:
		return &m->scopes;
	case PREDICATE:
		return &m->predicate;
	case SPI:
		return &m->spi;
	case URL:
		return &m->url;
	case TAGS:
		return &m->tags;
	case ATTRIBUTES:
		return &m->attributes;
	default:
		return NULL;
	}
}

/* --- reading --------------------------------------------------------------------------
 */

static struct slp_text read_text(struct rd *r)
{
	size_t len = rd_u16(r);
	const uint8_t *at = rd_take(r, len);

	return (struct slp_text){ (const char *)at, at != NULL ? len : 0 };
}

static void skip_auths(struct rd *r)
{
	for (unsigned int n = rd_u8(r); n > 0 && !r->bad; n--) {
		(void)rd_u16(r); /* which algorithm */
		size_t len = rd_u16(r);

		/* Of the whole block, the four bytes before included. */
		if (len < 4)
			r->bad = true;
		else
			(void)rd_take(r, len - 4);
	}
}

static void read_entry(struct rd *r, struct slp_msg *m)
{
	struct slp_url u = { 0 };

	(void)rd_u8(r); /* reserved */
	u.lifetime_s = rd_u16(r);
	u.url = read_text(r);
	skip_auths(r);
	if (!r->bad && m->n_urls < SLP_URLS_MAX)
		m->urls[m->n_urls++] = u;
}

static void read_authority(struct rd *r)
{
	size_t len = rd_u16(r);

	if (len != ALL_AUTHORITIES)
		(void)rd_take(r, len);
}

static void read_field(struct rd *r, struct slp_msg *m, enum field f)
{
	struct slp_text *text = text_of(m, f);

	if (text != NULL)
		*text = read_text(r);
	else if (f == ERROR)
		m->error = rd_u16(r);
	else if (f == BOOT)
		m->boot = rd_u32(r);
	else if (f == URL_ENTRY)
		read_entry(r, m);
	else if (f == AUTHS)
		skip_auths(r);
	else if (f == AUTHORITY)
		read_authority(r);
	else
		for (unsigned int n = rd_u16(r); n > 0 && !r->bad; n--)
			read_entry(r, m);
}

int slp_decode(const uint8_t *bytes, size_t len, struct slp_msg *m)
{
	struct rd r = rd_init(bytes, len);
	unsigned int version = rd_u8(&r), function = rd_u8(&r);
	size_t length = (size_t)rd_u8(&r) << 16;

	*m = (struct slp_msg){ 0 };
	length |= rd_u16(&r);
	if (r.bad)
		return ERR_MALFORMED;
	if (version != VERSION)
		return ERR_VERSION;
	if (function == 0 || function >= FUNCTIONS)
		return ERR_UNSUPPORTED;
	if (length > len || length < HEADER_LEN)
		return ERR_MALFORMED;
	r.end = bytes + length;
	m->function = (enum slp_function)function;
	m->flags = rd_u16(&r);
	(void)rd_u8(&r); /* where extensions begin: behind what we read */
	(void)rd_u16(&r);
	m->xid = rd_u16(&r);
	m->language = read_text(&r);
	for (const enum field *f = fields[function]; *f != END; f++) {
		read_field(&r, m, *f);
		/* An answer that says no may end there (RFC 2608 7). */
		if (*f == ERROR && m->error != 0 && rd_left(&r) == 0)
			break;
	}
	return r.bad ? ERR_MALFORMED : 0;
}

/* --- writing --------------------------------------------------------------------------
 */

static void write_text(struct wr *w, struct slp_text t)
{
	if (t.len > UINT16_MAX)
		w->bad = true;
	wr_u16(w, (uint16_t)t.len);
	wr_bytes(w, t.at, t.len);
}

static void write_entry(struct wr *w, const struct slp_url *u)
{
	wr_u8(w, 0);
	wr_u16(w, u->lifetime_s);
	write_text(w, u->url);
	wr_u8(w, 0);
}

static void write_field(struct wr *w, const struct slp_msg *m, enum field f)
{
	struct slp_msg copy = *m;
	const struct slp_text *text = text_of(&copy, f);

	if (text != NULL) {
		write_text(w, *text);
	} else if (f == ERROR) {
		wr_u16(w, m->error);
	} else if (f == BOOT) {
		wr_u32(w, m->boot);
	} else if (f == URL_ENTRY) {
		write_entry(w, &m->urls[0]);
	} else if (f == AUTHS) {
		wr_u8(w, 0);
	} else if (f == AUTHORITY) {
		wr_u16(w, ALL_AUTHORITIES);
	} else {
		wr_u16(w, (uint16_t)m->n_urls);
		for (size_t i = 0; i < m->n_urls; i++)
			write_entry(w, &m->urls[i]);
	}
}

size_t slp_encode(const struct slp_msg *m, uint8_t *buf, size_t size)
{
	static const struct slp_text english = { "en", 2 };
	struct wr w = wr_init(buf, size);

	wr_u8(&w, VERSION);
	wr_u8(&w, (uint8_t)m->function);
	wr_u8(&w, 0);
	wr_u16(&w, 0);
	wr_u16(&w, m->flags);
	wr_u8(&w, 0);
	wr_u16(&w, 0);
	wr_u16(&w, m->xid);
	write_text(&w, m->language.len > 0 ? m->language : english);
	for (const enum field *f = fields[m->function]; *f != END; f++)
		write_field(&w, m, *f);
	/* Nothing of ours comes near to the third byte of the length. */
	wr_patch_u16(&w, LENGTH_AT + 1, wr_len(&w));
	return w.bad ? 0 : wr_len(&w);
}
