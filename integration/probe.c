/*
 * Makes the raw system calls it is told to and prints what came back, one line
 * each. It has no C library under it, so the only calls a filter sees are those
 * asked for, write(2) for the answer and exit_group(2) at the end.
 *
 *   probe OP [ARG…] [-- OP [ARG…]]…
 *
 *   status              Seccomp, Seccomp_filters, NoNewPrivs, CapEff, Uid of
 *                       itself, of pid 1 and of a forked child
 *   call CALL [A0 … A5] "CALL = RET ERRNO"
 *   call32 CALL [A0 …]  the same through int $0x80, the i386 entry: another
 *                       architecture to a filter, from the same program
 *   fork OP [ARG…]      OP in a child; a child that dies prints "killed SIGNAL"
 *   print WORD          WORD on a line of its own
 *   sleep SECONDS
 *   filter CALL ERRNO   loads a filter of its own that answers CALL with ERRNO;
 *                       x86_64, and no_new_privs or CAP_SYS_ADMIN
 *   exec PATH [ARG…]    becomes another program, with all words that follow
 *                       (a "--" as well) and this one's environment
 *   exit STATUS         ends here; otherwise 0 after the last OP, 2 for usage
 *
 * CALL is a number or one of the names below. An argument is a number (decimal
 * or 0x…, may be negative), @TEXT for a pointer to that text, or "buf" for a
 * pointer to 4096 zero bytes.
 *
 * Build: gcc -O1 -static -nostdlib -ffreestanding -fno-stack-protector -o probe probe.c
 * and once more with -m32.
 */
#include <asm/unistd.h>

typedef unsigned long ulong;

struct name {
	const char *name;
	long native, compat;
};

/* The i386 numbers that call32 needs; they are fixed for ever. */
static const struct name names[] = {
	{ "read", __NR_read, 3 },
	{ "write", __NR_write, 4 },
	{ "open", __NR_open, 5 },
	{ "openat", __NR_openat, 295 },
	{ "close", __NR_close, 6 },
	{ "lseek", __NR_lseek, 19 },
	{ "getpid", __NR_getpid, 20 },
	{ "getppid", __NR_getppid, 64 },
	{ "getuid", __NR_getuid, 24 },
	{ "uname", __NR_uname, 122 },
	{ "mkdir", __NR_mkdir, 39 },
	{ "mkdirat", __NR_mkdirat, 296 },
	{ "rmdir", __NR_rmdir, 40 },
	{ "chmod", __NR_chmod, 15 },
	{ "dup", __NR_dup, 41 },
	{ "kill", __NR_kill, 37 },
	{ "socket", __NR_socket, 359 },
	{ "personality", __NR_personality, 136 },
	{ "prctl", __NR_prctl, 172 },
	{ "ptrace", __NR_ptrace, 26 },
	{ "mount", __NR_mount, 21 },
	{ "umount2", __NR_umount2, 52 },
	{ "unshare", __NR_unshare, 310 },
	{ "setns", __NR_setns, 346 },
	{ "setuid", __NR_setuid, 23 },
	{ "sethostname", __NR_sethostname, 74 },
	{ "keyctl", __NR_keyctl, 288 },
	{ "add_key", __NR_add_key, 286 },
	{ "ioctl", __NR_ioctl, 54 },
	{ "mknod", __NR_mknod, 14 },
	{ "bpf", __NR_bpf, 357 },
	{ "seccomp", __NR_seccomp, 354 },
	{ "execve", __NR_execve, 11 },
	{ "getrandom", __NR_getrandom, 355 },
};

#define EINTR 4

static char buffer[4096];  /* "buf" */
static char statusfile[8192];
static char text[8192];    /* copies of @TEXT, low enough for call32 */
static ulong text_used;

long raw(long nr, const ulong *args);
long raw32(long nr, const ulong *args);

#if defined(__x86_64__)
__asm__(
	".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call entry\n"
	"	hlt\n"
	"raw:\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %r11\n"
	"	mov (%r11), %rdi\n"
	"	mov 8(%r11), %rsi\n"
	"	mov 16(%r11), %rdx\n"
	"	mov 24(%r11), %r10\n"
	"	mov 32(%r11), %r8\n"
	"	mov 40(%r11), %r9\n"
	"	syscall\n"
	"	ret\n"
	"raw32:\n"
	"	push %rbx\n"
	"	push %rbp\n"
	"	push %r12\n"
	"	mov %rdi, %rax\n"
	"	mov %rsi, %r12\n"
	"	mov (%r12), %rbx\n"
	"	mov 8(%r12), %rcx\n"
	"	mov 16(%r12), %rdx\n"
	"	mov 24(%r12), %rsi\n"
	"	mov 32(%r12), %rdi\n"
	"	mov 40(%r12), %rbp\n"
	"	int $0x80\n"
	"	cltq\n" /* the i386 entry answers with 32 bits */
	"	pop %r12\n"
	"	pop %rbp\n"
	"	pop %rbx\n"
	"	ret\n"
	".section .note.GNU-stack,\"\",@progbits\n"
	".text\n");
