/* The usual life of a session: every request, its message, its answer, its event. */
#include "client_fake.h"

#include <string.h>

static int tag;

/* P-9.2-01, P-10.1-03, P-B-02, P-5-04: over UDP the first message is REGISTER_REQUEST
 * with counter 1. */
static void test_register(void **state)
{
	struct fake f;
	const struct wire_msg *m;
	const struct fake_event *e;

	(void)state;
	fake_open(&f, NULL);
	assert_int_equal(rsip_assign(f.s, &fake_want, NULL, f.now_us), RSIP_ERR_STATE);
	assert_int_equal(rsip_query(f.s, NULL, 0, NULL, f.now_us), RSIP_ERR_STATE);
	assert_int_equal(rsip_deregister(f.s, NULL, f.now_us), RSIP_ERR_STATE);
	fake_quiet(&f);
	assert_int_equal(rsip_register(f.s, &tag, f.now_us), 0);
	m = fake_asked(&f, MSG_REGISTER_REQUEST);
	assert_int_equal(m->has, HAS_COUNTER);
	assert_int_equal(m->counter, 1);
	assert_int_equal(f.sent[0].len, 11);
	fake_say_registered(&f, 7200);
	e = fake_event(&f, RSIP_EVENT_REGISTERED);
	assert_int_equal(e->ev.request, RSIP_REQ_REGISTER);
	assert_ptr_equal(e->ev.tag, &tag);
	assert_int_equal(e->registration.client_id, FAKE_CLIENT);
	assert_int_equal(e->registration.expires_us, 1000000 + 7200000000);
	fake_states(&f, RSIP_REGISTERING, RSIP_REGISTERED, RSIP_STATES);
	/* P-9.2-04: no second one. */
	assert_int_equal(rsip_register(f.s, NULL, f.now_us), RSIP_ERR_STATE);
	fake_quiet(&f);
	fake_close(&f);
}

/* P-9.8-01, P-9.10-01, F-6.6-01, F-3.3-01, P-10.1-01, P-10.1-02: a lease is asked for,
 * extended, freed; each request has the next counter. */
static void test_life(void **state)
{
	struct fake f;
	const struct fake_event *e;
	struct wire_msg grant;

	(void)state;
	fake_open(&f, NULL);
	fake_register(&f);
	assert_int_equal(rsip_assign(f.s, &fake_want, &tag, f.now_us), 0);
	assert_int_equal(fake_asked(&f, MSG_ASSIGN_REQUEST_RSAP_IP)->counter, 2);
	assert_int_equal(f.asked.client_id, FAKE_CLIENT);
	assert_true(f.asked.local.dont_care && f.asked.remote.dont_care);
	assert_int_equal(f.asked.local_ports.form, FORM_DONT_CARE);
	assert_int_equal(f.asked.local_ports.number, 4);
	assert_int_equal(f.asked.remote_ports.form, FORM_DONT_CARE);
	assert_int_equal(f.asked.remote_ports.number, 1);
	fake_sleep(&f, 3000);
	grant = fake_grant(&f, 9);
	fake_say(&f, &grant);
	e = fake_event(&f, RSIP_EVENT_GRANTED);
	assert_ptr_equal(e->ev.tag, &tag);
	assert_int_equal(e->grant.address, 0xcb007101);
	assert_int_equal(e->grant.n_ports, 1);
	assert_int_equal(e->ports[0].lo, 20480);
	assert_int_equal(e->ports[0].hi, 20483);
	assert_int_equal(e->grant.expires_us, 1000000 + 3600000000);
	assert_ptr_equal(rsip_grant_find(f.s, 9)->tag, &tag);
	assert_int_equal(rsip_extend(f.s, 9, 60, &tag, f.now_us), 0);
	assert_int_equal(fake_asked(&f, MSG_EXTEND_REQUEST)->counter, 3);
	assert_int_equal(f.asked.bind_id, 9);
	assert_int_equal(f.asked.lease_s, 60);
	fake_say_extended(&f, 4000);
	e = fake_event(&f, RSIP_EVENT_EXTENDED);
	assert_int_equal(e->grant.expires_us, 1003000 + 4000000000);
	assert_int_equal(rsip_free(f.s, 9, &tag, f.now_us), 0);
	assert_int_equal(rsip_free(f.s, 9, NULL, f.now_us), RSIP_ERR_NOTFOUND);
	assert_int_equal(fake_asked(&f, MSG_FREE_REQUEST)->counter, 4);
	fake_say_ended(&f, MSG_FREE_RESPONSE, 9, 4);
	assert_int_equal(fake_event(&f, RSIP_EVENT_FREED)->ev.bind_id, 9);
	assert_null(rsip_grant_find(f.s, 9));
	fake_states(&f, RSIP_BARE_ASSIGNING, RSIP_ASSIGNED, RSIP_EXTENDING, RSIP_ASSIGNED,
		RSIP_FREEING, RSIP_REGISTERED, RSIP_STATES);
	fake_quiet(&f);
	fake_close(&f);
}

/* P-9.4-07, P-9.5-01: de-registration ends every binding. */
static void test_deregister(void **state)
{
	struct fake f;

	(void)state;
	fake_open(&f, NULL);
	fake_register(&f);
	fake_bind(&f, 1);
	fake_bind(&f, 2);
	assert_int_equal(rsip_deregister(f.s, &tag, f.now_us), 0);
	fake_asked(&f, MSG_DEREGISTER_REQUEST);
	assert_int_equal(f.asked.client_id, FAKE_CLIENT);
	fake_say_ended(&f, MSG_DEREGISTER_RESPONSE, 0, f.asked.counter);
	assert_int_equal(fake_event(&f, RSIP_EVENT_BINDING_LOST)->ev.cause,
		RSIP_CAUSE_DEREGISTERED);
	assert_int_equal(fake_event(&f, RSIP_EVENT_BINDING_LOST)->grant.bind_id, 2);
	assert_int_equal(fake_event(&f, RSIP_EVENT_DEREGISTERED)->ev.failure, 0);
	assert_null(rsip_session_registration(f.s));
	fake_states(&f, RSIP_BOUND_DEREGISTERING, RSIP_UNREGISTERED, RSIP_STATES);
	fake_sleep(&f, 100000000);
	fake_quiet(&f);
	/* P-10.1-03: a new session begins at 1 again. */
	assert_int_equal(rsip_register(f.s, NULL, f.now_us), 0);
	assert_int_equal(fake_asked(&f, MSG_REGISTER_REQUEST)->counter, 1);
	fake_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_register),
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_deregister),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
