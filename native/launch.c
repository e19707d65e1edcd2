/*
 * The programs' launcher: /usr/bin/NAME. It replaces itself by Node, so the process that was started is the program.
 *
 * It is no shell script, because a shell does not hand on the environment as it came: dash drops every name that is no
 * shell identifier, adds PWD, and overwrites what has the name of a variable of the script.
 *
 * Variables that speak to Node, OpenSSL or the dynamic linker are meant for other programs of the host. The launcher
 * hides each from Node by clearing bit 6 of its first byte ("NODE_OPTIONS" becomes "\x0eODE_OPTIONS"). Nothing moves, so
 * the agent can hand on every byte (agent/child/inherited.pure.ts).
 */
#include "system.h"

/* Kept in step by test/unit/scripts/launcher.test.ts. */
enum { HIDING_BIT = 0x40 };
/* EX_CONFIG: systemd does not try again (RestartPreventExitStatus=). */
enum { WRONG_CONFIGURATION = 78 };
static const char HIDDEN[][10] = {"NODE_", "OPENSSL_", "SSL_CERT_", "UV_", "LD_", "GRPC_", ""};

/*
 * Node resets dispositions and mask as it starts, raises its limit of open files, and opens files of its own. So it is
 * told what it was started with: ignored and blocked signals and the soft limit, 16 hexadecimal digits each, and the
 * open files beside the standard ones (agent/child/inherited.pure.ts).
 */
#define STARTED_WITH "\x01STARTED_WITH=0000000000000000,0000000000000000,0000000000000000,"
enum { IGNORED_AT = 14, BLOCKED_AT = 31, FILES_AT = 48, LIST_AT = 65, MOST_FILES = 1024, FILE_DIGITS = 5 };

/*
 * Filled in by scripts/launcher.ts, each text ended by a NUL, each list by an empty text: the program's name; where its
 * Node may be; Node's flags; the program's code. Paths are relative to the folder above the launcher's own.
 */
__attribute__((used)) static const char settings[1024] = "@@LAUNCHER-SETTINGS@@";

static const char *next(const char *text) { return text + length(text) + 1; }

static int is_hidden(const char *entry) {
  for (int at = 0; HIDDEN[at][0]; at++)
    if (starts(entry, HIDDEN[at])) return 1;
  return 0;
}

/* "BASE/../PATH" into `to`. Returns 0 if it is too long. */
static int join(char *to, const char *folder, word folder_length, const char *path) {
  word path_length = length(path);
  if (folder_length + path_length + 1 > PATH_MAX) return 0;
  memcpy(to, folder, folder_length);
  memcpy(to + folder_length, path, path_length + 1);
  return 1;
}

static word folder_of(const char *path) {
  word end_of_folder = 0;
  for (word at = 0; path[at]; at++)
    if (path[at] == '/') end_of_folder = at + 1;
  return end_of_folder;
}

/* "FOLDER/../" of this program, without its link, into `base`. Returns its length. */
static word find_base(char *base, char **envp) {
  char self[PATH_MAX] = {0};
  if (call4(SYS_readlinkat, AT_FDCWD, (long)"/proc/self/exe", (long)self, PATH_MAX - 1) <= 0) {
    /* No /proc: the path that the kernel was asked to execute (AT_EXECFN, 31), its link followed. */
    word *auxiliary = (word *)envp;
    while (*auxiliary) auxiliary++;
    for (auxiliary++; *auxiliary && *auxiliary != 31; auxiliary += 2)
      ;
    const char *name = *auxiliary ? (const char *)auxiliary[1] : "";
    char link[PATH_MAX] = {0};
    long size = call4(SYS_readlinkat, AT_FDCWD, (long)name, (long)link, PATH_MAX - 1);
    word folder = size > 0 && link[0] != '/' ? folder_of(name) : 0;
    if (!join(self, name, folder, size > 0 ? link : name)) return 0;
  }
  word folder = folder_of(self);
  return join(base, self, folder, "../") ? folder + 3 : 0;
}

static void hexadecimal(char *digits, word value) {
  for (int at = 15; at >= 0; at--, value >>= 4) digits[at] = "0123456789abcdef"[value & 15];
}

static void note_signals(char *text) {
  word ignored = 0, blocked = 0;
  for (int signal = 1; signal <= SIGNALS; signal++) {
    struct action action = {0};
    if (call4(SYS_rt_sigaction, signal, 0, (long)&action, sizeof(word)) == 0 && action.handler == SIG_IGN)
      ignored |= 1UL << (signal - 1);
  }
  call4(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&blocked, sizeof(word));
  hexadecimal(text + IGNORED_AT, ignored);
  hexadecimal(text + BLOCKED_AT, blocked);
}

