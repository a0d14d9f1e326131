/* Loaded before the watchdog by `cargo xtask bench watchdog`: answers as a watchdog device and notes,
 * in the watchdog's own process, how long it was between two feeds. A device behind FUSE would add
 * the delays of its server to those of the watchdog.
 *
 * Whatever gets an ioctl of a watchdog is the device; a byte written to it feeds it. The notes are
 * four numbers of 64 bits in the file that FEED_GAP names: feeds, time of the last one, longest and
 * shortest gap, in nanoseconds of CLOCK_MONOTONIC. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct notes {
    uint64_t feeds, last, longest, shortest;
};

static volatile struct notes *notes;
static int device = -1;
static int timeout_s = 60;
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_ioctl)(int, unsigned long, void *);

static void begin(int fd)
{
    const char *path = getenv("FEED_GAP");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *page = file < 0 ? MAP_FAILED
                          : mmap(NULL, sizeof *notes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        _exit(71);
    close(file);
    notes = page;
    device = fd;
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (!real_ioctl)
        real_ioctl = dlsym(RTLD_NEXT, "ioctl");
    request = (uint32_t)request;
    if (_IOC_TYPE(request) != WATCHDOG_IOCTL_BASE)
        return real_ioctl(fd, request, argument);
    if (device < 0)
        begin(fd);
    switch (request) {
    case WDIOC_GETSUPPORT: {
        struct watchdog_info info = { .options = WDIOF_SETTIMEOUT | WDIOF_KEEPALIVEPING | WDIOF_MAGICCLOSE };
        memcpy(info.identity, "bench", sizeof "bench");
        memcpy(argument, &info, sizeof info);
        return 0;
    }
    case WDIOC_SETTIMEOUT:
        timeout_s = *(int *)argument;
        return 0;
    case WDIOC_GETTIMEOUT:
        *(int *)argument = timeout_s;
        return 0;
    case WDIOC_GETSTATUS:
    case WDIOC_GETBOOTSTATUS:
        *(int *)argument = 0;
        return 0;
    case WDIOC_SETOPTIONS:
        return 0;
    default:
        errno = ENOTTY;
        return -1;
    }
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    if (!real_write)
        real_write = dlsym(RTLD_NEXT, "write");
    if (fd != device || count == 0 || *(const char *)bytes == 'V')
        return real_write(fd, bytes, count);
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    uint64_t now = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
    uint64_t gap = now - notes->last;
    if (notes->feeds > 0 && gap > notes->longest)
        notes->longest = gap;
    if (notes->feeds > 0 && (notes->shortest == 0 || gap < notes->shortest))
        notes->shortest = gap;
    notes->last = now;
    notes->feeds++;
    return (ssize_t)count;
}
