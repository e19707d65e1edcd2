/*
 * Becomes another program whose arguments and environment are given as bytes: Node hands on text, so a byte that is not
 * UTF-8 and a name that is there twice would be lost.
 *
 *   exec-bytes FD
 *
 * reads from FD until its end, each text ended by a NUL: the size of all that follows in decimal; signals to ignore and
 * to block, 16 hexadecimal digits each; the path of the program; the number of its arguments; they; its environment.
 *
 * Exit status: as a shell's, 127 for a program that is not there and 126 for one that cannot be executed.
 */
#include "system.h"

enum { PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS = 0x22 };

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
    if (got == -4) continue; /* EINTR */
    if (got <= 0) return 0;
    filled += (word)got;
  }
  return 1;
}

static char *memory(word size) {
  long address = system_call(SYS_mmap, 0, (long)size, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  return address < 0 && address > -4096 ? 0 : (char *)address;
}

/* What the writer did not finish, it does not want: it has been killed. */
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
  if (size == 0 || !text || !pointers || !read_fully(fd, text, size)) end(127);
  call3(SYS_close, (long)fd, 0, 0);

  char *at = text;
  word ignored = hexadecimal(take(&at)), blocked = hexadecimal(take(&at));
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
  long result = call3(SYS_execve, (long)path, (long)pointers, (long)environment);
  end(result == -ENOENT ? 127 : 126);
}
