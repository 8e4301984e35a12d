/*
 * Trials, and the way back.  A trial that is cut off by the end of rsipd leaves the file
 * as it was, so the next start is the way back, too.
 */
#include "gateway/trial.h"

#include "base/err.h"
#include "base/log.h"
#include "gateway/rsipd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int take(struct rsipd *d, const char *text, char *why, size_t why_size)
{
	struct conf *new;
	int err = conf_parse(d->config_file, text, &new, why, why_size);

	return err != 0 ? err : rsipd_take(d, new, why, why_size);
}

static void on_over(uv_timer_t *timer)
{
	struct rsipd *d = timer->data;
	char *former = d->trial.former;
	char why[RSIPD_WHY] = "";

	d->trial.former = NULL;
	if (take(d, former, why, sizeof(why)) == 0)
		log_warn("configuration not confirmed in time, back to the former one",
			"file=%s", d->config_file);
	else
		log_error("cannot go back to the former configuration",
			"error=\"%s\" file=%s", why, d->config_file);
	free(former);
}

void trial_init(struct trial *t, struct rsipd *d, uv_loop_t *loop)
{
	(void)uv_timer_init(loop, &t->timer);
	t->timer.data = d;
}

int trial_begin(
	struct rsipd *d, const char *text, uint32_t seconds, char *why, size_t why_size)
{
	struct trial *t = &d->trial;
	char *former = strdup(d->conf->text);
	int err = former != NULL ? take(d, text, why, why_size) : -ENOMEM;

	if (err != 0 || t->former != NULL)
		free(former);
	else
		t->former = former;
	if (err != 0)
		return err;
	(void)uv_timer_start(&t->timer, on_over, (uint64_t)seconds * 1000, 0);
	log_warn("configuration on trial", "seconds=%u", seconds);
	return 0;
}

int trial_confirm(struct rsipd *d)
{
	if (d->trial.former == NULL)
		return ERR_NOTFOUND;
	trial_forget(&d->trial);
	log_info("configuration confirmed", "%s", "");
	return 0;
}

void trial_forget(struct trial *t)
{
	if (t->former == NULL)
		return;
	(void)uv_timer_stop(&t->timer);
	free(t->former);
	t->former = NULL;
}

uint32_t trial_left(const struct trial *t)
{
	uint64_t left_ms;

	if (t->former == NULL)
		return 0;
	left_ms = uv_timer_get_due_in(&t->timer);
	return (uint32_t)(left_ms / 1000) + 1;
}