/*
 * Writes the limit and the numbers of the open files, each with a blank behind it. Asks for each number: /proc may be
 * missing.
 */
static void note_files(char *text) {
  struct limit limit = {0};
  call4(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, (long)&limit);
  hexadecimal(text + FILES_AT, limit.soft);
  char *at = text + LIST_AT;
  for (int file = 3; file < MOST_FILES; file++) {
    long flags = call3(SYS_fcntl, file, F_GETFD, 0);
    if (flags < 0 || flags & FD_CLOEXEC) continue;
    for (int unit = file < 10 ? 1 : file < 100 ? 10 : file < 1000 ? 100 : 1000; unit; unit /= 10)
      *at++ = (char)('0' + file / unit % 10);
    *at++ = ' ';
  }
  *at = 0;
}

/* Returns why the Node that was found cannot be executed; 0 if none was found. */
static long try_node(const char *path, char **argv, char **envp) {
  long result = call3(SYS_execve, (long)path, (long)argv, (long)envp);
  return call3(SYS_faccessat, AT_FDCWD, (long)path, 0) == 0 ? result : 0;
}

/* Searches as execvp(3) does. */
static void try_path(const char *search, char **argv, char **envp) {
  char path[PATH_MAX];
  while (1) {
    word size = 0;
    while (search[size] && search[size] != ':') size++;
    if (size > 0 && size + 6 < PATH_MAX) {
      memcpy(path, search, size);
      memcpy(path + size, "/node", 6);
      call3(SYS_execve, (long)path, (long)argv, (long)envp);
    }
    if (!search[size]) return;
    search += size + 1;
  }
}

static void explain(const char *name, long failure) {
  say(name);
  if (failure == 0) {
    say(": Cannot find Node.js. Install Node.js 24 or later (nodejs.org/en/download), or a package of this program: it brings its own\n");
    return;
  }
  if (failure == -ENOENT)
    say(": Cannot start: its own Node.js needs glibc, which this system lacks (Alpine has musl)");
  else if (failure == -ENOEXEC)
    say(": Cannot start: its own Node.js is for another processor");
  else
    say(": Cannot start: its own Node.js may not be executed here (permissions, or a file system mounted noexec)");
  say(", and no other Node.js is on PATH. Install Node.js 24 or later (Alpine 3.23: apk add nodejs)\n");
}

__attribute__((used, noreturn)) void begin(word *stack) {
  word argc = *stack;
  char **argv = (char **)(stack + 1);
  char **envp = argv + argc + 1;

  char base[PATH_MAX];
  word base_length = find_base(base, envp);
  const char *name = settings;
  /* Keeps the compiler from assuming the text. */
  __asm__("" : "+r"(name));
  const char *nodes = next(name);
  const char *flags = nodes;
  while (*flags) flags = next(flags);
  flags++;

  word variables = 0;
  const char *search = "/usr/local/bin:/usr/bin:/bin";
  for (; envp[variables]; variables++) {
    if (is_hidden(envp[variables])) envp[variables][0] &= ~HIDING_BIT;
    if (starts(envp[variables], "PATH=")) search = envp[variables] + 5;
  }
  char *environment[variables + 2];
  memcpy(environment, envp, variables * sizeof(char *));
  char started_with[LIST_AT + MOST_FILES * FILE_DIGITS + 1];
  memcpy(started_with, STARTED_WITH, LIST_AT);
  note_signals(started_with);
  note_files(started_with);
  environment[variables++] = started_with;
  environment[variables] = 0;

  char *arguments[argc + 32];
  word count = 0;
  arguments[count++] = argc > 0 ? argv[0] : (char *)name;
  const char *flag = flags;
  for (; *flag && count < 24; flag = next(flag)) arguments[count++] = (char *)flag;
  char code[PATH_MAX];
  if (base_length == 0 || !join(code, base, base_length, flag + 1)) {
    say(name);
    say(": Cannot start: the path of this program is too long\n");
    end(WRONG_CONFIGURATION);
  }
  arguments[count++] = code;
  for (word at = 1; at < argc; at++) arguments[count++] = argv[at];
  arguments[count] = 0;

  char path[PATH_MAX];
  long failure = 0;
  for (const char *node = nodes; *node; node = next(node)) {
    if (!join(path, base, base_length, node)) continue;
    long result = try_node(path, arguments, environment);
    if (failure == 0) failure = result;
  }
  try_path(search, arguments, environment);
  explain(name, failure);
  end(WRONG_CONFIGURATION);
}
