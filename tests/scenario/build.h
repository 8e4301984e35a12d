#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * RSIP messages put together byte by byte, in whatever order and shape a test wants,
 * right or wrong.  Knows nothing of src/wire, so that the tests of the engine read the
 * RFC twice.
 */
struct build {
	uint8_t *bytes;
	size_t len, size;
};

/* Parameters, messages and values of RFC 3103 section 8 and 9, RFC 3104 section 6. */
enum {
	B_ADDRESS = 1,
	B_PORTS = 2,
	B_LEASE = 3,
	B_CLIENT = 4,
	B_BIND = 5,
	B_TUNNEL = 6,
	B_METHOD = 7,
	B_ERROR = 8,
	B_FLOW = 9,
	B_INDICATOR = 10,
	B_COUNTER = 11,
	B_VENDOR = 12,
	B_SPI = 22,
	B_IKE_ID = 241, /* private use */
};

enum {
	T_ERROR = 1,
	T_REGISTER = 2,
	T_DEREGISTER = 4,
	T_RSA_IP = 6,
	T_RSAP_IP = 8,
	T_EXTEND = 10,
	T_FREE = 12,
	T_QUERY = 14,
	T_LISTEN = 16,
	T_RSIPSEC = 22,
	T_LISTEN_IKE = 241, /* private use */
	T_LISTEN_IKE_RESPONSE = 242,
};

/* A message in the caller's memory; what does not fit is left out. */
void build_begin(struct build *b, uint8_t *bytes, size_t size, uint8_t type);
void build_param(struct build *b, uint8_t param, const uint8_t *value, size_t len);
void build_u32(struct build *b, uint8_t param, uint32_t value);
void build_u16(struct build *b, uint8_t param, uint16_t value);
void build_u8(struct build *b, uint8_t param, uint8_t value);
void build_any_address(struct build *b);
void build_address(struct build *b, uint32_t addr);
void build_any_ports(struct build *b, uint8_t number);
void build_port_block(struct build *b, uint16_t first, uint8_t number);
void build_any_spis(struct build *b, uint16_t number);
void build_spi_block(struct build *b, uint32_t first, uint16_t number);
/* Writes Overall length and returns it. */
size_t build_end(struct build *b);

/*
 * Walk the parameters of a message: *at starts at 4 (after the header).  False at the end
 * or where the bytes stop being parameters.
 */
struct tlv {
	uint8_t type;
	uint16_t len;
	const uint8_t *value;
};
int tlv_next(const uint8_t *bytes, size_t len, size_t *at, struct tlv *p);
uint32_t tlv_number(const struct tlv *p); /* a value of 1, 2 or 4 bytes */
/* The first parameter of this type as a number; 0 when there is none. */
uint32_t tlv_find(const uint8_t *bytes, size_t len, uint8_t type);
