/* VICI: bytes both ways, and the client against a charon of this test's making. */
#include "base/err.h"
#include "ike/vici.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* --- bytes ----------------------------------------------------------------------------
 */

/* The example of strongSwan's own description of the format, as bytes. */
static void test_bytes(void **state)
{
	static const uint8_t want[] = "\x03\x04key1\x00\x06value1"
				      "\x01\x08section1"
				      "\x01\x0bsub-section"
				      "\x03\x04key2\x00\x06value2"
				      "\x02"
				      "\x04\x05list1"
				      "\x05\x00\x05item1"
				      "\x05\x00\x05item2"
				      "\x06"
				      "\x02";
	uint8_t bytes[256];
	struct wr w = wr_init(bytes, sizeof(bytes));

	(void)state;
	vici_key(&w, "key1", "value1");
	vici_section(&w, "section1");
	vici_section(&w, "sub-section");
	vici_key(&w, "key2", "value2");
	vici_section_end(&w);
	vici_list(&w, "list1");
	vici_item(&w, "item1");
	vici_item(&w, "item2");
	vici_list_end(&w);
	vici_section_end(&w);
	assert_false(w.bad);
	assert_int_equal(wr_len(&w), sizeof(want) - 1);
	assert_memory_equal(bytes, want, sizeof(want) - 1);
}

static void test_read(void **state)
{
	static const enum vici_kind kinds[] = { VICI_KEY, VICI_SECTION, VICI_KEY,
		VICI_LIST, VICI_ITEM, VICI_LIST_END, VICI_SECTION_END, VICI_END,
		VICI_END };
	uint8_t bytes[256];
	struct wr w = wr_init(bytes, sizeof(bytes));
	struct vici_element e;
	struct vici_rd r;
	char text[8];

	(void)state;
	vici_key(&w, "up", "yes");
	vici_section(&w, "s");
	vici_key(&w, "deep", "1");
	vici_one(&w, "ts", "198.51.100.10/32");
	vici_section_end(&w);
	r = vici_rd_init(bytes, wr_len(&w));
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		assert_int_equal(vici_next(&r, &e), kinds[i]);
	assert_true(vici_text(bytes, wr_len(&w), "up", text, sizeof(text)));
	assert_string_equal(text, "yes");
	/* Not from inside a section. */
	assert_false(vici_text(bytes, wr_len(&w), "deep", text, sizeof(text)));
	assert_false(vici_text(bytes, wr_len(&w), "ts", text, sizeof(text)));
}

static void test_bad(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} rows[] = {
		{ "\x02", 1 },                       /* an end without a start */
		{ "\x01\x01s", 3 },                  /* a start without an end */
		{ "\x04\x01l", 3 },                  /* the same of a list */
		{ "\x05\x00\x01x", 4 },              /* an item outside of one */
		{ "\x06", 1 },                       /* its end */
		{ "\x04\x01l\x03\x01k\x00\x00", 8 }, /* a key inside of one */
		{ "\x03\x01k\x00\x05xx", 7 },        /* a value that is too short */
		{ "\x03\x05k", 3 },                  /* a name that is */
		{ "\x00", 1 },
		{ "\x07", 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vici_rd r =
			vici_rd_init((const uint8_t *)rows[i].bytes, rows[i].len);
		struct vici_element e;

		while (vici_next(&r, &e) != VICI_BAD)
			assert_int_not_equal(e.kind, VICI_END);
		assert_int_equal(vici_next(&r, &e), VICI_BAD);
	}
	/* Too deep. */
	{
		uint8_t bytes[(VICI_DEPTH_MAX + 1) * 2];
		struct wr w = wr_init(bytes, sizeof(bytes));
		struct vici_rd r;
		struct vici_element e;

		for (size_t i = 0; i <= VICI_DEPTH_MAX; i++)
			vici_section(&w, "");
		r = vici_rd_init(bytes, wr_len(&w));
		for (size_t i = 0; i < VICI_DEPTH_MAX; i++)
			assert_int_equal(vici_next(&r, &e), VICI_SECTION);
		assert_int_equal(vici_next(&r, &e), VICI_BAD);
	}
}

static void test_frame(void **state)
{
	static const uint8_t empty[] = { 0, 0, 0, 0 }, huge[] = { 0, 8, 0, 1 },
			     most[] = { 0, 8, 0, 0 }, some[] = { 0, 0, 0, 2, 1 };

	(void)state;
	assert_int_equal(vici_frame(some, 3), 0);
	assert_int_equal(vici_frame(some, 5), 6);
	assert_int_equal(vici_frame(empty, 4), ERR_MALFORMED);
	assert_int_equal(vici_frame(huge, 4), ERR_MALFORMED);
	assert_int_equal(vici_frame(most, 4), (int)VICI_PACKET_MAX + 4);
}

