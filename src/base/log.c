/*
 * Log lines to stderr: "message key=value ...", with the journal's priority in front
 * where nobody reads along.
 */
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

static const char *log_program = "rsip";
static enum log_level log_most = LOG_LEVEL_INFO;
static bool log_prefixed, log_system;

void log_init(const char *program, enum log_level most)
{
	log_program = program;
	log_most = most;
	log_prefixed = !isatty(STDERR_FILENO);
}

void log_to_syslog(void)
{
	openlog(log_program, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	log_system = true;
}

void log_at(enum log_level level, const char *what, const char *format, ...)
{
	static const int priority[] = {
		[LOG_LEVEL_ERROR] = 3,
		[LOG_LEVEL_WARN] = 4,
		[LOG_LEVEL_INFO] = 6,
		[LOG_LEVEL_DEBUG] = 7,
	};
	char line[1024], head[32] = "";
	va_list args;
	int saved = errno;

	if (level > log_most)
		return;
	if (log_prefixed)
		(void)snprintf(head, sizeof head, "<%d>", priority[level]);
	va_start(args, format);
	(void)vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (log_system) {
		/* The priorities of our table are syslog's. */
		syslog(priority[level], "%s%s%s", what, *line ? " " : "", line);
		errno = saved;
		return;
	}
	/* One call, so that lines of two processes do not mix. */
	(void)fprintf(stderr, "%s%s: %s%s%s\n", head, log_program, what, *line ? " " : "",
		line);
	errno = saved;
}
