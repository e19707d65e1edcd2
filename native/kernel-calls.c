/*
 * What the programs need of the kernel and Node does not offer, as a library that Node loads (program/kernel-calls.ts).
 * It has no C library either, so it fits every Node on glibc and musl.
 */
#define LIBRARY
#include "system.h"

/* Of Node-API (node_api.h), which every Node keeps compatible. */
typedef void *value;
typedef void *environment;
typedef value (*callback)(environment, void *);
int napi_create_function(environment, const char *, word, callback, void *, value *);
int napi_set_named_property(environment, value, const char *, value);
int napi_get_cb_info(environment, void *, word *, value *, value *, void **);
int napi_get_value_int32(environment, value, int *);
int napi_get_typedarray_info(environment, value, int *, word *, void **, value *, word *);
int napi_create_int32(environment, int, value *);

enum { ENOSYS = 38, ENOTSOCK = 88 };
enum { MSG_DONTWAIT = 0x40, MSG_NOSIGNAL = 0x4000, RWF_NOWAIT = 8, SPLICE_F_NONBLOCK = 2, POLLOUT = 4 };
enum { PR_SET_CHILD_SUBREAPER = 36 };
enum { P_ALL = 0, P_PID = 1, WNOHANG = 1, WEXITED = 4, WNOWAIT = 0x1000000, CLD_KILLED = 2, CLD_DUMPED = 3 };
enum { SIGTERM = 15, SIGCHLD = 17, REAL_TIME = 34, O_NONBLOCK_CLOEXEC = 0x80800 };
struct bytes {
  const char *at;
  word size;
};

struct poll {
  int fd;
  short wanted;
  short found;
};

struct child_information {
  int signal, error, code, unused;
  int pid, user, status;
  char rest[128 - 7 * sizeof(int)];
};

static int is_answer(long result) { return result >= 0 || result == -EAGAIN || result == -EINTR || result == -32; }

/* By reference: the pipe keeps the pages, so they must not be written to again. */
static long splice(int fd, struct bytes bytes) {
  char *copy = memory(bytes.size);
  if (!copy) return -EAGAIN;
  memcpy(copy, bytes.at, bytes.size);
  struct bytes pages = {copy, bytes.size};
  long result = call4(SYS_vmsplice, fd, (long)&pages, 1, SPLICE_F_NONBLOCK);
  call3(SYS_munmap, (long)copy, (long)bytes.size, 0);
  return result;
}

/*
 * Writes what can be written without waiting, and leaves the open file as it is: O_NONBLOCK would hold for every process
 * that has it. A socket; a pipe, from Linux 6.5 on; an older pipe; a terminal, of which poll(2) says only that one byte fits.
 */
