/* What rsipd and rsip-hostd say of themselves. */
#include "cli/doctor.h"

#include "base/err.h"
#include "ipc/ipc.h"
#include "ipc/place.h"

#include <string.h>

#define TIMEOUT_MS 5000

/* The answer, owned by the caller; NULL with the reason in why. */
static json_t *ask(const char *socket, const char *method, char *why, size_t why_size)
{
	struct ipc_client *client;
	json_t *reply = NULL;
	int err = ipc_client_new(socket, &client, why, why_size);

	if (err != 0)
		return NULL;
	err = ipc_client_call(client, method, NULL, TIMEOUT_MS, &reply, why, why_size);
	ipc_client_free(client);
	return err == 0 ? reply : NULL;
}

static void put_reasons(struct doctor *d, const json_t *status)
{
	const json_t *reason;
	size_t i;

	json_array_foreach(json_object_get(status, "reasons"), i, reason)
	{
		bool fault = json_is_true(json_object_get(reason, "fault"));

		doctor_add(d, "rsipd", fault ? DOCTOR_PROBLEM : DOCTOR_WARNING,
			"see the text; rsip gateway show status follows it", "%s",
			json_string_value(json_object_get(reason, "text")));
	}
}

static void check_rsipd(struct doctor *d)
{
	char why[IPC_WHY] = "";
	json_t *status =
		ask(d->socket, "org.rsipsec.gateway.GetStatus", why, sizeof(why));
	const char *driver;

	if (status == NULL) {
		doctor_add(d, "rsipd", DOCTOR_PROBLEM,
			"start it: systemctl start rsipd, or rsipd -f -c FILE to see "
			"what "
			"it says",
			"does not answer: %s", why);
		return;
	}
	driver = json_string_value(json_object_get(status, "driver"));
	doctor_add(d, "rsipd", DOCTOR_OK, NULL,
		"answers: driver %s, %" JSON_INTEGER_FORMAT
		" hosts, %" JSON_INTEGER_FORMAT " leases",
		driver != NULL ? driver : "?",
		json_integer_value(json_object_get(status, "clients")),
		json_integer_value(json_object_get(status, "bindings")));
	if (driver != NULL && strcmp(d->conf->driver, "auto") == 0 &&
		strcmp(driver, "packet") == 0)
		doctor_add(d, "driver", DOCTOR_WARNING,
			"its log says why; the checks bpf and xdp name the usual reasons",
			"auto has taken packet: XDP was refused");
	put_reasons(d, status);
	json_decref(status);
}

static void check_hostd(struct doctor *d)
{
	char place[IPC_PLACE_MAX], why[IPC_WHY] = "";
	json_t *status;

	ipc_host_place(place);
	status = ask(place, "org.rsipsec.host.Status", why, sizeof(why));
	if (status == NULL) {
		doctor_add(d, "rsip-hostd", DOCTOR_OK, NULL,
			"does not run; rsip up starts it");
		return;
	}
	if (json_array_size(json_object_get(status, "bindings")) > 0)
		doctor_add(d, "rsip-hostd", DOCTOR_OK, NULL, "holds %zu leases",
			json_array_size(json_object_get(status, "bindings")));
	else
		doctor_add(d, "rsip-hostd", DOCTOR_WARNING,
			"rsip status says what is wrong with the gateway; is UDP and TCP "
			"port 4555 open on the way to it?",
			"runs, but holds no lease");
	json_decref(status);
}

void doctor_daemons(struct doctor *d)
{
	if (d->conf != NULL)
		check_rsipd(d);
	else
		check_hostd(d);
}
