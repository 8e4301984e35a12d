#pragma once

#include "net/tcp.h"

/* Its default has fall-throughs that clang does not accept. */
#define HASH_FUNCTION(key, len, hash) HASH_FNV(key, len, hash)
#include <uthash.h>

/* One connection; tcp.c has the table, tcp_conn.c what happens on it. */
struct tcp_conn {
	struct tcp *tcp;
	uv_tcp_t handle;
	struct peer peer;
	uint8_t *
		in; /* `have` bytes that are no whole message yet, or not yet handed up */
	size_t have, in_size;
	struct tls *tls; /* NULL: plain, or not known yet */
	uint8_t *out;    /* queued since the last flush */
	size_t out_len, out_size;
	size_t written_at; /* bytes in the loop's queue when the sweep last looked */
	uint64_t idle_ms;  /* since then no whole message */
	uint64_t begun_ms; /* the unfinished message began */
	uint64_t wrote_ms; /* the queue last became shorter */
	size_t owed;   /* answers that net_owe() has announced and are not queued yet */
	bool begun;    /* its first byte has come: TLS or plain is known */
	bool tls_more; /* there was no room for all that came */
	bool spoke;    /* has sent a whole message */
	bool dirty;    /* on the list that the next flush goes through */
	bool reading;
	bool eof;     /* the host has said all; it may still read */
	bool lost;    /* message boundaries are lost: nothing more is read */
	bool hangup;  /* close once everything is written */
	bool discard; /* hung up: what still comes is thrown away */
	bool closing; /* off the table, waiting for the loop */
	struct tcp_conn *dirty_next;
	struct tcp_conn *prev, *next; /* of all, the longest idle first */
	UT_hash_handle hh;            /* by peer.conn */
};

/* What connections share; the members of struct tcp that tcp_conn.c uses. */
struct tcp {
	uv_loop_t *loop;
	const struct net_conf *conf;
	struct net_counters *counters;
	struct tcp_listener *listeners;
	struct tcp_conn *by_number; /* hash */
	struct tcp_conn *oldest, *newest;
	struct tcp_conn *dirty;
	uint8_t cipher[16384]; /* what came over TLS, for the length of a call */
	uv_timer_t sweep;
	uv_idle_t more; /* runs while a connection has messages left over from a turn */
	uint64_t last_number;
	size_t handles;
	bool closing;
	void (*closed)(void *ctx);
	void *closed_ctx;
};

void tcp_conn_start(struct tcp_conn *c);
/* Hand up what is whole, as much as one turn may have. */
void tcp_conn_process(struct tcp_conn *c);
int tcp_conn_queue(struct tcp_conn *c, const uint8_t *bytes, size_t len, bool close);
void tcp_conn_flush(struct tcp_conn *c);
/* Does it have a whole message that the last turn left? */
bool tcp_conn_has_more(const struct tcp_conn *c);
/* Against the limits: closes it when one is passed. */
void tcp_conn_sweep(struct tcp_conn *c, uint64_t now_ms);

/* tcp.c: */
void tcp_conn_close(struct tcp_conn *c, enum net_close why);
#define TCP_CLOSE_PEER NET_CLOSES /* not counted: the host closed, or the daemon ends */
void tcp_mark_dirty(struct tcp_conn *c);
/* Put it to the end of the list: it has just been used. */
void tcp_conn_used(struct tcp_conn *c);
