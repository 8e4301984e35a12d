/*
 * Words to bytes and bytes to words.  Writing follows the script, also where it is wrong;
 * reading is strict, so that a reply equals its words only if every byte does.
 */
#include "words.h"

#include "base/addr.h"
#include "build.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const messages[256] = {
	[1] = "ERROR_RESPONSE",
	[2] = "REGISTER_REQUEST",
	[3] = "REGISTER_RESPONSE",
	[4] = "DE-REGISTER_REQUEST",
	[5] = "DE-REGISTER_RESPONSE",
	[6] = "ASSIGN_REQUEST_RSA-IP",
	[7] = "ASSIGN_RESPONSE_RSA-IP",
	[8] = "ASSIGN_REQUEST_RSAP-IP",
	[9] = "ASSIGN_RESPONSE_RSAP-IP",
	[10] = "EXTEND_REQUEST",
	[11] = "EXTEND_RESPONSE",
	[12] = "FREE_REQUEST",
	[13] = "FREE_RESPONSE",
	[14] = "QUERY_REQUEST",
	[15] = "QUERY_RESPONSE",
	[16] = "LISTEN_REQUEST",
	[17] = "LISTEN_RESPONSE",
	[22] = "ASSIGN_REQUEST_RSIPSEC",
	[23] = "ASSIGN_RESPONSE_RSIPSEC",
	[241] = "LISTEN_RSIP_IKE",
	[242] = "LISTEN_RESPONSE_RSIP_IKE",
};

struct name {
	uint16_t value;
	const char *name;
};

static const struct name errors[] = {
	{ 101, "UNKNOWN_ERROR" },
	{ 102, "USE_TCP" },
	{ 103, "FLOW_POLICY_VIOLATION" },
	{ 104, "INTERNAL_SERVER_ERROR" },
	{ 105, "MESSAGE_COUNTER_REQUIRED" },
	{ 106, "UNSUPPORTED_RSIP_VERSION" },
	{ 201, "MISSING_PARAM" },
	{ 202, "DUPLICATE_PARAM" },
	{ 203, "EXTRA_PARAM" },
	{ 204, "ILLEGAL_PARAM" },
	{ 205, "BAD_PARAM" },
	{ 206, "ILLEGAL_MESSAGE" },
	{ 207, "BAD_MESSAGE" },
	{ 208, "UNSUPPORTED_MESSAGE" },
	{ 301, "REGISTER_FIRST" },
	{ 302, "ALREADY_REGISTERED" },
	{ 303, "ALREADY_UNREGISTERED" },
	{ 304, "REGISTRATION_DENIED" },
	{ 305, "BAD_CLIENT_ID" },
	{ 306, "BAD_BIND_ID" },
	{ 307, "BAD_TUNNEL_TYPE" },
	{ 308, "LOCAL_ADDR_UNAVAILABLE" },
	{ 309, "LOCAL_ADDRPORT_UNAVAILABLE" },
	{ 310, "LOCAL_ADDR_INUSE" },
	{ 311, "LOCAL_ADDRPORT_INUSE" },
	{ 312, "LOCAL_ADDR_UNALLOWED" },
	{ 313, "LOCAL_ADDRPORT_UNALLOWED" },
	{ 314, "REMOTE_ADDR_UNALLOWED" },
	{ 315, "REMOTE_ADDRPORT_UNALLOWED" },
	{ 401, "IPSEC_UNALLOWED" },
	{ 402, "IPSEC_SPI_UNAVAILABLE" },
	{ 403, "IPSEC_SPI_INUSE" },
	{ 0, NULL },
};
static const struct name tunnels[] = { { 1, "ipip" }, { 2, "gre" }, { 3, "l2tp" },
	{ 0, NULL } };
static const struct name methods[] = { { 1, "rsa-ip" }, { 2, "rsap-ip" },
	{ 3, "rsipsec" }, { 0, NULL } };
static const struct name flows[] = { { 1, "macro" }, { 2, "micro" }, { 3, "none" },
	{ 0, NULL } };

static const char *name_of(const struct name *names, uint32_t value)
{
	for (; names->name != NULL; names++)
		if (names->value == value)
			return names->name;
	return NULL;
}

static int number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return -1;
	*value = strtoull(text, &end, 0);
	return *end == '\0' && *value <= max ? 0 : -1;
}

/* A name of the list, or a number. */
static int named(
	const struct name *names, const char *text, uint64_t max, uint64_t *value)
{
	for (; names->name != NULL; names++) {
		if (strcmp(names->name, text) == 0) {
			*value = names->value;
			return 0;
		}
	}
	return number(text, max, value);
}

