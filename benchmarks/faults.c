/* Loaded before the C library: the files of one folder meet a fault at the n-th operation that changes them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NONE, KILLED, FULL, READ_ONLY, CLOCK };
static char folder[4096];
static int kind;
static long at, count;

void fault_arm(const char *where, int what, long when) {
    snprintf(folder, sizeof folder, "%s", where);
    kind = what, at = when, count = 0;
}
long fault_count(void) { return count; }

/* Whether an operation on `path` meets the fault; it never comes back from being killed. */
static int meets(const char *path) {
    if (!folder[0] || strncmp(path, folder, strlen(folder))) return 0;
    if (++count < at || kind == NONE || kind == CLOCK) return 0;
    if (kind == KILLED) {
        if (count == at) kill(getpid(), SIGKILL);
        return 0;
    }
    errno = kind == FULL ? ENOSPC : EROFS;
    return 1;
}
static const char *path_of(int fd) {
    static __thread char path[4096];
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = 0;
    return path;
}
#define NEXT(name) __typeof__(&name) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPENS(name)                                                                       \
    int name(const char *path, int flags, ...) {                                          \
        va_list rest;                                                                     \
        va_start(rest, flags);                                                            \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;           \
        va_end(rest);                                                                     \
        NEXT(name);                                                                       \
        return flags & (O_WRONLY | O_RDWR | O_CREAT) && meets(path) ? -1 : next(path, flags, mode); \
    }
OPENS(open)
OPENS(open64)

/* Half of a write arrives. */
ssize_t write(int fd, const void *data, size_t size) {
    NEXT(write);
    if (folder[0] && size > 1 && count + 1 == at && kind != READ_ONLY && !strncmp(path_of(fd), folder, strlen(folder))) {
        ssize_t written = next(fd, data, size / 2);
        return meets(path_of(fd)) ? written : next(fd, (const char *)data + size / 2, size - size / 2) + written;
    }
    return folder[0] && meets(path_of(fd)) ? -1 : next(fd, data, size);
}
int fsync(int fd) {
    NEXT(fsync);
    return folder[0] && meets(path_of(fd)) ? -1 : next(fd);
}
int rename(const char *from, const char *to) {
    NEXT(rename);
    return meets(to) ? -1 : next(from, to);
}
int mkdir(const char *path, mode_t mode) {
    NEXT(mkdir);
    return meets(path) ? -1 : next(path, mode);
}
int chmod(const char *path, mode_t mode) {
    NEXT(chmod);
    return meets(path) ? -1 : next(path, mode);
}

/* A day forth and back at every look at it. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int looks;
    NEXT(clock_gettime);
    int result = next(clock, now);
    if (kind == CLOCK && clock == CLOCK_REALTIME && !result) now->tv_sec += ++looks % 2 ? 86400 : -86400;
    return result;
}