/* --- the client -----------------------------------------------------------------------
 */

/* A charon that knows "echo" (its body back, behind one control-log), "never" (no answer)
 * and "rubbish". */
struct fake {
	uv_loop_t loop;
	uv_pipe_t listener;
	char path[64];
	struct vici *vici;
	int ups, downs, events;
	int err, ended;
	char text[32], said[32];
};

struct fake_conn {
	uv_pipe_t pipe;
	uint8_t in[1024];
	size_t len;
};

static void on_gone(uv_handle_t *handle)
{
	free(handle->data);
}

static void send_packet(uv_stream_t *to, enum vici_packet type, const char *name,
	const uint8_t *body, size_t len)
{
	uint8_t bytes[1024] = { 0 };
	struct wr w = wr_init(bytes + 4, sizeof(bytes) - 4);
	uv_buf_t buf;

	vici_head(&w, type, name);
	wr_bytes(&w, body, len);
	bytes[3] = (uint8_t)wr_len(&w);
	bytes[2] = (uint8_t)(wr_len(&w) >> 8);
	buf = uv_buf_init((char *)bytes, (unsigned int)(wr_len(&w) + 4));
	assert_int_equal(uv_try_write(to, &buf, 1), (int)buf.len);
}

static void fake_answer(uv_stream_t *to, const struct vici_in *in)
{
	uint8_t log[64];
	struct wr w = wr_init(log, sizeof(log));

	if (in->type == VICI_REGISTER) {
		send_packet(to,
			strcmp(in->name, "nonsense") == 0 ? VICI_UNKNOWN_EVENT
							  : VICI_CONFIRM,
			NULL, NULL, 0);
		if (strcmp(in->name, "child-updown") == 0)
			send_packet(to, VICI_EVENT, in->name, NULL, 0);
		return;
	}
	assert_int_equal(in->type, VICI_REQUEST);
	if (strcmp(in->name, "echo") == 0) {
		vici_key(&w, "msg", "established");
		send_packet(to, VICI_EVENT, "control-log", log, wr_len(&w));
		send_packet(to, VICI_RESPONSE, NULL, in->body, in->len);
	} else if (strcmp(in->name, "rubbish") == 0) {
		uv_buf_t buf = uv_buf_init((char *)log, 4);

		memset(log, 0xff, 4);
		assert_int_equal(uv_try_write(to, &buf, 1), 4);
	} else if (strcmp(in->name, "never") != 0) {
		send_packet(to, VICI_UNKNOWN_COMMAND, NULL, NULL, 0);
	}
}

static void fake_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct fake_conn *c = handle->data;

	(void)suggested;
	*buf = uv_buf_init(
		(char *)c->in + c->len, (unsigned int)(sizeof(c->in) - c->len));
}

static void fake_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct fake_conn *c = stream->data;

	(void)buf;
	if (n < 0) {
		uv_close((uv_handle_t *)stream, on_gone);
		return;
	}
	c->len += (size_t)n;
	for (;;) {
		struct vici_in in;
		int len = vici_frame(c->in, c->len);

		if (len <= 0 || (size_t)len > c->len)
			return;
		assert_int_equal(vici_open(c->in + 4, (size_t)len - 4, &in), 0);
		fake_answer(stream, &in);
		c->len -= (size_t)len;
		memmove(c->in, c->in + len, c->len);
	}
}

static void fake_accept(uv_stream_t *listener, int status)
{
	struct fake_conn *c = calloc(1, sizeof(*c));

	assert_int_equal(status, 0);
	assert_non_null(c);
	assert_int_equal(uv_pipe_init(listener->loop, &c->pipe, 0), 0);
	c->pipe.data = c;
	assert_int_equal(uv_accept(listener, (uv_stream_t *)&c->pipe), 0);
	assert_int_equal(
		uv_read_start((uv_stream_t *)&c->pipe, fake_room, fake_bytes), 0);
}

static void on_event(void *ctx, const char *name, const uint8_t *body, size_t len)
{
	struct fake *f = ctx;

	(void)body;
	assert_string_equal(name, "child-updown");
	assert_int_equal(len, 0);
	f->events++;
}

static void on_state(void *ctx, bool up, const char *why)
{
	struct fake *f = ctx;

	assert_int_equal(strlen(why) == 0, up);
	f->ups += up;
	f->downs += !up;
}

