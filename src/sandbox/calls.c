/*
 * seccomp: the system calls that serving takes, and no others.  A call that is not here
 * fails with EPERM; it does not end the process, since a library that tries something new
 * falls back, and an intruder gains nothing either way.
 *
 * Without SANDBOX_WRITES nothing is written in the file system, also without Landlock.
 */
#include "sandbox/sandbox.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0 /* else the leak check at the end needs ptrace() */
#endif

#define NEW_NAMESPACES                                                                 \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
		CLONE_NEWPID | CLONE_NEWNET)

/* clang-format off */
static const int always[] = {
	/* memory */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mlock),
	SCMP_SYS(munlock), SCMP_SYS(msync), SCMP_SYS(mincore), SCMP_SYS(membarrier),
	/* threads, signals, time */
	SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity), SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(getppid),
	SCMP_SYS(tgkill), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
	SCMP_SYS(restart_syscall), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(getcpu),
	SCMP_SYS(prctl), SCMP_SYS(prlimit64), SCMP_SYS(getrlimit), SCMP_SYS(getrusage),
	SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getrandom), SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),
	/* descriptors */
	SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(preadv), SCMP_SYS(write),
	SCMP_SYS(writev), SCMP_SYS(pwrite64), SCMP_SYS(pwritev), SCMP_SYS(lseek), SCMP_SYS(close),
	SCMP_SYS(close_range), SCMP_SYS(dup), SCMP_SYS(dup2), SCMP_SYS(dup3), SCMP_SYS(fcntl),
	SCMP_SYS(fstat), SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(fsync),
	SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range), SCMP_SYS(fstatfs), SCMP_SYS(pipe2),
	SCMP_SYS(eventfd2), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(poll), SCMP_SYS(ppoll),
	SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(ioctl), SCMP_SYS(memfd_create),
	SCMP_SYS(getdents64),
	/* names: to look at, and to take our socket away */
	SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(statfs),
	SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
	SCMP_SYS(readlinkat), SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(getcwd),
	/* sockets, of the families below */
	SCMP_SYS(socketpair), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4),
	SCMP_SYS(connect), SCMP_SYS(shutdown), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
	SCMP_SYS(setsockopt), SCMP_SYS(getsockopt), SCMP_SYS(sendto), SCMP_SYS(sendmsg),
	SCMP_SYS(sendmmsg), SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg),
};
/* The programs that a driver starts, and their loader's. */
static const int for_children[] = {
	SCMP_SYS(execve), SCMP_SYS(vfork), SCMP_SYS(wait4), SCMP_SYS(waitid), SCMP_SYS(arch_prctl),
	SCMP_SYS(set_tid_address), SCMP_SYS(chdir), SCMP_SYS(capget), SCMP_SYS(kill),
};
static const int for_bpf[] = {
	SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(mkdir), SCMP_SYS(mkdirat),
	SCMP_SYS(rmdir), SCMP_SYS(setrlimit), SCMP_SYS(rename), SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
};
static const int for_namespaces[] = { SCMP_SYS(setns), SCMP_SYS(pidfd_open) };
static const int for_renames[] = {
	SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(fchmod), SCMP_SYS(umask),
};
/* clang-format on */

static int allow_all(scmp_filter_ctx f, const int *calls, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && err == 0; i++)
		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
	return err;
}

static int allow_sockets(scmp_filter_ctx f, unsigned int rights)
{
	static const int families[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK };
	int err = 0;

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]) && err == 0; i++)
		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
	if (err == 0 && (rights & SANDBOX_NET_RAW))
		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
			SCMP_A0(SCMP_CMP_EQ, AF_PACKET, 0));
	return err;
}

/* Memory that can be written is never run, and what is mapped stays as it is. */
static int allow_memory(scmp_filter_ctx f)
{
	static const scmp_datum_t fine[] = { 0, PROT_WRITE, PROT_EXEC };
	int err = 0;

	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]) && err == 0; i++)
		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, fine[i]));
	if (err == 0)
		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return err;
}

/* Files to read, threads but no namespaces.  The arguments of clone3() are out of sight:
 * glibc then takes clone(). */
static int allow_judged(scmp_filter_ctx f, bool writes)
{
	const scmp_datum_t not_reading = writes ? 0 : O_ACCMODE | O_CREAT | O_TRUNC;
	int err = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
		SCMP_A2(SCMP_CMP_MASKED_EQ, not_reading, O_RDONLY));

	if (err == 0)
		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(open), 1,
			SCMP_A1(SCMP_CMP_MASKED_EQ, not_reading, O_RDONLY));
	if (err == 0)
		err = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, NEW_NAMESPACES, 0));
	if (err == 0)
		err = seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	return err;
}

#define ALLOW(f, list) allow_all(f, list, sizeof(list) / sizeof((list)[0]))

int sandbox_calls(unsigned int rights, unsigned int may)
{
	scmp_filter_ctx f;
	int err;

	if (SANITIZED)
		return ERR_UNSUPPORTED;
	f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	if (f == NULL)
		return -ENOMEM;
	/* Of threads that are there already, too. */
	err = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	/* A tree in place of a list: the calls of every packet would come late in it. */
	if (err == 0)
		err = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (err == 0)
		err = ALLOW(f, always);
	if (err == 0)
		err = allow_sockets(f, rights);
	if (err == 0)
		err = allow_memory(f);
	if (err == 0)
		err = allow_judged(f, (may & SANDBOX_WRITES) != 0);
	if (err == 0 && (may & SANDBOX_CHILDREN))
		err = ALLOW(f, for_children);
	if (err == 0 && (rights & SANDBOX_BPF))
		err = ALLOW(f, for_bpf);
	if (err == 0 && (rights & SANDBOX_NAMESPACES))
		err = ALLOW(f, for_namespaces);
	if (err == 0 && (may & SANDBOX_RENAMES))
		err = ALLOW(f, for_renames);
	if (err == 0)
		err = seccomp_load(f);
	seccomp_release(f);
	return err;
}