static long write_now(int fd, struct bytes bytes, int newest) {
  long result = system_call(SYS_sendto, fd, (long)bytes.at, (long)bytes.size, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
  if (result != -ENOTSOCK) return result;
  result = newest ? system_call(SYS_pwritev2, fd, (long)&bytes, 1, -1, -1, RWF_NOWAIT) : -ENOSYS;
  if (is_answer(result)) return result;
  result = splice(fd, bytes);
  if (is_answer(result)) return result;
  struct poll poll = {fd, POLLOUT, 0};
  word no_time[2] = {0, 0};
  if (system_call(SYS_ppoll, (long)&poll, 1, (long)no_time, 0, 0, 0) < 1) return -EAGAIN;
  return call3(SYS_write, fd, (long)bytes.at, 1);
}

/* Node has no name for real-time signals: a child that dies of one has exit code 0. */
static int followed;
static volatile int killed_by;
static struct action before;

static void look_at_followed(void) {
  struct child_information found = {0};
  long result = system_call(SYS_waitid, P_PID, followed, (long)&found, WEXITED | WNOHANG | WNOWAIT, 0, 0);
  if (result == 0 && found.pid == followed && (found.code == CLD_KILLED || found.code == CLD_DUMPED))
    killed_by = found.status;
}

/* Node waits for its children only later, in its event loop. */
static void on_child(int signal) {
  look_at_followed();
  ((void (*)(int))before.handler)(signal);
}

/* Where the numbers of real-time signals are written, a byte each. */
static int heard = -1;

static void on_real_time(int signal) {
  char number = (char)signal;
  call3(SYS_write, heard, (long)&number, 1);
}

static int arguments_of(environment env, void *info, value *values, word count) {
  word given = count;
  return napi_get_cb_info(env, info, &given, values, 0, 0) == 0 && given == count;
}

static int integer(environment env, value from) {
  int found = -1;
  napi_get_value_int32(env, from, &found);
  return found;
}

static value as_value(environment env, long number) {
  value made = 0;
  napi_create_int32(env, (int)number, &made);
  return made;
}

/* writeNow(fd, bytes, newest): how many bytes were written, or the number of the error, negative. */
static value call_write_now(environment env, void *info) {
  value given[3];
  if (!arguments_of(env, info, given, 3)) return 0;
  int type;
  word size = 0;
  void *at = 0;
  if (napi_get_typedarray_info(env, given[1], &type, &size, &at, 0, 0) != 0) return 0;
  struct bytes bytes = {at, size};
  return as_value(env, size ? write_now(integer(env, given[0]), bytes, integer(env, given[2])) : 0);
}

/*
 * follow(pid): from now on killedBy() returns the signal that this child died of. Call it right after the child was
 * started.
 */
static value call_follow(environment env, void *info) {
  value given[1];
  if (!arguments_of(env, info, given, 1)) return 0;
  followed = integer(env, given[0]);
  killed_by = 0;
  struct action now;
  if (call4(SYS_rt_sigaction, SIGCHLD, 0, (long)&now, sizeof(word)) != 0) return 0;
  if (now.handler != SIG_DFL && now.handler != SIG_IGN && now.handler != (word)on_child) {
    before = now;
    now.handler = (word)on_child;
    call4(SYS_rt_sigaction, SIGCHLD, (long)&now, 0, sizeof(word));
  }
  look_at_followed();
  return 0;
}

static value call_killed_by(environment env, void *info) {
  (void)info;
  return as_value(env, killed_by);
}

/*
 * hearRealTime(): catches every real-time signal. Returns the pipe that says which, or -1. Node has a handler
 * already.
 */
static value call_hear_real_time(environment env, void *info) {
  (void)info;
  int ends[2];
  struct action action;
  if (heard != -1 || call4(SYS_rt_sigaction, SIGTERM, 0, (long)&action, sizeof(word)) != 0) return as_value(env, -1);
  if (action.handler == SIG_DFL || action.handler == SIG_IGN) return as_value(env, -1);
  if (call3(SYS_pipe2, (long)ends, O_NONBLOCK_CLOEXEC, 0) != 0) return as_value(env, -1);
  heard = ends[1];
  action.handler = (word)on_real_time;
  for (int signal = REAL_TIME; signal <= SIGNALS; signal++)
    call4(SYS_rt_sigaction, signal, (long)&action, 0, sizeof(word));
  return as_value(env, ends[0]);
}

/* beDefault(signal): from now on the signal does what it does by default. */
static value call_be_default(environment env, void *info) {
  value given[1];
  struct action action = {0};
  if (arguments_of(env, info, given, 1))
    call4(SYS_rt_sigaction, integer(env, given[0]), (long)&action, 0, sizeof(word));
  return 0;
}

/* reap(own): waits for every ended child that is not in `own`, an Int32Array. Returns how many. */
static value call_reap(environment env, void *info) {
  value given[1];
  if (!arguments_of(env, info, given, 1)) return 0;
  int type, reaped = 0;
  word count = 0;
  void *own = 0;
  if (napi_get_typedarray_info(env, given[0], &type, &count, &own, 0, 0) != 0) return 0;
  while (1) {
    struct child_information found = {0};
    if (system_call(SYS_waitid, P_ALL, 0, (long)&found, WEXITED | WNOHANG | WNOWAIT, 0, 0) != 0 || !found.pid) break;
    int is_own = 0;
    for (word at = 0; at < count; at++) is_own |= ((int *)own)[at] == found.pid;
    /* Node waits for this child in a moment; children behind it in the list follow with the next call. */
    if (is_own || call4(SYS_wait4, found.pid, 0, WNOHANG, 0) != found.pid) break;
    reaped++;
  }
  return as_value(env, reaped);
}

/* adopt(): orphaned descendants become children of this process, not of PID 1. */
static value call_adopt(environment env, void *info) {
  (void)info;
  return as_value(env, call3(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0));
}

/* noCore(): this process leaves no core file, whatever ends it. */
static value call_no_core(environment env, void *info) {
  (void)env, (void)info;
  struct limit limit;
  if (call4(SYS_prlimit64, 0, RLIMIT_CORE, 0, (long)&limit) == 0) {
    limit.soft = 0;
    call4(SYS_prlimit64, 0, RLIMIT_CORE, (long)&limit, 0);
  }
  return 0;
}

static void offer(environment env, value exports, const char *name, callback call) {
  value made = 0;
  if (napi_create_function(env, name, length(name), call, 0, &made) == 0)
    napi_set_named_property(env, exports, name, made);
}

__attribute__((visibility("default"))) value napi_register_module_v1(environment env, value exports) {
  offer(env, exports, "writeNow", call_write_now);
  offer(env, exports, "follow", call_follow);
  offer(env, exports, "killedBy", call_killed_by);
  offer(env, exports, "hearRealTime", call_hear_real_time);
  offer(env, exports, "beDefault", call_be_default);
  offer(env, exports, "reap", call_reap);
  offer(env, exports, "adopt", call_adopt);
  offer(env, exports, "noCore", call_no_core);
  return exports;
}