int words_hex(const char *text, uint8_t *buf, size_t size)
{
	size_t n = strlen(text);

	if (n % 2 != 0 || n / 2 > size)
		return -1;
	for (size_t i = 0; i < n / 2; i++) {
		char two[3] = { text[2 * i], text[2 * i + 1], '\0' };
		char *end;

		buf[i] = (uint8_t)strtoul(two, &end, 16);
		if (*end != '\0')
			return -1;
	}
	return (int)(n / 2);
}

/* --- writing --------------------------------------------------------------------------
 */

/* Each writer adds one parameter from the text behind '=' and returns 0, or -1. */

static int put_u32(struct build *b, uint8_t param, const char *text)
{
	uint64_t v;

	if (number(text, UINT32_MAX, &v) != 0)
		return -1;
	build_u32(b, param, (uint32_t)v);
	return 0;
}

static int put_error(struct build *b, uint8_t param, const char *text)
{
	uint64_t v;

	if (named(errors, text, UINT16_MAX, &v) != 0)
		return -1;
	build_u16(b, param, (uint16_t)v);
	return 0;
}

static int put_u8(struct build *b, uint8_t param, const char *text)
{
	uint64_t v;

	if (named(param == B_TUNNEL ? tunnels : methods, text, UINT8_MAX, &v) != 0)
		return -1;
	build_u8(b, param, (uint8_t)v);
	return 0;
}

static int put_flow(struct build *b, uint8_t param, const char *text)
{
	char local[16];
	uint64_t l, r;
	const char *slash = strchr(text, '/');

	if (slash == NULL || (size_t)(slash - text) >= sizeof(local))
		return -1;
	(void)snprintf(local, sizeof(local), "%.*s", (int)(slash - text), text);
	if (named(flows, local, 255, &l) != 0 || named(flows, slash + 1, 255, &r) != 0)
		return -1;
	build_u16(b, param, (uint16_t)(l << 8 | r));
	return 0;
}

/* "1", or "1/1" for the one-byte spelling (A-W-01). */
static int put_indicator(struct build *b, uint8_t param, const char *text)
{
	uint64_t v;

	if (strlen(text) == 3 && strcmp(text + 1, "/1") == 0) {
		build_u8(b, param, (uint8_t)(text[0] - '0'));
		return 0;
	}
	if (number(text, UINT16_MAX, &v) != 0)
		return -1;
	build_u16(b, param, (uint16_t)v);
	return 0;
}

/* "241.1.HEX" */
static int put_vendor(struct build *b, uint8_t param, const char *text)
{
	uint8_t v[300];
	char *end;
	unsigned long vendor = strtoul(text, &end, 10), subtype;
	int n;

	if (*end != '.')
		return -1;
	subtype = strtoul(end + 1, &end, 10);
	if (*end != '.')
		return -1;
	v[0] = (uint8_t)(vendor >> 8);
	v[1] = (uint8_t)vendor;
	v[2] = (uint8_t)(subtype >> 8);
	v[3] = (uint8_t)subtype;
	n = words_hex(end + 1, v + 4, sizeof(v) - 4);
	if (n < 0)
		return -1;
	build_param(b, param, v, 4 + (size_t)n);
	return 0;
}

static int put_addr(struct build *b, uint8_t param, const char *text)
{
	uint8_t v[260];
	uint32_t addr;
	uint64_t type = 1;

	if (text[0] == '*') {
		if (text[1] != '\0' && number(text + 1, 255, &type) != 0)
			return -1;
		build_u8(b, param, (uint8_t)type);
		return 0;
	}
	if (strncmp(text, "name:", 5) == 0) {
		size_t n = strlen(text + 5);

		v[0] = 4;
		if (n > 255)
			return -1;
		memcpy(v + 1, text + 5, n);
		build_param(b, param, v, 1 + n);
		return 0;
	}
	if (strncmp(text, "ip6:", 4) == 0) {
		v[0] = 3;
		if (inet_pton(AF_INET6, text + 4, v + 1) != 1)
			return -1;
		build_param(b, param, v, 17);
		return 0;
	}
	bool mask = strncmp(text, "mask:", 5) == 0;

	if (addr_parse(text + (mask ? 5 : 0), &addr) != 0)
		return -1;
	build_address(b, addr);
	if (mask)
		b->bytes[b->len - 5] = 2;
	return 0;
}

/*
 * "-" don't need, "*4" any four, "7" one, "7+4" four from 7, "7,9" these: Number in
 * number_size bytes, then fields of field_size bytes.
 */
