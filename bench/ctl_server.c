/*
 * The servers: rsipd as it is installed, with driver none, and two echo servers as small
 * as they can be, one datagram a call and many.
 */
#include "ctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH    32
#define READY_MS 5000
#define BUFFER   (4 * 1024 * 1024)

int pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

/* A socket on a free port of 127.0.0.1; -1. */
static int socket_free(uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = BUFFER;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 ||
		getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
		perror("ctl: socket");
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	/* As much as rsipd asks for. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	*port = ntohs(at.sin_port);
	return fd;
}

static void echo_single(int fd)
{
	uint8_t bytes[2048];

	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(
			fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &len);

		if (n > 0)
			(void)sendto(
				fd, bytes, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
}

static void echo_batched(int fd)
{
	static uint8_t bytes[BATCH][2048];
	static struct sockaddr_in from[BATCH];
	static struct iovec at[BATCH];
	static struct mmsghdr m[BATCH];

	for (;;) {
		int n;

		for (int i = 0; i < BATCH; i++) {
			at[i] = (struct iovec){ bytes[i], sizeof(bytes[i]) };
			m[i].msg_hdr = (struct msghdr){ .msg_name = &from[i],
				.msg_namelen = sizeof(from[i]),
				.msg_iov = &at[i],
				.msg_iovlen = 1 };
		}
		n = recvmmsg(fd, m, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++)
			at[i].iov_len = m[i].msg_len;
		if (n > 0)
			(void)sendmmsg(fd, m, (unsigned int)n, 0);
	}
}

/* In the child: its core, and an end when the parent ends. */
static void child_settle(int cpu, pid_t parent)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	(void)pin(cpu);
}

int server_echo(struct server *s, bool batched, int cpu)
{
	pid_t parent = getpid();
	int fd = socket_free(&s->port);

	if (fd < 0)
		return -1;
	s->name = batched ? "echo-mmsg" : "echo";
	s->out = -1;
	s->pid = fork();
	if (s->pid == 0) {
		child_settle(cpu, parent);
		if (batched)
			echo_batched(fd);
		echo_single(fd);
		_exit(0);
	}
	(void)close(fd);
	if (s->pid < 0)
		perror("ctl: fork");
	return s->pid < 0 ? -1 : 0;
}

static int conf_write(const char *path, const char *dir, uint16_t port)
{
	FILE *f = fopen(path, "w");

	if (!f) {
		perror(path);
		return -1;
	}
	(void)fprintf(f,
		"gateway {\n  listen = { \"127.0.0.1:%u\" }\n  state-dir = \"%s/state\"\n"
		"  control-socket = \"%s/rsipd.sock\"\n}\n"
		"dataplane { driver = \"none\" }\n"
		"pool public { addresses = { \"203.0.113.0/24\" } }\n",
		port, dir, dir);
	return fclose(f) == 0 ? 0 : -1;
}

static int wait_ready(struct server *s)
{
	char line[512];
	size_t have = 0;
	uint64_t until = now_ns() + READY_MS * 1000000ULL;

	while (now_ns() < until && have < sizeof(line) - 1) {
		struct pollfd p = { .fd = s->out, .events = POLLIN };
		ssize_t n = poll(&p, 1, 100) > 0
				    ? read(s->out, line + have, sizeof(line) - 1 - have)
				    : -1;

		if (n == 0)
			break;
		if (n > 0)
			have += (size_t)n;
		line[have] = 0;
		if (strstr(line, "ready"))
			return 0;
	}
	(void)fprintf(stderr, "ctl: rsipd did not get ready; its log is above\n");
	return -1;
}

int server_rsipd(struct server *s, const char *rsipd, const char *dir, int cpu)
{
	pid_t parent = getpid();
	char path[4096];
	int fd = socket_free(&s->port), out[2];

	*s = (struct server){ .name = "rsipd", .port = s->port, .out = -1 };
	if (fd < 0)
		return -1;
	(void)close(fd);
	(void)snprintf(path, sizeof(path), "%s/rsipd.conf", dir);
	if (conf_write(path, dir, s->port) != 0 || pipe2(out, O_CLOEXEC) != 0)
		return -1;
	s->pid = fork();
	if (s->pid == 0) {
		child_settle(cpu, parent);
		(void)dup2(out[1], STDOUT_FILENO);
		(void)execl(rsipd, rsipd, "-c", path, "-f", (char *)NULL);
		perror(rsipd);
		_exit(127);
	}
	(void)close(out[1]);
	s->out = out[0];
	return s->pid < 0 ? -1 : wait_ready(s);
}

void server_end(struct server *s)
{
	if (s->pid <= 0)
		return;
	(void)kill(s->pid, s->out >= 0 ? SIGTERM : SIGKILL);
	(void)waitpid(s->pid, NULL, 0);
	if (s->out >= 0)
		(void)close(s->out);
	s->pid = 0;
}

double server_cpu_s(const struct server *s)
{
	clockid_t clock;
	struct timespec t;

	if (clock_getcpuclockid(s->pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
		return 0;
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
