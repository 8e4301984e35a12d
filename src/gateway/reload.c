/*
 * Taking a new configuration while serving.  Nothing changes unless everything can: the
 * new file is read whole and checked first, the data plane is opened with it before the
 * engine takes it, and the old one is put back where that fails.
 */
#include "base/err.h"
#include "base/log.h"
#include "gateway/own.h"
#include "gateway/rsipd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ranges_equal(
	const struct range *a, size_t n_a, const struct range *b, size_t n_b)
{
	return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * sizeof(*a)) == 0);
}

static bool prefixes_equal(
	const struct prefix4 *a, size_t n_a, const struct prefix4 *b, size_t n_b)
{
	if (n_a != n_b)
		return false;
	for (size_t i = 0; i < n_a; i++)
		if (a[i].addr != b[i].addr || a[i].len != b[i].len)
			return false;
	return true;
}

static bool listen_differs(const struct conf *a, const struct conf *b)
{
	if (a->n_listen != b->n_listen)
		return true;
	for (size_t i = 0; i < a->n_listen; i++)
		if (a->listen[i].addr != b->listen[i].addr ||
			a->listen[i].port != b->listen[i].port)
			return true;
	return false;
}

static bool napt_differs(const struct conf_napt *a, const struct conf_napt *b)
{
	return a->address != b->address || !ranges_equal(&a->ports, 1, &b->ports, 1) ||
	       !prefixes_equal(a->hosts, a->n_hosts, b->hosts, b->n_hosts);
}

/* Does the data plane have to take other addresses or ports, or end other tunnels? */
static bool plane_differs(const struct conf *a, const struct conf *b)
{
	if (a->n_taken != b->n_taken || listen_differs(a, b) ||
		a->ike_only_host != b->ike_only_host ||
		a->ike_mappings != b->ike_mappings || napt_differs(&a->napt, &b->napt))
		return true;
	for (size_t i = 0; i < a->n_taken; i++) {
		const struct conf_taken *x = &a->taken[i], *y = &b->taken[i];

		if (!prefixes_equal(
			    x->addresses, x->n_addresses, y->addresses, y->n_addresses) ||
			!ranges_equal(x->ports, x->n_ports, y->ports, y->n_ports))
			return true;
	}
	return false;
}

/* Names what the new file changes and only a start can take, and keeps the old. */
static void keep_fixed(const struct conf *old, struct conf *new, char *names, size_t size)
{
	const struct {
		const char *name;
		bool differs;
	} fixed[] = {
		{ "transports", old->engine.udp != new->engine.udp ||
					old->engine.tcp != new->engine.tcp },
		{ "state-dir", strcmp(old->state_dir, new->state_dir) != 0 },
		{ "control-socket",
			strcmp(old->control_socket, new->control_socket) != 0 },
		{ "user", strcmp(old->user.name, new->user.name) != 0 },
		{ "sandbox", old->sandbox != new->sandbox },
		{ "driver", strcmp(old->driver, new->driver) != 0 },
		{ "private-interface",
			strcmp(old->private_interface, new->private_interface) != 0 },
		{ "public-interface",
			strcmp(old->public_interface, new->public_interface) != 0 },
		{ "ipfix", old->ipfix != new->ipfix ||
				   old->collector.addr != new->collector.addr ||
				   old->collector.port != new->collector.port ||
				   old->ipfix_domain != new->ipfix_domain ||
				   old->ipfix_enterprise != new->ipfix_enterprise ||
				   old->ipfix_templates_s != new->ipfix_templates_s },
		{ "slp", old->slp.advertise != new->slp.advertise ||
				 strcmp(old->slp.scopes, new->slp.scopes) != 0 ||
				 old->slp.directory_agent != new->slp.directory_agent ||
				 old->slp.lifetime_s != new->slp.lifetime_s },
		{ "metrics listen",
			old->metrics != new->metrics ||
				old->metrics_listen.addr != new->metrics_listen.addr ||
				old->metrics_listen.port != new->metrics_listen.port },
	};

	names[0] = 0;
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (fixed[i].differs)
			(void)snprintf(names + strlen(names), size - strlen(names),
				"%s %s", names[0] != 0 ? "," : "", fixed[i].name);
	new->engine.udp = old->engine.udp;
	new->engine.tcp = old->engine.tcp;
}

