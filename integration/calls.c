/*
 * Makes one system call over and over, and prints how many nanoseconds all of
 * them took. It has no C library under it, and the time is that of the thread.
 *
 *   calls getppid|socket COUNT
 *
 * `getppid` is a call that a profile allows whatever its arguments, so that the
 * kernel need not ask the filter; `socket` is socket(-1, 0, 0), one that default
 * profiles check by its first argument, and that fails at once.
 *
 * Build: gcc -O1 -static -nostdlib -ffreestanding -fno-stack-protector -o calls calls.c
 */
#include <asm/unistd.h>
#include <linux/time.h>

typedef unsigned long ulong;

static inline long call(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return ret;
}

/* Of this thread alone: the turns of other processes are no part of it. */
static ulong now(void)
{
	struct timespec ts = { 0, 0 };

	call(__NR_clock_gettime, CLOCK_THREAD_CPUTIME_ID, (long)&ts, 0);
	return (ulong)ts.tv_sec * 1000000000UL + (ulong)ts.tv_nsec;
}

static ulong parse(const char *text)
{
	ulong n = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		n = n * 10 + (ulong)(*text - '0');
	return n;
}

static void print(ulong n)
{
	char text[24], *at = text + sizeof(text);

	*--at = '\n';
	do {
		*--at = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	call(__NR_write, 1, (long)at, text + sizeof(text) - at);
}

static long run(long nr, long first, ulong count)
{
	ulong start = now();

	while (count--)
		call(nr, first, 0, 0);
	print(now() - start);
	return 0;
}

/* The arguments as the kernel puts them on the stack: argc, argv[0] … */
__attribute__((used)) static void entry(ulong *stack)
{
	char **argv = (char **)(stack + 1);
	long status = 2;

	if (*stack == 3 && argv[1][0] == 'g')
		status = run(__NR_getppid, 0, parse(argv[2]));
	else if (*stack == 3 && argv[1][0] == 's')
		status = run(__NR_socket, -1, parse(argv[2]));
	for (;;)
		call(__NR_exit_group, status, 0, 0);
}

__asm__(
	".globl _start\n"
	"_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	and $-16, %rsp\n"
	"	call entry\n"
	"	hlt\n");
