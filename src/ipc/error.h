#pragma once

/* Error names on the socket and our codes. */
int ipc_error_to_code(const char *name);
const char *ipc_error_from_code(int code);
