#pragma once

#include "gateway/events.h"

/*
 * A sink: what began and ended as lines of the log, at level debug (`rsipd -v`), with
 * fields and message IDs where the journal takes them.  For finding out what a host did;
 * what is to be kept is in the audit.
 */
void event_log(void *unused, const struct event *e);