static void on_done(void *arg, int err, const uint8_t *body, size_t len)
{
	struct fake *f = arg;

	f->err = err;
	f->ended++;
	f->text[0] = 0;
	if (err == 0)
		(void)vici_text(body, len, "k", f->text, sizeof(f->text));
}

static void on_said(void *arg, const char *event, const uint8_t *body, size_t len)
{
	struct fake *f = arg;

	assert_string_equal(event, "control-log");
	assert_true(vici_text(body, len, "msg", f->said, sizeof(f->said)));
}

static void run_until(struct fake *f, const int *counter, int value)
{
	uint64_t end;

	uv_update_time(&f->loop);
	end = uv_now(&f->loop) + 10000;
	while (*counter < value) {
		assert_true(uv_now(&f->loop) < end);
		(void)uv_run(&f->loop, UV_RUN_ONCE);
	}
}

static void fake_start(struct fake *f, const char *const *events)
{
	const struct vici_conf conf = {
		.path = f->path,
		.events = events,
		.ctx = f,
		.event = on_event,
		.state = on_state,
	};

	assert_int_equal(uv_loop_init(&f->loop), 0);
	(void)snprintf(f->path, sizeof(f->path), "/tmp/ike_vici.%d", (int)getpid());
	(void)unlink(f->path);
	assert_int_equal(uv_pipe_init(&f->loop, &f->listener, 0), 0);
	assert_int_equal(uv_pipe_bind(&f->listener, f->path), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&f->listener, 32, fake_accept), 0);
	assert_int_equal(vici_new(&f->loop, &conf, &f->vici), 0);
}

static void fake_end(struct fake *f)
{
	vici_free(f->vici);
	uv_close((uv_handle_t *)&f->listener, NULL);
	(void)uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	(void)unlink(f->path);
}

static int call(struct fake *f, const char *name, uint32_t timeout_ms)
{
	uint8_t body[32];
	struct wr w = wr_init(body, sizeof(body));
	struct vici_command command = {
		.name = name,
		.body = body,
		.timeout_ms = timeout_ms,
		.done = on_done,
		.said = on_said,
		.arg = f,
	};

	vici_key(&w, "k", "value");
	command.len = wr_len(&w);
	return vici_call(f->vici, &command);
}

static const char *const events[] = { "child-updown", NULL };

static void test_client(void **state)
{
	struct fake f = { 0 };

	(void)state;
	fake_start(&f, events);
	assert_int_equal(call(&f, "echo", 0), ERR_UNREACHABLE);
	run_until(&f, &f.ups, 1);
	run_until(&f, &f.events, 1);
	for (int i = 0; i < 50; i++)
		assert_int_equal(call(&f, "echo", 0), 0);
	run_until(&f, &f.ended, 50);
	assert_int_equal(f.err, 0);
	assert_string_equal(f.text, "value");
	assert_string_equal(f.said, "established");
	assert_int_equal(call(&f, "what", 0), 0);
	run_until(&f, &f.ended, 51);
	assert_int_equal(f.err, ERR_UNSUPPORTED);
	assert_int_equal(f.downs, 0);
	fake_end(&f);
}

/* A command without an answer, and one with a mad one, cost their connection alone. */
static void test_client_bad(void **state)
{
	struct fake f = { 0 };

	(void)state;
	fake_start(&f, events);
	run_until(&f, &f.ups, 1);
	assert_int_equal(call(&f, "never", 20), 0);
	run_until(&f, &f.ended, 1);
	assert_int_equal(f.err, -ETIMEDOUT);
	assert_int_equal(call(&f, "rubbish", 0), 0);
	run_until(&f, &f.ended, 2);
	assert_int_equal(f.err, ERR_PROTOCOL);
	assert_int_equal(call(&f, "echo", 0), 0);
	run_until(&f, &f.ended, 3);
	assert_int_equal(f.err, 0);
	assert_int_equal(f.downs, 0);
	/* Calls under way when it ends are forgotten. */
	assert_int_equal(call(&f, "never", 0), 0);
	fake_end(&f);
	assert_int_equal(f.ended, 3);
}

static void test_client_event(void **state)
{
	static const char *const unknown[] = { "nonsense", NULL };
	struct fake f = { 0 };

	(void)state;
	fake_start(&f, unknown);
	run_until(&f, &f.downs, 1);
	assert_int_equal(f.ups, 0);
	fake_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_frame),
		cmocka_unit_test(test_client),
		cmocka_unit_test(test_client_bad),
		cmocka_unit_test(test_client_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