static int put_numbers(struct build *b, uint8_t param, const char *text,
	size_t number_size, size_t field_size)
{
	uint8_t v[2048];
	size_t len = number_size;
	uint64_t count = 1, value, max = field_size == 2 ? UINT16_MAX : UINT32_MAX;
	char *end = NULL;

	if (strcmp(text, "-") == 0) {
		build_param(b, param, NULL, 0);
		return 0;
	}
	if (*text == '*') {
		if (number(text + 1, number_size == 1 ? 255 : 65535, &count) != 0)
			return -1;
	} else {
		for (count = 0; *text != '\0'; count++) {
			value = strtoull(text, &end, 0);
			if (end == text || value > max || len + field_size > sizeof(v))
				return -1;
			for (size_t i = field_size; i-- > 0;)
				v[len++] = (uint8_t)(value >> (8 * i));
			text = *end == ',' ? end + 1 : end;
			if (*end == '+')
				break;
		}
		if (*text == '+' && number(text + 1, 65535, &count) != 0)
			return -1;
	}
	for (size_t i = 0; i < number_size; i++)
		v[i] = (uint8_t)(count >> (8 * (number_size - 1 - i)));
	build_param(b, param, v, len);
	return 0;
}

static int put_ports(struct build *b, uint8_t param, const char *text)
{
	return put_numbers(b, param, text, 1, 2);
}

static int put_spis(struct build *b, uint8_t param, const char *text)
{
	return put_numbers(b, param, text, 2, 4);
}

/* "2:HEX": ID type and data; "2:=text": data as it stands. */
static int put_ike_id(struct build *b, uint8_t param, const char *text)
{
	uint8_t v[600];
	char *end;
	unsigned long type = strtoul(text, &end, 10);
	size_t n = 0;
	int got = 0;

	if (*end != ':' || type > 255)
		return -1;
	v[0] = (uint8_t)type;
	if (end[1] == '=') {
		n = strlen(end + 2);
		if (n > sizeof(v) - 1)
			return -1;
		memcpy(v + 1, end + 2, n);
	} else {
		got = words_hex(end + 1, v + 1, sizeof(v) - 1);
		n = got > 0 ? (size_t)got : 0;
	}
	if (got < 0)
		return -1;
	build_param(b, param, v, 1 + n);
	return 0;
}

static const struct key {
	const char *name;
	uint8_t param;
	int (*put)(struct build *b, uint8_t param, const char *text);
} keys[] = {
	{ "client", B_CLIENT, put_u32 },
	{ "bind", B_BIND, put_u32 },
	{ "lease", B_LEASE, put_u32 },
	{ "counter", B_COUNTER, put_u32 },
	{ "error", B_ERROR, put_error },
	{ "tunnel", B_TUNNEL, put_u8 },
	{ "method", B_METHOD, put_u8 },
	{ "flow", B_FLOW, put_flow },
	{ "indicator", B_INDICATOR, put_indicator },
	{ "vendor", B_VENDOR, put_vendor },
	{ "local", B_ADDRESS, put_addr },
	{ "remote", B_ADDRESS, put_addr },
	{ "endpoint", B_ADDRESS, put_addr },
	{ "addr", B_ADDRESS, put_addr },
	{ "ports", B_PORTS, put_ports },
	{ "rports", B_PORTS, put_ports },
	{ "spi", B_SPI, put_spis },
	{ "ike-id", B_IKE_ID, put_ike_id },
	{ NULL, 0, NULL },
};

/* "param=13:0102" is any parameter with these bytes. */
static int put_raw(struct build *b, const char *text)
{
	uint8_t v[2048];
	char *end;
	unsigned long type = strtoul(text, &end, 10);
	int n;

	if (*end != ':' || type > 255)
		return -1;
	n = words_hex(end + 1, v, sizeof(v));
	if (n < 0)
		return -1;
	build_param(b, (uint8_t)type, v, (size_t)n);
	return 0;
}

static int put_word(struct build *b, const char *word)
{
	const char *value = strchr(word, '=');
	size_t n;

	if (value == NULL)
		return -1;
	n = (size_t)(value++ - word);
	if (n == 5 && strncmp(word, "param", n) == 0)
		return put_raw(b, value);
	if (n == 5 && strncmp(word, "bytes", n) == 0) {
		int got = words_hex(value, b->bytes + b->len, b->size - b->len);

		b->len += got > 0 ? (size_t)got : 0;
		return got < 0 ? -1 : 0;
	}
	for (const struct key *k = keys; k->name != NULL; k++) {
		if (strlen(k->name) != n || strncmp(k->name, word, n) != 0)
			continue;
		if (strncmp(value, "hex:", 4) == 0) {
			char raw[4200];

			(void)snprintf(raw, sizeof(raw), "%u:%s", (unsigned int)k->param,
				value + 4);
			return put_raw(b, raw);
		}
		return k->put(b, k->param, value);
	}
	return -1;
}

