#pragma once

#include "rig.h"

/* What the parts of the rig share. */

/* rig_watch.c: each effect as it comes */
void watch_init(struct rig *r);
void watch_fini(struct rig *r);
void watch_reply(struct rig *r, const struct effect *e);
void watch_audit(struct rig *r, const struct effect *e);
/* Is the request in work byte for byte the last one of its source?  Remembers it. */
bool watch_repeated(struct rig *r);
void watch_ended(struct rig *r, uint32_t bind_id);
void watch_client_ended(struct rig *r, uint32_t client_id);
void watch_reloaded(struct rig *r);
void watch_restarted(struct rig *r, bool with_store);

/* rig_text.c: an effect as words, in memory of its own */
char *watch_text(const struct effect *e);
