/*
 * A gateway's UDP socket, with seals where there is a key.
 */
#include "base/err.h"
#include "host/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DATAGRAM 65536

struct gw_udp {
	uv_udp_t udp;
	struct gw *gw; /* NULL: given up */
	char buf[DATAGRAM], out[DATAGRAM];
};

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct gw_udp *udp = handle->data;

	(void)suggested;
	*buf = uv_buf_init(udp->buf, sizeof(udp->buf));
}

/* What can't be sent is lost like anything else on the way. */
static void transmit(struct gw_udp *udp, int len)
{
	uv_buf_t buf = uv_buf_init(udp->out, (unsigned int)len);

	if (len > 0)
		(void)uv_udp_try_send(&udp->udp, &buf, 1, NULL);
}

void gw_udp_send(struct gw *gw, const uint8_t *bytes, size_t len)
{
	struct gw_udp *udp = gw->udp;

	if (len > sizeof(udp->out))
		return;
	if (gw->proof.sealed) {
		transmit(udp, sealer_out(&gw->proof.sealer, bytes, len,
				      (uint8_t *)udp->out, sizeof(udp->out)));
		return;
	}
	memcpy(udp->out, bytes, len);
	transmit(udp, (int)len);
}

static void on_datagram(uv_udp_t *handle, ssize_t n, const uv_buf_t *buf,
	const struct sockaddr *from, unsigned int flags)
{
	struct gw_udp *udp = handle->data;
	enum sealer_verdict verdict = SEALER_MESSAGE;
	uint8_t *bytes = (uint8_t *)buf->base;
	size_t len = n > 0 ? (size_t)n : 0;

	(void)flags;
	/* An error is an ICMP message about what was sent: time will tell. */
	if (udp->gw == NULL || n <= 0 || from == NULL)
		return;
	if (udp->gw->proof.sealed)
		verdict = sealer_in(&udp->gw->proof.sealer, bytes, &len);
	if (verdict == SEALER_MESSAGE)
		rsip_session_input(udp->gw->session, bytes, len, host_now_us());
	else if (verdict == SEALER_AGAIN)
		transmit(udp, sealer_again(&udp->gw->proof.sealer, (uint8_t *)udp->out,
				      sizeof(udp->out)));
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void gw_udp_drop(struct gw *gw)
{
	if (gw->udp == NULL)
		return;
	prove_end(&gw->proof);
	gw->udp->gw = NULL;
	uv_close((uv_handle_t *)&gw->udp->udp, on_closed);
	gw->udp = NULL;
}

static int socket_open(struct gw *gw, struct gw_udp *udp, struct sockaddr_in *local)
{
	struct sockaddr_in to = gw_sockaddr(gw->addr, gw->port),
			   from = gw_sockaddr(gw->source, 0);
	int len = sizeof(*local), err;

	(void)uv_udp_init(gw->host->loop, &udp->udp);
	udp->udp.data = udp;
	err = uv_udp_bind(&udp->udp, (const struct sockaddr *)(const void *)&from, 0);
	if (err == 0)
		err = uv_udp_connect(
			&udp->udp, (const struct sockaddr *)(const void *)&to);
	if (err == 0)
		err = uv_udp_getsockname(
			&udp->udp, (struct sockaddr *)(void *)local, &len);
	if (err == 0)
		err = uv_udp_recv_start(&udp->udp, on_alloc, on_datagram);
	return err;
}

int gw_udp_open(struct gw *gw, char *why, size_t why_size)
{
	struct gw_udp *udp = calloc(1, sizeof(*udp));
	struct sockaddr_in local = { 0 };
	int err;

	if (udp == NULL)
		return -ENOMEM;
	err = socket_open(gw, udp, &local);
	if (err == 0 && prove_is_wanted(&gw->proof))
		err = prove_begin_udp(&gw->proof, ntohl(local.sin_addr.s_addr), gw->addr,
			why, why_size);
	if (err != 0) {
		uv_close((uv_handle_t *)&udp->udp, on_closed);
		return err;
	}
	udp->gw = gw;
	gw->udp = udp;
	gw_local(gw, &local);
	return 0;
}
