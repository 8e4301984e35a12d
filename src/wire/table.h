#pragma once

#include "base/rd.h"
#include "base/wr.h"
#include "wire/msg.h"

/*
 * The tables behind wire/msg.h: messages are rows of roles, roles are places of struct
 * wire_msg filled by one kind of parameter, parameters are rows of functions.  Decoder,
 * encoder, printer and the generated tests read them; nothing outside of wire does.
 */

/* What a parameter means in its message. The bit in wire_msg.has is in the role's row. */
enum role {
	ROLE_NONE, /* ends a list */
	ROLE_ERROR,
	ROLE_CLIENT_ID,
	ROLE_BIND_ID,
	ROLE_LOCAL,
	ROLE_LOCAL_PORTS,
	ROLE_REMOTE,
	ROLE_REMOTE_PORTS,
	ROLE_SPI,
	ROLE_LEASE,
	ROLE_TUNNEL,
	ROLE_METHOD,
	ROLE_FLOW,
	ROLE_COUNTER,
	ROLE_ENDPOINT,
	ROLE_QUERY,      /* an Indicator: begins a query tuple */
	ROLE_QUERY_ADDR, /* address, network or netmask of the tuple */
	ROLE_VENDOR,
	ROLE_IKE_IDENTITY,
	ROLES
};

#define WIRE_MSG_TYPES   24
#define WIRE_PARAM_TYPES 23
/* Rows: those, and the few of private use. */
#define WIRE_MSG_ROWS   (WIRE_MSG_TYPES + 2)
#define WIRE_PARAM_ROWS (WIRE_PARAM_TYPES + 1)
#define WIRE_MUST_MAX   9
#define WIRE_MAY_MAX    3

struct msg_spec {
	const char *name;
	enum wire_side to;               /* who receives it */
	uint8_t must[WIRE_MUST_MAX + 1]; /* roles in exactly this order */
	uint8_t may[WIRE_MAY_MAX + 1];   /* any order after those; sent in this one */
	uint32_t many;                   /* HAS_ bits of roles that may repeat */
};

struct role_spec {
	const char *label; /* in print */
	uint8_t param;
	uint32_t has;
	size_t member; /* offset in struct wire_msg; 0: it is walked in the bytes */
	size_t count;  /* offset of the uint8_t that counts a list's items; 0: no list */
};

/* Text that grows into the caller's buffer; len counts on behind its end. */
struct text {
	char *buf;
	size_t size, len;
};

struct param_spec {
	const char *name;
	/* Legal Lengths: len_min, len_min + len_step, ... up to len_max. */
	uint16_t len_min, len_max, len_step;
	/* Value to member; false when the bytes take none of the parameter's forms. */
	bool (*read)(struct rd *v, struct wire_msg *m, enum role role);
	/* May this value stand in this role of this message?  NULL: any may. */
	bool (*legal)(
		const struct msg_spec *spec, const struct wire_msg *m, enum role role);
	/* Item i (0 unless a list) of the member as Value. */
	void (*write)(
		struct wr *w, const struct wire_msg *m, enum role role, unsigned int i);
	void (*print)(struct text *t, const struct wire_msg *m, enum role role);
};

/* NULL for numbers that are not assigned. */
const struct msg_spec *msg_spec_find(uint8_t type);
const struct param_spec *param_spec_find(uint8_t type);
extern const struct role_spec role_specs[ROLES];
extern const struct param_spec param_specs[WIRE_PARAM_ROWS];
/* The row of a type; WIRE_PARAM_ROWS when there is none. */
unsigned int param_row(uint8_t type);

/*
 * The role of occurrence n (from 0) of a parameter, or ROLE_NONE.  *last then tells why:
 * ROLE_NONE when the message never takes it, else it has come too often.
 */
enum role msg_spec_role(
	const struct msg_spec *spec, uint8_t param, unsigned int n, enum role *last);
/* Is the role in a list of them, as `must`?  May the message have it at all? */
bool role_in(const uint8_t *list, enum role role);
bool msg_spec_has(const struct msg_spec *spec, enum role role);

/* The member that a role fills, and how many items it has (1 unless a list). */
static inline const void *role_member(const struct wire_msg *m, enum role role)
{
	return (const char *)m + role_specs[role].member;
}

static inline unsigned int role_count(const struct wire_msg *m, enum role role)
{
	size_t count = role_specs[role].count;

	return count ? ((const uint8_t *)m)[count] : 1;
}

/* The next parameter; false at the end, and with r->bad set when it does not fit. */
bool param_next(struct rd *r, uint8_t *type, struct rd *value);

/* Query tuples are not members: they are read one by one out of the message's bytes. */
bool addr_read(struct rd *v, struct wire_addr *a);
void addr_write(struct wr *w, const struct wire_addr *a);
bool indicator_read(struct rd *v, struct wire_query *q);
bool indicator_legal(const struct msg_spec *spec, uint8_t indicator);
bool indicator_is_network(uint8_t indicator);
/* The first address of a tuple; the netmask that follows a network. */
bool query_addr_legal(uint8_t indicator, const struct wire_addr *a);
bool query_mask_legal(const struct wire_addr *network, struct wire_addr *mask);

/* The print column of the parameters' rows. */
void u32_print(struct text *t, const struct wire_msg *m, enum role role);
void error_print(struct text *t, const struct wire_msg *m, enum role role);
void flow_print(struct text *t, const struct wire_msg *m, enum role role);
void list_print(struct text *t, const struct wire_msg *m, enum role role);
void address_print(struct text *t, const struct wire_msg *m, enum role role);
void ports_print(struct text *t, const struct wire_msg *m, enum role role);
void spi_print(struct text *t, const struct wire_msg *m, enum role role);
void ike_identity_print(struct text *t, const struct wire_msg *m, enum role role);