static int message_type(const char *name)
{
	uint64_t v;

	for (int i = 0; i < 256; i++)
		if (messages[i] != NULL && strcmp(messages[i], name) == 0)
			return i;
	if (strncmp(name, "TYPE-", 5) == 0 && number(name + 5, 255, &v) == 0)
		return (int)v;
	return -1;
}

int words_encode(char *const *words, size_t n, uint8_t *buf, size_t size, char *why,
	size_t why_size)
{
	struct build b;
	uint64_t length = 0, version = 1;
	bool forced = false;
	int type = n > 0 ? message_type(words[0]) : -1;

	if (type < 0) {
		(void)snprintf(why, why_size, "no message is called '%s'",
			n > 0 ? words[0] : "");
		return -1;
	}
	build_begin(&b, buf, size, (uint8_t)type);
	for (size_t i = 1; i < n; i++) {
		int err = 0;

		if (strncmp(words[i], "length=", 7) == 0) {
			err = number(words[i] + 7, UINT16_MAX, &length);
			forced = true;
		} else if (strncmp(words[i], "version=", 8) == 0) {
			err = number(words[i] + 8, 255, &version);
		} else {
			err = put_word(&b, words[i]);
		}
		if (err != 0) {
			(void)snprintf(why, why_size, "'%s' is no parameter", words[i]);
			return -1;
		}
	}
	build_end(&b);
	b.bytes[0] = (uint8_t)version;
	if (forced) {
		b.bytes[2] = (uint8_t)(length >> 8);
		b.bytes[3] = (uint8_t)length;
	}
	return (int)b.len;
}

/* --- reading --------------------------------------------------------------------------
 */

static void get_hex(FILE *out, const uint8_t *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void)fprintf(out, "%02x", v[i]);
}

static int get_addr(FILE *out, const struct tlv *p)
{
	char text[INET6_ADDRSTRLEN];

	if (p->len == 1) {
		if (p->value[0] == 1)
			(void)fprintf(out, "*");
		else
			(void)fprintf(out, "*%u", (unsigned int)p->value[0]);
		return 0;
	}
	if (p->len == 5 && (p->value[0] == 1 || p->value[0] == 2)) {
		(void)fprintf(out, "%s%s", p->value[0] == 2 ? "mask:" : "",
			inet_ntop(AF_INET, p->value + 1, text, sizeof(text)));
		return 0;
	}
	if (p->len == 17 && p->value[0] == 3) {
		(void)fprintf(out, "ip6:%s",
			inet_ntop(AF_INET6, p->value + 1, text, sizeof(text)));
		return 0;
	}
	if (p->len > 1 && p->value[0] == 4) {
		(void)fprintf(out, "name:%.*s", p->len - 1, (const char *)p->value + 1);
		return 0;
	}
	return -1;
}

static uint32_t field(const uint8_t *v, size_t size)
{
	uint32_t value = 0;

	for (size_t i = 0; i < size; i++)
		value = value << 8 | v[i];
	return value;
}

/* The inverse of put_numbers(); a shape that it never writes is -1. */
static int get_numbers(FILE *out, const struct tlv *p, size_t number_size,
	size_t field_size, const char *format)
{
	uint32_t count;
	size_t k;

	if (p->len == 0) {
		(void)fprintf(out, "-");
		return 0;
	}
	if (p->len < number_size || (p->len - number_size) % field_size != 0)
		return -1;
	count = field(p->value, number_size);
	k = (p->len - number_size) / field_size;
	if (k == 0) {
		(void)fprintf(out, "*%u", count);
		return 0;
	}
	if (k != 1 && k != count)
		return -1;
	for (size_t i = 0; i < k; i++) {
		char text[16];
		uint32_t v = field(p->value + number_size + i * field_size, field_size);

		/* Written so that gcc sees the formats. */
		if (*format == 'x')
			(void)snprintf(text, sizeof(text), "0x%08x", v);
		else
			(void)snprintf(text, sizeof(text), "%u", v);
		(void)fprintf(out, "%s%s", i > 0 ? "," : "", text);
	}
	if (k == 1 && count != 1)
		(void)fprintf(out, "+%u", count);
	return 0;
}

