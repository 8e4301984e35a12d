/* What the machine itself has: kernel, clock, rights, programs, disk. */
#include "cli/doctor.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FREE_LEAST ((uint64_t)64 * 1024 * 1024)

static void check_kernel(struct doctor *d)
{
	struct utsname u;
	unsigned long major, minor;
	char *end;

	if (uname(&u) != 0)
		return;
	major = strtoul(u.release, &end, 10);
	minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	if (major < 5 || (major == 5 && minor < 10))
		doctor_add(d, "kernel", DOCTOR_WARNING,
			"use Linux 5.10 or later; driver packet may still do",
			"Linux %s is older than what is tested", u.release);
	else
		doctor_add(d, "kernel", DOCTOR_OK, NULL, "Linux %s", u.release);
}

/* Could driver xdp load its tables? */
static void check_bpf(struct doctor *d)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = 4,
		.max_entries = 1 };
	long fd = syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));

	if (fd >= 0) {
		(void)close((int)fd);
		doctor_add(d, "bpf", DOCTOR_OK, NULL, "programs can be loaded");
	} else if (errno == EPERM && geteuid() != 0) {
		doctor_add(d, "bpf", DOCTOR_WARNING, "run this as root to know",
			"not checked: only root may load programs");
	} else if (errno == EPERM) {
		doctor_add(d, "bpf", DOCTOR_WARNING,
			"give the container CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; "
			"driver "
			"auto takes packet meanwhile",
			"XDP is refused: loading programs is forbidden here");
	} else {
		doctor_add(d, "bpf", DOCTOR_WARNING,
			"build the kernel with CONFIG_BPF_SYSCALL, or stay with driver "
			"packet, which auto then takes",
			"XDP is refused: %s", strerror(errno));
	}
}

static void check_time(struct doctor *d)
{
	struct timex t = { 0 };
	int state = adjtimex(&t);

	if (state == TIME_ERROR || (t.status & STA_UNSYNC))
		doctor_add(d, "clock", DOCTOR_WARNING,
			"run chrony or systemd-timesyncd: who had an address at a time "
			"can "
			"only be told by clocks that agree",
			"the clock is not synchronised; the audit has its times");
	else if (state >= 0)
		doctor_add(d, "clock", DOCTOR_OK, NULL, "synchronised");
}

static bool on_path(const char *name)
{
	static const char *const places[] = { "/usr/sbin", "/sbin", "/usr/bin", "/bin" };
	char path[256];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", places[i], name);
		if (access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static void check_nft(struct doctor *d)
{
	if (strcmp(d->conf->driver, "none") == 0)
		return;
	if (on_path("nft"))
		doctor_add(d, "nft", DOCTOR_OK, NULL, "there");
	else
		doctor_add(d, "nft", DOCTOR_PROBLEM,
			"install the package nftables: rsipd silences the kernel with it",
			"the program nft is not there");
}

static void check_disk(struct doctor *d)
{
	struct statvfs fs;
	uint64_t left;

	if (statvfs(d->conf->state_dir, &fs) != 0) {
		doctor_add(d, "disk", DOCTOR_OK, NULL,
			"%s is not there yet; rsipd makes it", d->conf->state_dir);
		return;
	}
	left = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (left < FREE_LEAST)
		doctor_add(d, "disk", DOCTOR_PROBLEM,
			"make room: without it hosts are refused (104)",
			"%s has %llu KiB left", d->conf->state_dir,
			(unsigned long long)left / 1024);
	else
		doctor_add(d, "disk", DOCTOR_OK, NULL, "%s has %llu MiB left",
			d->conf->state_dir, (unsigned long long)(left >> 20));
}

/* A host's tunnel: the kernel's device, else ours by TUN. */
static void check_tun(struct doctor *d)
{
	if (access("/dev/net/tun", R_OK | W_OK) == 0)
		doctor_add(d, "tun", DOCTOR_OK, NULL, "/dev/net/tun can be used");
	else
		doctor_add(d, "tun", DOCTOR_WARNING,
			geteuid() == 0
				? "modprobe tun, or give the container the device; it is "
				  "not needed where the kernel has IP-in-IP and GRE"
				: "run this as root to know",
			"/dev/net/tun: %s", strerror(errno));
}

void doctor_system(struct doctor *d)
{
	check_kernel(d);
	check_time(d);
	if (d->conf != NULL) {
		check_bpf(d);
		check_nft(d);
		check_disk(d);
	} else {
		check_tun(d);
	}
}
