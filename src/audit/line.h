#pragma once

#include "audit/audit.h"

/* One record as a line of text: the format of docs/audit.md, written and read. */

struct line {
	char *at;
	size_t len, size;
};

/* Room for `more` bytes; or -ENOMEM. */
int line_reserve(struct line *l, size_t more);
/* Appends; -ENOMEM leaves it as it was. */
int line_append(struct line *to, const struct lease *l, enum end_reason reason,
	uint64_t from_wall_ms, uint64_t until_wall_ms);
/* Does the record (without its newline) answer?  NULL when not; else owned. */
json_t *line_match(const char *line, size_t len, const struct audit_question *q);
/* What every line about this address has in it, to look for first. */
int line_needle(uint32_t address, char *buf, size_t size);
