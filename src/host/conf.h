#pragma once

#include <rsip/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a host wants when nobody says otherwise: /etc/rsip/rsip.conf, section host { },
 * the long options of `rsip up` as keys; and on top of it the options of one command.
 */

#define HOST_CONF_DEFAULT "/etc/rsip/rsip.conf"
#define HOST_PORTS        64
#define HOST_SPIS         64
#define HOST_PORTS_MAX    1024
#define HOST_PORTS_QUIET  60

/* What carries tunnel packets on this side. */
enum host_device {
	HOST_DEVICE_AUTO,   /* the kernel's where it has one */
	HOST_DEVICE_KERNEL, /* else `rsip up` fails */
	HOST_DEVICE_TUN,
};

/* Who chooses the SPIs. */
enum host_spi_mode {
	HOST_SPI_BLOCK,  /* the gateway: the IKE daemon is given a block */
	HOST_SPI_FOLLOW, /* the IKE daemon: each is leased when it appears */
};

/* Files that prove who we are, "" for none. */
#define HOST_FILE_MAX 256
struct host_keys {
	char key_file[HOST_FILE_MAX]; /* auth/key.h */
	char tls_certificate[HOST_FILE_MAX], tls_key[HOST_FILE_MAX],
		tls_authority[HOST_FILE_MAX];
	char tls_name[HOST_FILE_MAX]; /* that the gateway's must have; "": its address */
};
#define HOST_SCOPES 128

/* `rsip up --publish`, "" for none. */
struct host_publish {
	char name[HOST_FILE_MAX];
	char server[32]; /* ADDRESS[:PORT] */
	char key[HOST_FILE_MAX];
	char ipseckey[1024]; /* RDATA as in a zone file */
};

struct host_conf {
	uint32_t gateway; /* 0: find one */
	/* How: the ways that are tried (bits of enum seek_way), in that order. */
	uint32_t discover;
	uint32_t dhcp_option;         /* whose value is gateways; 0: not asked */
	uint32_t slp_agent;           /* a directory agent; 0: as found */
	char slp_scopes[HOST_SCOPES]; /* "": as DHCP says, else DEFAULT */
	uint16_t port;
	uint32_t source; /* our address towards it; 0: as routed */
	enum rsip_transport transport;
	enum rsip_kind method;   /* 0: RSIPSEC where listed, else RSAP-IP */
	enum rsip_tunnel tunnel; /* 0: the gateway's choice */
	uint32_t ports;
	uint32_t spis; /* 0: as the mode needs, see host_conf_spis() */
	enum host_spi_mode spi_mode;
	uint32_t ports_max;     /* `up` grows to so many when ports run short */
	uint32_t ports_quiet_s; /* ... and gives back what was not used for so long */
	uint32_t lease_s;       /* wish; 0: none */
	enum host_device device;
	struct host_keys keys;
	struct host_publish publish;
};

void host_conf_init(struct host_conf *c);
/* How many SPIs to lease at the start: 64, or in follow mode 1, which lets IKE through.
 */
uint32_t host_conf_spis(const struct host_conf *c);

/*
 * Read the file over *c.  Without `must_exist` a missing file changes nothing.  0, or
 * ERR_CONFIG with "FILE:LINE: what is wrong" in why and *c unchanged.
 */
int host_conf_load(struct host_conf *c, const char *path, bool must_exist, char *why,
	size_t why_size);

/*
 * One key with its value as text, the same for file and command line ("ports", "64").
 * ERR_NOTFOUND: no such key.  ERR_CONFIG: *problem says what is wrong ("is not ...").
 */
int host_conf_set(
	struct host_conf *c, const char *key, const char *value, const char **problem);
