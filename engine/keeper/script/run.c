/* A container's first process before it is the user's program: carries out system calls that the keeper has written down
 * in a file in memory, which is mapped here (engine/keeper/script/script.py says what the words mean). So small a process is made and
 * replaced in a fraction of the time that a fork of the keeper takes. No C library; see scripts/build_programs.py.
 *
 *     keeper ── spawn: clone3(CLONE_VM | CLONE_VFORK, namespaces) ──▶ begin: places descriptors, executes this program
 *                                                                      └─▶ run: the calls, one after the other
 */

typedef unsigned long word;

struct op {
    int number;               /* of a system call, or one of the below */
    unsigned short to;        /* the register that its result is put into */
    unsigned short registers; /* a bit for each argument that is the number of a register */
    short allowed[2];         /* errors that are no failure */
    unsigned flags;           /* … and how many operations to skip when there was no error, from bit 8 on */
    long arguments[6];
};
enum { STORE = -1, EQUAL = -2, DIFFER = -3, GO_ON = -4 };
enum { ANY = 1, END = 2, NOTE = 4, ABSENT = 8 };

struct head {
    struct op *next;   /* where GO_ON goes on */
    struct op *failed; /* 0: none has */
    long error;        /* of that one */
    long noted;        /* the first error of an operation with NOTE */
    long begun;
    long registers[507];
    struct op first[];
};

struct start {
    long moves[6][2]; /* descriptors: from, to; from is never one of the places, -1: no more */
    long program;
    const char *empty;
    char **argv, **envp;
};

enum { BASE = 0x200000000, SIZE = 0x1000000, PLACE = 3, READ_WRITE = 3, SHARED_FIXED = 0x11, AT_EMPTY_PATH = 0x1000 };
enum { EINTR = 4, EBADF = 9, EAGAIN = 11, EXDEV = 18, SYS_openat2 = 437, LAST_ERROR = 4095 };

#if defined(__x86_64__)
enum { SYS_write = 1, SYS_mmap = 9, SYS_exit_group = 231, SYS_dup3 = 292, SYS_execveat = 322 };
__asm__(".globl _start\n_start:\n and $-16, %rsp\n call run\n"
        ".org _start + 32\n.globl spawn\nspawn:\n mov %rdx, %r9\n mov $435, %eax\n syscall\n test %rax, %rax\n je 1f\n ret\n"
        "1: mov %r9, %rdi\n and $-16, %rsp\n call begin\n");
#elif defined(__aarch64__)
enum { SYS_write = 64, SYS_mmap = 222, SYS_exit_group = 94, SYS_dup3 = 24, SYS_execveat = 281 };
__asm__(".globl _start\n_start:\n bl run\n"
        ".org _start + 32\n.globl spawn\nspawn:\n mov x9, x2\n mov x8, #435\n svc #0\n cbz x0, 1f\n ret\n"
        "1: mov x0, x9\n bl begin\n");
#endif
#include "../../kernel/call.h"

__attribute__((noreturn)) static void end(long code)
{
    for (;;)
        call(SYS_exit_group, code, 0, 0, 0, 0, 0);
}

__attribute__((noreturn)) static void leave(void)
{
    end(125);
}

/* In the keeper's memory, which it waits for: nothing of it may be written to. */
__attribute__((noreturn, used)) void begin(const struct start *start)
{
    for (int i = 0; i < 6 && start->moves[i][0] >= 0; i++)
        call(SYS_dup3, start->moves[i][0], start->moves[i][1], 0, 0, 0, 0);
    call(SYS_execveat, start->program, (long)start->empty, (long)start->argv, (long)start->envp, AT_EMPTY_PATH, 0);
    leave();
}

__attribute__((noreturn, used)) void run(void)
{
    struct head *head = (struct head *)BASE;
    long place = call(SYS_mmap, BASE, SIZE, READ_WRITE, SHARED_FIXED, PLACE, 0);
    if (place == -EBADF) { /* the container's program is /proc/self/exe, which is this program */
        static const char text[] = "exec /proc/self/exe: this is no program of the image\n";
        call(SYS_write, 2, (long)text, sizeof text - 1, 0, 0, 0);
        end(127);
    }
    if (place != BASE)
        leave();
    head->begun = 1;
    for (struct op *op = head->first;; op++) {
        long a[6], result;
        for (int i = 0; i < 6; i++)
            a[i] = op->registers >> i & 1 ? head->registers[op->arguments[i]] : op->arguments[i];
        if (op->number == STORE) {
            *(int *)a[0] = a[1];
            continue;
        }
        if (op->number == GO_ON) {
            op = head->next - 1;
            continue;
        }
        if (op->number == EQUAL || op->number == DIFFER) {
            result = ((*(word *)a[0] & a[1]) == (word)a[2]) == (op->number == EQUAL) ? 0 : -EXDEV;
        } else {
            int races = 100; /* where ".." leads is looked up again when somebody mounts or renames meanwhile, anywhere */
            do
                result = call(op->number, a[0], a[1], a[2], a[3], a[4], a[5]);
            while (result == -EINTR || (result == -EAGAIN && op->number == SYS_openat2 && races--));
        }
        if (result < 0 && result >= -LAST_ERROR) {
            if (op->flags & NOTE && -result != op->allowed[0] && -result != op->allowed[1]) {
                if (!head->noted)
                    head->noted = -result;
            } else if (!(op->flags & ANY) && -result != op->allowed[0] && -result != op->allowed[1]) {
                break_off:
                head->error = -result;
                head->failed = op;
                leave();
            }
        } else if (op->flags & ABSENT || (op->flags & END && !result)) {
            goto break_off;
        }
        head->registers[op->to] = result;
        if (result >= 0 || result < -LAST_ERROR)
            op += op->flags >> 8;
    }
}