#elif defined(__i386__)
__asm__(
	".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %esp, %eax\n"
	"	and $-16, %esp\n"
	"	sub $12, %esp\n"
	"	push %eax\n"
	"	call entry\n"
	"	hlt\n"
	"raw:\n"
	"raw32:\n"
	"	push %ebx\n"
	"	push %esi\n"
	"	push %edi\n"
	"	push %ebp\n"
	"	mov 20(%esp), %eax\n"
	"	mov 24(%esp), %ebp\n"
	"	mov (%ebp), %ebx\n"
	"	mov 4(%ebp), %ecx\n"
	"	mov 8(%ebp), %edx\n"
	"	mov 12(%ebp), %esi\n"
	"	mov 16(%ebp), %edi\n"
	"	mov 20(%ebp), %ebp\n"
	"	int $0x80\n"
	"	pop %ebp\n"
	"	pop %edi\n"
	"	pop %esi\n"
	"	pop %ebx\n"
	"	ret\n"
	".section .note.GNU-stack,\"\",@progbits\n"
	".text\n");
#else
#error "no system call sequence for this architecture"
#endif

static long sys(long nr, ulong a, ulong b, ulong c)
{
	ulong args[6] = { a, b, c, 0, 0, 0 };

	return raw(nr, args);
}

static _Noreturn void quit(int status)
{
	for (;;)
		sys(__NR_exit_group, status, 0, 0);
}

static ulong length(const char *s)
{
	ulong n = 0;

	while (s[n])
		n++;
	return n;
}

static int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* One line is put together here and written with one call. */
static char line[1024];
static ulong line_used;

static void put_char(char c)
{
	if (line_used < sizeof line)
		line[line_used++] = c;
}

static void put(const char *s)
{
	while (*s)
		put_char(*s++);
}

static void put_number(long value)
{
	char digits[24];
	int n = 0;
	ulong u = value < 0 ? 0 - (ulong)value : (ulong)value;

	if (value < 0)
		put_char('-');
	do
		digits[n++] = '0' + u % 10;
	while (u /= 10);
	while (n)
		put_char(digits[--n]);
}

static void flush(void)
{
	put_char('\n');
	sys(__NR_write, 1, (ulong)line, line_used);
	line_used = 0;
}

static _Noreturn void usage(const char *what)
{
	put("probe: cannot make sense of ");
	put(what);
	flush();
	quit(2);
}

/* False if it is no number; the value wraps, as an argument's would. */
static int number(const char *s, ulong *out)
{
	int negative = *s == '-', base = 10;
	ulong value = 0;

	if (negative)
		s++;
	if (s[0] == '0' && s[1] == 'x') {
		base = 16;
		s += 2;
	}
	if (!*s)
		return 0;
	for (; *s; s++) {
		int digit;

		if (*s >= '0' && *s <= '9')
			digit = *s - '0';
		else if (base == 16 && *s >= 'a' && *s <= 'f')
			digit = *s - 'a' + 10;
		else
			return 0;
		value = value * base + digit;
	}
	*out = negative ? 0 - value : value;
	return 1;
}

static ulong argument(const char *s)
{
	ulong value, at = text_used;

	if (same(s, "buf"))
		return (ulong)buffer;
	if (*s == '@') {
		if (at + length(s) > sizeof text)
			usage(s);
		while (*++s)
			text[text_used++] = *s;
		text[text_used++] = 0;
		return (ulong)&text[at];
	}
	if (!number(s, &value))
		usage(s);
	return value;
}

static long call_number(const char *s, int compat)
{
	ulong value;

	for (ulong i = 0; i < sizeof names / sizeof *names; i++)
		if (same(s, names[i].name))
			return compat ? names[i].compat : names[i].native;
	if (!number(s, &value))
		usage(s);
	return (long)value;
}

static void call(char **argv, int argc, int compat)
{
	ulong args[6] = { 0 };
	long nr, ret;

	if (argc < 1 || argc > 7)
		usage("call");
	nr = call_number(argv[0], compat);
	for (int i = 1; i < argc; i++)
		args[i - 1] = argument(argv[i]);
	ret = compat ? raw32(nr, args) : raw(nr, args);
	put(argv[0]);
	put(" = ");
	if (ret < 0 && ret >= -4095) {
		put("-1 ");
		put_number(-ret);
	} else {
		put_number(ret);
		put(" 0");
	}
	flush();
}

