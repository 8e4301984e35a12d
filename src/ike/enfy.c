/* Records of charon's error-notify plugin, read with more suspicion than it deserves. */
#include "ike/enfy.h"

#include "base/addr.h"
#include "base/err.h"
#include "base/rd.h"

#include <string.h>

#define NAME_MAX_LEN 64
#define PEER_MAX     60

/* A field of text: printable, ended inside its room, zeros behind. */
static bool text_field(struct rd *r, char *to, size_t size)
{
	size_t len;

	rd_bytes(r, to, size);
	len = strnlen(to, size);
	if (len == size)
		return false; /* cut or never ended */
	for (size_t i = 0; i < size; i++)
		if (i < len ? to[i] < ' ' || to[i] > '~' : to[i] != 0)
			return false;
	return true;
}

/* "198.51.100.1[500]"; another family leaves the address 0. */
static void peer_of(const char *text, uint32_t *addr, uint16_t *port)
{
	char ip[ADDR_TEXT_MAX];
	const char *open = strchr(text, '[');
	size_t len = open != NULL ? (size_t)(open - text) : 0;
	struct range r;
	char digits[8];

	*addr = 0;
	*port = 0;
	if (open == NULL || len >= sizeof(ip))
		return;
	memcpy(ip, text, len);
	ip[len] = 0;
	len = strlen(open);
	if (addr_parse(ip, addr) != 0 || len < 3 || len - 2 >= sizeof(digits) ||
		open[len - 1] != ']')
		return;
	memcpy(digits, open + 1, len - 2);
	digits[len - 2] = 0;
	if (range_parse(digits, 1, UINT16_MAX, &r) == 0 && r.lo == r.hi)
		*port = (uint16_t)r.lo;
}

int enfy_decode(const uint8_t record[static ENFY_RECORD], struct enfy *e)
{
	struct rd r = rd_init(record, ENFY_RECORD);
	char name[NAME_MAX_LEN], peer[PEER_MAX];

	*e = (struct enfy){ .type = (int32_t)rd_u32(&r) };
	if (!text_field(&r, e->text, sizeof(e->text)) ||
		!text_field(&r, name, sizeof(name)) ||
		!text_field(&r, e->id, sizeof(e->id)) ||
		!text_field(&r, peer, sizeof(peer)))
		return ERR_MALFORMED;
	/* snprintf filled the room: more may have stood there. */
	if (strlen(e->text) == sizeof(e->text) - 1 || strlen(e->id) == sizeof(e->id) - 1)
		return ERR_MALFORMED;
	peer_of(peer, &e->addr, &e->port);
	return 0;
}

/* One "A.B.C.D/LEN" up to the next blank or the end, where *text is then. */
static int selector(const char **text, struct prefix4 *p)
{
	char one[PREFIX_TEXT_MAX], again[PREFIX_TEXT_MAX];
	size_t len = strcspn(*text, " ");

	if (len == 0 || len >= sizeof(one))
		return ERR_MALFORMED;
	memcpy(one, *text, len);
	one[len] = 0;
	/* Written as charon writes it, not only readable: no /032. */
	if (prefix_parse(one, p) != 0 || strcmp(prefix_format(p, again), one) != 0)
		return ERR_MALFORMED;
	*text += len;
	return 0;
}

int enfy_selectors(const char *text, uint32_t *theirs, uint32_t *ours)
{
	static const char head[] = "the received traffic selectors did not match: ",
			  between[] = " === ";
	struct prefix4 a, b;

	if (strncmp(text, head, sizeof(head) - 1) != 0)
		return ERR_MALFORMED;
	text += sizeof(head) - 1;
	if (selector(&text, &a) != 0 || strncmp(text, between, sizeof(between) - 1) != 0)
		return ERR_MALFORMED;
	text += sizeof(between) - 1;
	/* Releases differ in a blank at the end. */
	if (selector(&text, &b) != 0 || (*text != 0 && strcmp(text, " ") != 0))
		return ERR_MALFORMED;
	if (a.len != 32 || b.len != 32)
		return ERR_RANGE;
	*theirs = a.addr;
	*ours = b.addr;
	return 0;
}
