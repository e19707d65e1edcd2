/*
 * Becomes another program whose arguments and environment are given as bytes: Node hands on text, so a byte that is not
 * UTF-8 and a name that is there twice would be lost.
 *
 *   exec-bytes FD
 *
 * reads from the socket FD texts that end with a NUL each: the size of all that follows in decimal; signals to ignore
 * and to block, and the soft limit of open files (0 for as it is), 16 hexadecimal digits each; the path of the program;
 * the number of its arguments; the arguments; its environment. Then it waits for one byte more, which the watch over the
 * agent writes (agent/child/death-watch.io.ts). If FD ends before, the agent has been killed and nothing is started.
 *
 * FD closes when the program runs. Otherwise the number of the error is written to it, in decimal.
 *
 * Exit status: as a shell's, 127 for a program that is not there and 126 for one that cannot be executed.
 */
#include "system.h"

static char *take(char **at) {
  char *text = *at;
  *at += length(text) + 1;
  return text;
}

static word decimal(const char *text) {
  word value = 0;
  for (; *text >= '0' && *text <= '9'; text++) value = value * 10 + (word)(*text - '0');
  return value;
}

static word hexadecimal(const char *text) {
  word value = 0;
  for (; *text; text++) value = value << 4 | (word)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
  return value;
}

static int read_fully(word fd, char *to, word size) {
  for (word filled = 0; filled < size;) {
    long got = call3(SYS_read, (long)fd, (long)(to + filled), (long)(size - filled));
    if (got == -EINTR) continue;
    if (got <= 0) return 0;
    filled += (word)got;
  }
  return 1;
}

static void report(word fd, long error) {
  char digits[8];
  word at = sizeof digits;
  for (; error > 0 && at > 0; error /= 10) digits[--at] = (char)('0' + error % 10);
  call3(SYS_write, (long)fd, (long)(digits + at), (long)(sizeof digits - at));
}

/* Most likely built for another processor. */
static int is_binary(const char *path) {
  char first[4] = {0};
  long fd = call4(SYS_openat, AT_FDCWD, (long)path, 0, 0);
  if (fd < 0) return 1;
  call3(SYS_read, fd, (long)first, sizeof first);
  call3(SYS_close, fd, 0, 0);
  return first[0] == 0x7f && first[1] == 'E' && first[2] == 'L' && first[3] == 'F';
}

/* As execvp(3): a text file whose first line names no shell is a shell script. */
static long become(char *path, char **arguments, word count, char **environment) {
  long result = call3(SYS_execve, (long)path, (long)arguments, (long)environment);
  if (result != -ENOEXEC || is_binary(path)) return result;
  char *shell[count + 2];
  shell[0] = "/bin/sh";
  shell[1] = path;
  for (word at = 1; at <= count; at++) shell[at + 1] = arguments[at];
  return call3(SYS_execve, (long)shell[0], (long)shell, (long)environment);
}

/* A writer that did not finish has been killed, and wants nothing started. */
__attribute__((used, noreturn)) void begin(word *stack) {
  char **argv = (char **)(stack + 1);
  word fd = *stack > 1 ? decimal(argv[1]) : 0;
  char digits[20] = {0};
  for (word at = 0; at < sizeof digits - 1; at++) {
    if (!read_fully(fd, digits + at, 1)) end(127);
    if (digits[at] == 0) break;
  }
  word size = decimal(digits);
  char *text = memory(size + 1);
  char **pointers = (char **)memory((size + 4) * sizeof(char *));
  char go;
  if (size == 0 || !text || !pointers || !read_fully(fd, text, size) || !read_fully(fd, &go, 1)) end(127);
  call3(SYS_fcntl, (long)fd, F_SETFD, FD_CLOEXEC);

  char *at = text;
  word ignored = hexadecimal(take(&at)), blocked = hexadecimal(take(&at)), files = hexadecimal(take(&at));
  char *path = take(&at);
  word arguments = decimal(take(&at));
  word count = 0;
  while (count < arguments && at < text + size) pointers[count++] = take(&at);
  pointers[count++] = 0;
  char **environment = pointers + count;
  while (at < text + size) pointers[count++] = take(&at);
  pointers[count] = 0;

  struct action ignore = {0};
  ignore.handler = SIG_IGN;
  for (int signal = 1; signal <= SIGNALS; signal++)
    if (ignored >> (signal - 1) & 1) call4(SYS_rt_sigaction, signal, (long)&ignore, 0, sizeof(word));
  call4(SYS_rt_sigprocmask, SIG_SETMASK, (long)&blocked, 0, sizeof(word));
  struct limit limit;
  if (files && call4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit) == 0) {
    limit.soft = files;
    call4(SYS_prlimit64, 0, RLIMIT_NOFILE, (long)&limit, 0);
  }
  long result = become(path, pointers, arguments, environment);
  report(fd, -result);
  end(result == -ENOENT ? 127 : 126);
}