/* Appends " Key=value" for a line "Key:\tvalue" of a status file. */
static void put_field(const char *key)
{
	const char *s = statusfile;
	ulong n = length(key);

	for (; *s; s++) {
		ulong i = 0;

		while (i < n && s[i] == key[i])
			i++;
		if (i == n && s[n] == ':') {
			put_char(' ');
			put(key);
			put_char('=');
			for (s += n + 1; *s == ' ' || *s == '\t'; s++)
				;
			while (*s && *s != '\n' && *s != '\t')
				put_char(*s++);
			return;
		}
		while (*s && *s != '\n')
			s++;
		if (!*s)
			break;
	}
}

static void status_of(const char *who, const char *path)
{
	long fd = sys(__NR_open, (ulong)path, 0, 0), n;
	ulong used = 0;

	put(who);
	if (fd < 0) {
		put(" unreadable ");
		put_number(-fd);
		flush();
		return;
	}
	while ((n = sys(__NR_read, fd, (ulong)statusfile + used, sizeof statusfile - 1 - used)) > 0)
		used += n;
	statusfile[used] = 0;
	sys(__NR_close, fd, 0, 0);
	put_field("Seccomp");
	put_field("Seccomp_filters");
	put_field("NoNewPrivs");
	put_field("CapEff");
	put_field("Uid");
	flush();
}

static int run(char **argv, int argc);

/* Runs the operation, or "status" without one, in a child and waits for it. */
static void forked(char **argv, int argc)
{
	int status = 0;
	ulong wait_args[6] = { 0 };
	long child = sys(__NR_fork, 0, 0, 0), got;

	if (child < 0) {
		put("fork = -1 ");
		put_number(-child);
		flush();
		return;
	}
	if (child == 0) {
		if (argc)
			quit(run(argv, argc));
		status_of("child", "/proc/self/status");
		quit(0);
	}
	wait_args[0] = child;
	wait_args[1] = (ulong)&status;
	do
		got = raw(__NR_wait4, wait_args);
	while (got == -EINTR);
	if (got == child && (status & 0x7f)) {
		put("killed ");
		put_number(status & 0x7f);
		flush();
	}
}

static void nap(ulong seconds)
{
	long time[2] = { (long)seconds, 0 };

	sys(__NR_nanosleep, (ulong)time, 0, 0);
}

/* struct sock_filter and struct sock_fprog: linux/filter.h. */
struct insn {
	unsigned short code;
	unsigned char jt, jf;
	unsigned int k;
};

static void filter(ulong nr, ulong errnum)
{
	struct insn insns[] = {
		{ 0x20, 0, 0, 0 },                                /* load nr */
		{ 0x15, 0, 1, (unsigned int)nr },                 /* is it CALL? */
		{ 0x06, 0, 0, 0x00050000 | (errnum & 0xffff) },   /* ERRNO */
		{ 0x06, 0, 0, 0x7fff0000 },                       /* ALLOW */
	};
	struct { unsigned short len; struct insn *insns; } program = { 4, insns };
	long ret = sys(__NR_seccomp, 1, 0, (ulong)&program);

	put("filter = ");
	put_number(-ret);
	flush();
}

static char **environment;

/* One operation; its exit status. */
static int run(char **argv, int argc)
{
	const char *op = argv[0];

	if (same(op, "status") && argc == 1) {
		status_of("self", "/proc/self/status");
		status_of("pid1", "/proc/1/status");
		forked(0, 0);
	} else if (same(op, "call")) {
		call(argv + 1, argc - 1, 0);
	} else if (same(op, "call32")) {
		call(argv + 1, argc - 1, 1);
	} else if (same(op, "fork") && argc > 1) {
		forked(argv + 1, argc - 1);
	} else if (same(op, "print") && argc == 2) {
		put(argv[1]);
		flush();
	} else if (same(op, "sleep") && argc == 2) {
		nap(argument(argv[1]));
	} else if (same(op, "filter") && argc == 3) {
		filter(call_number(argv[1], 0), argument(argv[2]));
	} else if (same(op, "exec") && argc > 1) {
		put("exec = ");
		put_number(-sys(__NR_execve, (ulong)argv[1], (ulong)(argv + 1),
			(ulong)environment));
		flush();
		return 1;
	} else if (same(op, "exit") && argc == 2) {
		quit((int)argument(argv[1]));
	} else {
		usage(op);
	}
	return 0;
}

_Noreturn __attribute__((used)) void entry(ulong *stack)
{
	int argc = (int)stack[0], at = 1;
	char **argv = (char **)(stack + 1);

	environment = argv + argc + 1;
	if (argc < 2)
		usage("no operation");
	while (at < argc) {
		int end = same(argv[at], "exec") ? argc : at;

		while (end < argc && !same(argv[end], "--"))
			end++;
		if (end == at)
			usage("an empty operation");
		run(argv + at, end - at);
		at = end + 1;
	}
	quit(0);
}
