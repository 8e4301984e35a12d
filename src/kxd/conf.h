#pragma once

#include "base/addr.h"
#include "kx/decide.h"
#include "kx/policy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * rsip-kxd's configuration, read whole and checked before anything of it is used.  The
 * keys, defaults and limits are the rows of conf.c; kxd.conf(5) has them in words.
 */

#define KXD_CONF_DEFAULT "/etc/rsip/kxd.conf"
#define KXD_TEXT         256 /* of a path or a list of proposals */
#define KXD_SOCKET_MAX   108
#define KXD_WHY          512

struct kxd_conf {
	struct kx_name self[KX_SELF_MAX]; /* the first is the identity */
	size_t n_self;
	char identity[KX_NAME_TEXT];          /* without the final dot */
	struct prefix4 protect[KX_LOCAL_MAX]; /* whom the gateway speaks for */
	size_t n_protect;
	bool protect_own; /* the machine's own addresses among them: its own exchanger */
	bool hold;
	uint16_t hold_queue;
	bool no_forward, direct_insecure;
	char control_socket[KXD_SOCKET_MAX];

	/* strongSwan */
	char vici[KXD_SOCKET_MAX], notify[KXD_SOCKET_MAX];
	char address[ADDR_TEXT_MAX];                             /* "": any */
	char key[KXD_TEXT], certificate[KXD_TEXT], ca[KXD_TEXT]; /* files; "": none */
	char ike_proposals[KXD_TEXT], esp_proposals[KXD_TEXT];

	/* "": as kx_resolve_conf's NULL; anchor "none": none */
	char dns_config[KXD_TEXT], dns_anchor[KXD_TEXT], dns_forward[KXD_TEXT];
	char dns_zones[KXD_TEXT], dns_time[16];

	struct kx_limits limits;
	struct kx_policy *policy;
	bool metrics;
	uint32_t metrics_addr;
	uint16_t metrics_port;
};

/* ERR_CONFIG with "FILE:LINE: what is wrong" in why, or -ENOMEM. */
int kxd_conf_load(const char *path, struct kxd_conf **conf, char *why, size_t why_size);
/* The same for text that is called `path` in errors. */
int kxd_conf_parse(const char *path, const char *text, struct kxd_conf **conf, char *why,
	size_t why_size);
void kxd_conf_free(struct kxd_conf *c); /* NULL is allowed */
