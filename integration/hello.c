/*
 * The smallest workload there is: write(1, "hello\n", 6), exit_group(7), and
 * nothing before, between or after. It starts under a filter that knows only
 * these two calls, so it shows that a profile need not allow anything for the
 * runtime's sake.
 *
 * Build: gcc -static -nostdlib -ffreestanding -o hello hello.c
 */
__asm__(
	".globl _start\n"
	"_start:\n"
#if defined(__x86_64__)
	"	mov $1, %eax\n" /* write */
	"	mov $1, %edi\n"
	"	lea text(%rip), %rsi\n"
	"	mov $6, %edx\n"
	"	syscall\n"
	"	mov $231, %eax\n" /* exit_group */
	"	mov $7, %edi\n"
	"	syscall\n"
	"	hlt\n"
#elif defined(__i386__)
	"	mov $4, %eax\n" /* write */
	"	mov $1, %ebx\n"
	"	mov $text, %ecx\n"
	"	mov $6, %edx\n"
	"	int $0x80\n"
	"	mov $252, %eax\n" /* exit_group */
	"	mov $7, %ebx\n"
	"	int $0x80\n"
	"	hlt\n"
#else
#error "no system call sequence for this architecture"
#endif
	".section .rodata\n"
	"text: .ascii \"hello\\n\"\n"
	".section .note.GNU-stack,\"\",@progbits\n");
