#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * One line an event: a fixed message, then key=value pairs, for example
 *     log_info("lease granted", "host=%s bind=%u", host, bind);
 * To stderr with the journal's <N> priority prefix when the output is not a terminal; to
 * the journal itself when stderr is its stream (JOURNAL_STREAM).
 * Lower layers return errors; only programs log.
 */
enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_init(const char *program, enum log_level most);
/* From now on to the system log: a daemon without a terminal. */
void log_to_syslog(void);

void log_at(enum log_level level, const char *what, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with fields of the journal; in text "RSIP_HOST" is "host=". */
struct log_field {
	const char *name, *value;
};
/* `id` is the message's MESSAGE_ID, 32 hexadecimal digits that never change. */
void log_fields(enum log_level level, const char *id, const char *what,
	const struct log_field *f, size_t n);

#define LOG_JOURNAL "/run/systemd/journal/socket"
/* From now on to the journal behind this socket, in its own format.  -errno. */
int log_to_journal(const char *socket_path);

#define log_error(what, ...) log_at(LOG_LEVEL_ERROR, what, __VA_ARGS__)
#define log_warn(what, ...)  log_at(LOG_LEVEL_WARN, what, __VA_ARGS__)
#define log_info(what, ...)  log_at(LOG_LEVEL_INFO, what, __VA_ARGS__)
#define log_debug(what, ...) log_at(LOG_LEVEL_DEBUG, what, __VA_ARGS__)
