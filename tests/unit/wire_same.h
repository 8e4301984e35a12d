#pragma once

#include "wire/msg.h"

/* Do two messages mean the same?  Borrowed bytes are compared, not their addresses. */
bool wire_same(const struct wire_msg *a, const struct wire_msg *b);
