/* The first process of a container with `init: true`: passes signals on to the program, collects every process that
 * ends, and ends as the program does. It is executed with argv[1] the program's pid and all signals blocked; the
 * program is its child already. No C library; see scripts/build_programs.py. */

enum { SIGCHLD = 17, SIGTTIN = 21, SIGTTOU = 22, WNOHANG = 1 };

#if defined(__x86_64__)
enum { SYS_write = 1, SYS_kill = 62, SYS_wait4 = 61, SYS_exit_group = 231, SYS_rt_sigtimedwait = 128 };
__asm__(".globl _start\n_start:\n mov %rsp, %rdi\n and $-16, %rsp\n call run\n");
static long call(long number, long a, long b, long c, long d)
{
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
enum { SYS_write = 64, SYS_kill = 129, SYS_wait4 = 260, SYS_exit_group = 94, SYS_rt_sigtimedwait = 137 };
__asm__(".globl _start\n_start:\n mov x0, sp\n bl run\n");
static long call(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#endif

__attribute__((noreturn, used)) void run(long *stack)
{
    const char *text = (const char *)stack[2]; /* stack: argc, argv[0], argv[1] */
    unsigned long every = ~0ul;
    long program = 0;

    if (!text) { /* a process of the container has executed /proc/1/exe */
        static const char note[] = "exec /proc/1/exe: this is no program of the image\n";
        call(SYS_write, 2, (long)note, sizeof note - 1, 0);
        call(SYS_exit_group, 127, 0, 0, 0);
    }
    while (*text)
        program = program * 10 + (*text++ - '0');
    for (;;) {
        long number = call(SYS_rt_sigtimedwait, (long)&every, 0, 0, sizeof every);
        if (number == SIGCHLD) {
            int status;
            long pid;
            while ((pid = call(SYS_wait4, -1, (long)&status, WNOHANG, 0)) > 0)
                if (pid == program)
                    call(SYS_exit_group, status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff, 0, 0, 0);
        } else if (number > 0 && number != SIGTTIN && number != SIGTTOU) {
            call(SYS_kill, program, number, 0, 0);
        }
    }
}
