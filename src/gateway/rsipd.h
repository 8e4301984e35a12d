#pragma once

#include "base/limit.h"
#include "conf/conf.h"
#include "gateway/advertise.h"
#include "gateway/archive.h"
#include "gateway/control.h"
#include "gateway/export.h"
#include "gateway/gw_metrics.h"
#include "gateway/health.h"
#include "gateway/monitor.h"
#include "gateway/page.h"
#include "gateway/plane.h"
#include "gateway/proof.h"
#include "gateway/resolve.h"
#include "gateway/trial.h"
#include "gateway/turn.h"
#include "gateway/watch.h"
#include "gateway/water.h"
#include "metrics/http.h"
#include "net/net.h"
#include "store/store.h"

/*
 * rsipd: a loop that carries messages to the engine and its effects to the store, the
 * data plane and the sockets.  It decides nothing.
 *
 * A turn begins with the first thing that happens after the last turn ended, and reads
 * the clock; it ends when the loop is about to wait, and then commits, installs and
 * answers, in this order (turn.c).
 */
#define RSIPD_WHY 512

/* health.c says what each means. */
enum health_link {
	HEALTH_LINK_UP,
	HEALTH_LINK_MISSING,
	HEALTH_LINK_DOWN,
	HEALTH_LINK_NO_CARRIER
};

struct rsipd {
	uv_loop_t *loop;
	struct conf *conf;
	const char *config_file;
	bool verbose; /* log what begins and ends */
	struct store *store;
	struct engine *engine;
	struct audit *audit;
	struct archive archive;
	struct events events;
	struct event_sink log_sink;
	struct monitor monitor;
	struct export export;
	struct page page;
	struct water water;
	enum health_link links[2]; /* private, public */
	char health_told[HEALTH_TEXT];
	uv_timer_t second; /* health_look() */
	struct advertise advertise;
	struct net *net;
	struct proof proof;
	struct trial trial;
	struct ipc_server *control;
	struct metrics_http *http;
	struct plane plane;
	struct turn turn;
	struct watch watch;
	struct resolve resolve;
	struct control_source source;
	char **listen_text;    /* of source */
	char fault[RSIPD_WHY]; /* what needs the operator, "" when nothing does */
	uv_prepare_t prepare;
	uv_check_t check;
	uv_timer_t timer; /* of engine and data plane */
	uv_timer_t mark;  /* store_mark() */
	uv_timer_t alive; /* systemd's watchdog */
	uv_signal_t hup, term, interrupt;
	uint64_t timer_ms; /* when `timer` fires, on the engine's clock */
	struct limit refused_log;
	int exit_status;
};

/*
 * Everything up to the point where requests are served.  0, or a negative code with the
 * sentence in why; rsipd_close() in both cases.
 */
int rsipd_open(struct rsipd *d, char *why, size_t why_size);
/* Serve until a signal ends it.  The exit status. */
int rsipd_run(struct rsipd *d);
void rsipd_close(struct rsipd *d);

/* Read the configuration again and take it, or change nothing: see reload.c. */
int rsipd_reload(struct rsipd *d, char *why, size_t why_size);
/*
 * Take this configuration, and over.  On error nothing has changed, it is freed and the
 * sentence is in why.
 */
int rsipd_take(struct rsipd *d, struct conf *new, char *why, size_t why_size);
/* Listen where this configuration says; nothing has changed on error. */
int rsipd_listen(struct rsipd *d, const struct conf *conf, char *why, size_t why_size);
/* CLOCK_BOOTTIME in milliseconds. */
uint64_t rsipd_clock_ms(void);
