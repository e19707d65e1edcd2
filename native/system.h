/*
 * System calls and strings for programs without a C library: they run on glibc, on musl and in an image that has neither.
 */
#ifndef SYSTEM_H
#define SYSTEM_H

typedef unsigned long word;

#if defined(__x86_64__)

enum {
  SYS_read = 0,
  SYS_write = 1,
  SYS_close = 3,
  SYS_rt_sigaction = 13,
  SYS_rt_sigprocmask = 14,
  SYS_mmap = 9,
  SYS_munmap = 11,
  SYS_sendto = 44,
  SYS_execve = 59,
  SYS_exit = 60,
  SYS_wait4 = 61,
  SYS_fcntl = 72,
  SYS_prctl = 157,
  SYS_waitid = 247,
  SYS_openat = 257,
  SYS_readlinkat = 267,
  SYS_faccessat = 269,
  SYS_ppoll = 271,
  SYS_vmsplice = 278,
  SYS_pipe2 = 293,
  SYS_prlimit64 = 302,
  SYS_pwritev2 = 328,
};

static inline long system_call(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

#ifndef LIBRARY
/* The kernel enters with the arguments on the stack, and does not align it as a caller of a function would. */
__asm__(".globl _start\n_start:\n  xor %ebp, %ebp\n  mov %rsp, %rdi\n  and $-16, %rsp\n  call begin\n  hlt\n");
#endif

#elif defined(__aarch64__)

enum {
  SYS_fcntl = 25,
  SYS_faccessat = 48,
  SYS_openat = 56,
  SYS_close = 57,
  SYS_pipe2 = 59,
  SYS_read = 63,
  SYS_write = 64,
  SYS_ppoll = 73,
  SYS_vmsplice = 75,
  SYS_readlinkat = 78,
  SYS_exit = 93,
  SYS_waitid = 95,
  SYS_rt_sigaction = 134,
  SYS_rt_sigprocmask = 135,
  SYS_sendto = 206,
  SYS_munmap = 215,
  SYS_execve = 221,
  SYS_mmap = 222,
  SYS_wait4 = 260,
  SYS_prctl = 167,
  SYS_prlimit64 = 261,
  SYS_pwritev2 = 287,
};

static inline long system_call(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}

#ifndef LIBRARY
__asm__(".globl _start\n_start:\n  mov x29, #0\n  mov x30, #0\n  mov x0, sp\n  bl begin\n  brk #0\n");
#endif

#else
#error "No system calls for this processor"
#endif

enum { ENOENT = 2, EINTR = 4, ENOEXEC = 8, EAGAIN = 11, EACCES = 13 };
enum { AT_FDCWD = -100, STANDARD_ERROR = 2, PATH_MAX = 4096, SIGNALS = 64 };
enum { SIG_BLOCK = 0, SIG_SETMASK = 2 };
enum { F_GETFD = 1, F_SETFD = 2, FD_CLOEXEC = 1 };
enum { RLIMIT_CORE = 4, RLIMIT_NOFILE = 7 };
enum { PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS = 0x22 };

struct limit {
  word soft;
  word hard;
};

/*
 * The kernel's own form, not the C library's: only the handler matters here. Both processors have the restorer, although
 * arm64 does not need it (SA_RESTORER in arch/arm64/include/uapi/asm/signal.h). The kernel writes all of it.
 */
struct action {
  word handler;
  word flags;
  word restorer;
  word mask;
};
_Static_assert(sizeof(struct action) == 32, "as large as the kernel's");
enum { SIG_DFL = 0, SIG_IGN = 1 };

static inline long call3(long number, long a, long b, long c) { return system_call(number, a, b, c, 0, 0, 0); }
static inline long call4(long number, long a, long b, long c, long d) { return system_call(number, a, b, c, d, 0, 0); }

/* 0 if there is no memory. */
static inline char *memory(word size) {
  long address = system_call(SYS_mmap, 0, (long)size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  return address < 0 && address > -4096 ? 0 : (char *)address;
}

__attribute__((noreturn)) static inline void end(int code) {
  for (;;) call3(SYS_exit, code, 0, 0);
}

/* The compiler may call these by itself. */
void *memcpy(void *to, const void *from, word size) {
  char *t = to;
  const char *f = from;
  for (word at = 0; at < size; at++) ((volatile char *)t)[at] = f[at];
  return to;
}

void *memset(void *to, int byte, word size) {
  for (word at = 0; at < size; at++) ((volatile char *)to)[at] = (char)byte;
  return to;
}

static inline word length(const char *text) {
  word at = 0;
  while (text[at]) at++;
  return at;
}

static inline int starts(const char *text, const char *with) {
  while (*with)
    if (*text++ != *with++) return 0;
  return 1;
}

static inline void say(const char *text) { call3(SYS_write, STANDARD_ERROR, (long)text, (long)length(text)); }

#endif