static int get_value(FILE *out, const struct tlv *p)
{
	uint32_t v = tlv_number(p);
	const char *name = NULL;

	switch (p->type) {
	case B_ADDRESS:
		return get_addr(out, p);
	case B_PORTS:
		return get_numbers(out, p, 1, 2, "u");
	case B_SPI:
		return get_numbers(out, p, 2, 4, "x");
	case B_FLOW:
		if (p->len != 2 || name_of(flows, v >> 8) == NULL ||
			name_of(flows, v & 255) == NULL)
			return -1;
		(void)fprintf(
			out, "%s/%s", name_of(flows, v >> 8), name_of(flows, v & 255));
		return 0;
	case B_INDICATOR:
		if (p->len != 1 && p->len != 2)
			return -1;
		(void)fprintf(out, "%u%s", v, p->len == 1 ? "/1" : "");
		return 0;
	case B_VENDOR:
		if (p->len < 4)
			return -1;
		(void)fprintf(out, "%u.%u.", field(p->value, 2), field(p->value + 2, 2));
		get_hex(out, p->value + 4, p->len - 4u);
		return 0;
	case B_IKE_ID:
		if (p->len < 1)
			return -1;
		(void)fprintf(out, "%u:", (unsigned int)p->value[0]);
		get_hex(out, p->value + 1, p->len - 1u);
		return 0;
	case B_ERROR:
		name = name_of(errors, v);
		break;
	case B_TUNNEL:
		name = name_of(tunnels, v);
		break;
	case B_METHOD:
		name = name_of(methods, v);
		break;
	default:
		break;
	}
	if (name != NULL)
		(void)fprintf(out, "%s", name);
	else
		(void)fprintf(out, "%u", v);
	return 0;
}

/* What a parameter is called in this place of this message (RFC 3103 section 9). */
static const char *word_of(
	uint8_t type, const struct tlv *p, unsigned int *addresses, unsigned int *ports)
{
	static const char *const roles[] = { "local", "remote", "endpoint" };
	bool assign = (type >= 6 && type <= 9) || type == 16 || type == 17 || type >= 22;

	if (p->type == B_ADDRESS)
		return assign && *addresses < 3 ? roles[(*addresses)++] : "addr";
	if (p->type == B_PORTS)
		return (*ports)++ > 0 || type == 6 || type == 7 ? "rports" : "ports";
	for (const struct key *k = keys; k->name != NULL; k++)
		if (k->param == p->type)
			return k->name;
	return NULL;
}

static bool length_fits(const struct tlv *p)
{
	static const uint8_t lengths[] = { [B_LEASE] = 4,
		[B_CLIENT] = 4,
		[B_BIND] = 4,
		[B_TUNNEL] = 1,
		[B_METHOD] = 1,
		[B_ERROR] = 2,
		[B_COUNTER] = 4 };

	return p->type >= sizeof(lengths) || lengths[p->type] == 0 ||
	       lengths[p->type] == p->len;
}

/* One parameter as a word; as raw bytes where its value is not of its kind. */
static void get_word(FILE *out, const char *word, const struct tlv *p)
{
	char *value = NULL;
	size_t len = 0;
	FILE *text = open_memstream(&value, &len);
	int err = -1;

	if (text != NULL && word != NULL && length_fits(p))
		err = get_value(text, p);
	if (text != NULL)
		(void)fclose(text);
	if (err == 0) {
		(void)fprintf(out, " %s=%s", word, value);
	} else {
		(void)fprintf(out, " param=%u:", (unsigned int)p->type);
		get_hex(out, p->value, p->len);
	}
	free(value);
}

char *words_decode(const uint8_t *bytes, size_t len)
{
	char *all = NULL;
	size_t all_len = 0, at = 4;
	unsigned int addresses = 0, ports = 0;
	FILE *out = open_memstream(&all, &all_len);
	struct tlv p;

	if (out == NULL)
		abort();
	if (len < 4) {
		(void)fprintf(out, "bytes=");
		get_hex(out, bytes, len);
		(void)fclose(out);
		return all;
	}
	if (messages[bytes[1]] != NULL)
		(void)fprintf(out, "%s", messages[bytes[1]]);
	else
		(void)fprintf(out, "TYPE-%u", (unsigned int)bytes[1]);
	if (bytes[0] != 1)
		(void)fprintf(out, " version=%u", (unsigned int)bytes[0]);
	if ((size_t)(bytes[2] << 8 | bytes[3]) != len)
		(void)fprintf(out, " length=%d", bytes[2] << 8 | bytes[3]);
	while (tlv_next(bytes, len, &at, &p))
		get_word(out, word_of(bytes[1], &p, &addresses, &ports), &p);
	if (at < len) {
		(void)fprintf(out, " bytes=");
		get_hex(out, bytes + at, len - at);
	}
	(void)fclose(out);
	return all;
}
