/*
 * Log lines to stderr: "message key=value ...", with the journal's priority in front
 * where nobody reads along; or to the journal itself, with fields.
 */
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define LINE 1024
/* A datagram of the journal: some fields are lists of ports. */
#define DATAGRAM 24576

static const char *log_program = "rsip";
static enum log_level log_most = LOG_LEVEL_INFO;
static bool log_prefixed, log_system;
static int log_journal = -1;

static const int priority[] = {
	[LOG_LEVEL_ERROR] = 3,
	[LOG_LEVEL_WARN] = 4,
	[LOG_LEVEL_INFO] = 6,
	[LOG_LEVEL_DEBUG] = 7,
};

/* Is stderr the stream that systemd connected to the journal? */
static bool is_journal(void)
{
	const char *said = getenv("JOURNAL_STREAM");
	char here[64];
	struct stat st;

	if (said == NULL || fstat(STDERR_FILENO, &st) != 0)
		return false;
	(void)snprintf(
		here, sizeof here, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(said, here) == 0;
}

void log_init(const char *program, enum log_level most)
{
	log_program = program;
	log_most = most;
	log_prefixed = !isatty(STDERR_FILENO);
	if (is_journal())
		(void)log_to_journal(LOG_JOURNAL); /* else the lines do */
}

int log_to_journal(const char *socket_path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd, err = 0;

	if (strlen(socket_path) >= sizeof at.sun_path)
		return -ENAMETOOLONG;
	memcpy(at.sun_path, socket_path, strlen(socket_path) + 1);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) != 0) {
		err = -errno;
		if (fd >= 0)
			(void)close(fd);
		return err;
	}
	if (log_journal >= 0)
		(void)close(log_journal);
	log_journal = fd;
	return 0;
}

void log_to_syslog(void)
{
	openlog(log_program, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	log_system = true;
}

/* --- the journal's datagrams ----------------------------------------------------------
 */

struct datagram {
	char bytes[DATAGRAM];
	size_t len;
};

/* "NAME=value\n"; a value is one line.  What does not fit is left out whole. */
static void datagram_put(struct datagram *d, const char *name, const char *value)
{
	size_t room = sizeof d->bytes - d->len;
	int n = snprintf(d->bytes + d->len, room, "%s=%s\n", name, value);

	if (n < 0 || (size_t)n >= room)
		return;
	for (size_t i = d->len; i + 1 < d->len + (size_t)n; i++)
		if (d->bytes[i] == '\n')
			d->bytes[i] = ' ';
	d->len += (size_t)n;
}

/* False when the journal does not take it. */
static bool journal_send(enum log_level level, const char *id, const char *message,
	const struct log_field *f, size_t n)
{
	char number[4];
	struct datagram d;

	d.len = 0;
	(void)snprintf(number, sizeof number, "%d", priority[level]);
	datagram_put(&d, "PRIORITY", number);
	datagram_put(&d, "SYSLOG_IDENTIFIER", log_program);
	if (id != NULL)
		datagram_put(&d, "MESSAGE_ID", id);
	datagram_put(&d, "MESSAGE", message);
	for (size_t i = 0; i < n; i++)
		datagram_put(&d, f[i].name, f[i].value);
	return send(log_journal, d.bytes, d.len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* --- lines ----------------------------------------------------------------------------
 */

static void line_write(enum log_level level, const char *message)
{
	char head[32] = "";

	if (log_system) {
		/* The priorities of our table are syslog's. */
		syslog(priority[level], "%s", message);
		return;
	}
	if (log_prefixed)
		(void)snprintf(head, sizeof head, "<%d>", priority[level]);
	/* One call, so that lines of two processes do not mix. */
	(void)fprintf(stderr, "%s%s: %s\n", head, log_program, message);
}

void log_at(enum log_level level, const char *what, const char *format, ...)
{
	char line[LINE], message[LINE + 256];
	va_list args;
	int saved = errno;

	if (level > log_most)
		return;
	va_start(args, format);
	(void)vsnprintf(line, sizeof line, format, args);
	va_end(args);
	(void)snprintf(message, sizeof message, "%s%s%s", what, *line ? " " : "", line);
	if (log_journal < 0 || !journal_send(level, NULL, message, NULL, 0))
		line_write(level, message);
	errno = saved;
}

/* " host=10.0.0.11" of RSIP_HOST; what does not fit is cut off. */
static size_t text_of(const struct log_field *f, char *at, size_t room)
{
	const char *name = strncmp(f->name, "RSIP_", 5) == 0 ? f->name + 5 : f->name;
	size_t n = 0;

	if (room > 0)
		at[n++] = ' ';
	for (; *name != 0 && n + 1 < room; name++)
		at[n++] = (char)tolower((unsigned char)*name);
	if (n + 1 < room) {
		int more = snprintf(at + n, room - n, "=%s", f->value);

		n += more < 0 ? 0 : (size_t)more < room - n ? (size_t)more : room - n - 1;
	}
	return n;
}

void log_fields(enum log_level level, const char *id, const char *what,
	const struct log_field *f, size_t n)
{
	char message[LINE];
	size_t len;
	int saved = errno;

	if (level > log_most)
		return;
	(void)snprintf(message, sizeof message, "%s", what);
	len = strlen(message);
	for (size_t i = 0; i < n && len + 2 < sizeof message; i++)
		len += text_of(&f[i], message + len, sizeof message - len);
	message[len] = 0;
	if (log_journal < 0 || !journal_send(level, id, message, f, n))
		line_write(level, message);
	errno = saved;
}
