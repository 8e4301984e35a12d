/*
 * The steps of publishing: zone of the name, update, zone of the reverse name, update.
 * An update says what the name shall be, not what changes, so that sending it again after
 * a lost answer does no harm.
 */
#include "kx/publish.h"

#include "base/err.h"
#include "base/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRIES    3
#define FIRST_MS 500 /* doubles */

enum step { STEP_ZONE, STEP_UPDATE, STEP_PTR_ZONE, STEP_PTR };

struct kx_publisher {
	struct kx_publish_job job;
	kx_publish_done done;
	void *ctx;
	uv_udp_t udp;
	uv_timer_t timer;
	int handles;
	bool over;
	enum step step;
	int tries;
	uint16_t id;
	struct kx_name zone, target; /* target: what the zone is asked for */
	uint8_t message[KX_UPDATE_MAX], mac[KX_MAC], in[KX_UPDATE_MAX];
	size_t len;
};

static void on_closed(uv_handle_t *handle)
{
	struct kx_publisher *p = handle->data;

	if (--p->handles > 0)
		return;
	OPENSSL_cleanse(&p->job.key, sizeof(p->job.key));
	free(p);
}

void kx_publish_free(struct kx_publisher *p)
{
	if (p == NULL || p->over)
		return;
	p->over = true;
	uv_close((uv_handle_t *)&p->udp, on_closed);
	uv_close((uv_handle_t *)&p->timer, on_closed);
}

static void end(struct kx_publisher *p, const char *why)
{
	kx_publish_done done = p->done;
	void *ctx = p->ctx;

	kx_publish_free(p);
	done(ctx, why);
}

static void on_timer(uv_timer_t *timer);

/* The server may be restarting: what cannot be sent now is sent again. */
static void send_message(struct kx_publisher *p)
{
	uv_buf_t buf = uv_buf_init((char *)p->message, (unsigned)p->len);

	(void)uv_udp_try_send(&p->udp, &buf, 1, NULL);
	(void)uv_timer_start(&p->timer, on_timer, (uint64_t)FIRST_MS << p->tries++, 0);
}

static uint64_t now_s(void)
{
	return (uint64_t)time(NULL);
}

static bool is_update(const struct kx_publisher *p)
{
	return p->step == STEP_UPDATE || p->step == STEP_PTR;
}

static void begin(struct kx_publisher *p, enum step step)
{
	struct random random = random_system();
	int err;

	p->step = step;
	p->tries = 0;
	p->id = (uint16_t)random.next(&random);
	p->len = 0;
	if (step == STEP_UPDATE)
		err = kx_update_encode(&p->job.what, &p->zone, p->id, p->message,
			sizeof(p->message), &p->len);
	else if (step == STEP_PTR)
		err = kx_update_encode_ptr(&p->job.what, &p->zone, p->id, p->message,
			sizeof(p->message), &p->len);
	else
		err = kx_soa_encode(
			&p->target, p->id, p->message, sizeof(p->message), &p->len);
	if (err == 0 && is_update(p))
		err = kx_tsig_sign(&p->job.key, now_s(), p->message, sizeof(p->message),
			&p->len, p->mac);
	if (err != 0)
		end(p, "the update does not fit into a message");
	else
		send_message(p);
}

static void on_timer(uv_timer_t *timer)
{
	struct kx_publisher *p = timer->data;
	char addr[INET_ADDRSTRLEN], why[96];
	struct in_addr in = { htonl(p->job.server) };

	if (p->tries < TRIES) {
		send_message(p);
		return;
	}
	(void)snprintf(why, sizeof(why), "the name server %s port %u does not answer",
		inet_ntop(AF_INET, &in, addr, sizeof(addr)), p->job.port);
	end(p, why);
}

/* --- answers --------------------------------------------------------------------------
 */

static void next(struct kx_publisher *p)
{
	const struct kx_addr addr = kx_addr_from4(p->job.what.addr);

	if (p->step == STEP_UPDATE && p->job.ptr) {
		kx_addr_reverse(&addr, &p->target);
		begin(p, STEP_PTR_ZONE);
	} else if (!is_update(p)) {
		begin(p, p->step == STEP_ZONE ? STEP_UPDATE : STEP_PTR);
	} else {
		end(p, NULL);
	}
}

static void on_zone(struct kx_publisher *p, size_t len)
{
	char name[KX_NAME_TEXT], why[KX_NAME_TEXT + 64];
	int err = kx_soa_decode(p->in, len, p->id, &p->target, &p->zone);

	if (err == 0) {
		next(p);
	} else if (err == ERR_NOTFOUND) {
		(void)snprintf(why, sizeof(why), "the name server has no zone for %s",
			kx_name_format(&p->target, name));
		end(p, why);
	}
}

static void on_updated(struct kx_publisher *p, size_t len)
{
	static const char *const texts[] = { "BADSIG: another secret",
		"BADKEY: it does not know the key", "BADTIME: the clocks differ" };
	char zone[KX_NAME_TEXT], text[12], why[KX_NAME_TEXT + 128];
	uint16_t error;
	uint8_t rcode;

	if (kx_tsig_check(
		    &p->job.key, p->in, len, p->id, p->mac, now_s(), &rcode, &error) != 0)
		return; /* not an answer to us: the right one may still come */
	if (rcode == 0) {
		next(p);
		return;
	}
	(void)snprintf(why, sizeof(why),
		"the name server refuses the update of %s: %s%s%s",
		kx_name_format(&p->zone, zone), kx_rcode_text(rcode, text),
		error >= 16 && error <= 18 ? ", " : "",
		error >= 16 && error <= 18 ? texts[error - 16] : "");
	end(p, why);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	struct kx_publisher *p = handle->data;

	(void)size;
	*buf = uv_buf_init((char *)p->in, sizeof(p->in));
}

static void on_message(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf,
	const struct sockaddr *from, unsigned flags)
{
	struct kx_publisher *p = udp->data;

	(void)buf, (void)flags;
	if (n <= 0 || from == NULL || p->over)
		return;
	if (is_update(p))
		on_updated(p, (size_t)n);
	else
		on_zone(p, (size_t)n);
}

int kx_publish_new(uv_loop_t *loop, const struct kx_publish_job *job,
	kx_publish_done done, void *ctx, struct kx_publisher **result)
{
	const struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(job->port),
		.sin_addr.s_addr = htonl(job->server) };
	struct kx_publisher *p = calloc(1, sizeof(*p));
	int err;

	if (p == NULL)
		return -ENOMEM;
	p->job = *job;
	p->done = done;
	p->ctx = ctx;
	p->target = job->what.name;
	(void)uv_udp_init(loop, &p->udp);
	(void)uv_timer_init(loop, &p->timer);
	p->handles = 2;
	p->udp.data = p->timer.data = p;
	err = uv_udp_connect(&p->udp, (const struct sockaddr *)&to);
	if (err == 0)
		err = uv_udp_recv_start(&p->udp, on_alloc, on_message);
	if (err != 0) {
		kx_publish_free(p);
		return err;
	}
	*result = p;
	begin(p, STEP_ZONE);
	return 0;
}