/* Back to the old pools; if even that fails, the data plane is down and we end. */
static void plane_restore(struct rsipd *d)
{
	char why[PLANE_WHY] = "";

	plane_close(&d->plane);
	if (plane_open(&d->plane, d->conf, why, sizeof(why)) == 0) {
		turn_reinstall(d);
		return;
	}
	log_error("the data plane cannot be opened again, ending", "error=\"%s\"", why);
	d->exit_status = 1;
	uv_stop(d->loop);
}

static int take_plane(struct rsipd *d, struct conf *new, char *why, size_t why_size)
{
	bool reopen = plane_differs(d->conf, new) && d->plane.dp != NULL;
	int err = 0;

	if (reopen) {
		plane_close(&d->plane);
		err = plane_open(&d->plane, new, why, why_size);
	}
	if (err == 0)
		err = engine_reload(d->engine, &new->engine, turn_begin(d));
	if (err != 0 && reopen)
		plane_restore(d);
	else if (reopen)
		turn_reinstall(d);
	return err;
}

static int take(struct rsipd *d, struct conf *new, char *why, size_t why_size)
{
	char ignored[NET_WHY];
	int err = rsipd_listen(d, new, why, why_size);

	if (err != 0)
		return err;
	err = take_plane(d, new, why, why_size);
	/* What was listened to a moment ago can be again. */
	if (err != 0 && rsipd_listen(d, d->conf, ignored, sizeof(ignored)) != 0)
		log_error("the former endpoints are not served any more", "error=\"%s\"",
			ignored);
	return err;
}

static int refuse(int err, char *why, size_t why_size)
{
	if (why[0] == 0)
		(void)snprintf(why, why_size, "%s", err_text(err));
	log_error("configuration not taken, nothing changed", "error=\"%s\"", why);
	return err;
}

/* What cannot fail any more. */
static void take_rest(struct rsipd *d, struct conf *new)
{
	const struct net_proof proof = { d->proof.guard, d->proof.tls };
	struct net_place places[CONF_PLACES_MAX];
	struct net_limits limits;
	int err;

	net_secure(d->net, &proof);
	err = net_set_places(d->net, places, proof_places(new, places));
	if (err != 0)
		log_error("the places of hosts are not watched", "error=\"%s\"",
			err_text(err));
	limits = (struct net_limits){ new->tcp.connections, new->tcp.connections_per_host,
		(uint64_t) new->tcp.idle_s * 1000, (uint64_t) new->tcp.stall_s * 1000 };
	net_set_limits(d->net, &limits);
	if (water_conf(&d->water, new) != 0)
		water_fini(&d->water);
	audit_set_limits(d->audit, new->audit_bytes, new->audit_keep_s);
	conf_free(d->conf);
	d->conf = new;
}

int rsipd_take(struct rsipd *d, struct conf *new, char *why, size_t why_size)
{
	struct proof_files files = { 0 };
	char names[256];
	int err = 0;

	keep_fixed(d->conf, new, names, sizeof(names));
	if (strcmp(d->plane.driver->name, "none") != 0 && plane_differs(d->conf, new))
		err = own_check(new, why, why_size);
	if (err == 0)
		err = proof_load(new, &files, why, why_size);
	if (err == 0)
		err = take(d, new, why, why_size);
	if (err == 0)
		err = proof_take(&d->proof, &files);
	if (err != 0) {
		proof_files_fini(&files);
		conf_free(new);
		return err;
	}
	take_rest(d, new);
	if (names[0] != 0)
		log_warn("configuration taken, but some keys only with the next start",
			"keys=\"%s\"", names + 1);
	else
		log_info("configuration taken", "file=%s", d->config_file);
	return 0;
}

int rsipd_reload(struct rsipd *d, char *why, size_t why_size)
{
	struct conf *new;
	int err = conf_load(d->config_file, &new, why, why_size);

	if (err == 0)
		err = rsipd_take(d, new, why, why_size);
	if (err != 0)
		return refuse(err, why, why_size);
	trial_forget(&d->trial);
	return 0;
}
