/*
 * A hypervisor made of files, preloaded into Debian's C xenstored so that it runs, rings and all, on any machine.
 *
 * $FAKE_HOST names a directory:
 *   domain.N   exists while domain N does; its first byte is 'r' (running), 's' (shut down) or 'd' (dying)
 *   ring.N     the page that domain N shares with the daemon
 *   events     a pipe; four bytes written to it are the number of a port that has an event
 * A port that is bound to port P of domain N has the number N * 65536 + P; VIRQ_DOM_EXC has 1.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct info {
    uint32_t domid, ssidref;
    unsigned int dying : 1, crashed : 1, shutdown : 1;
    char rest[200];
};

static char handle;
static int events = -1;

static int open_entry(const char *kind, unsigned int number, int flags)
{
    char path[512];
    static int (*real_open)(const char *, int, ...);

    if (!real_open)
        real_open = dlsym(RTLD_NEXT, "open");
    if (kind[0] == 'e')
        snprintf(path, sizeof(path), "%s/events", getenv("FAKE_HOST"));
    else
        snprintf(path, sizeof(path), "%s/%s.%u", getenv("FAKE_HOST"), kind, number);
    return real_open(path, flags);
}

int open(const char *path, int flags, ...)
{
    static int (*real_open)(const char *, int, ...);
    va_list list;
    int mode;

    va_start(list, flags);
    mode = va_arg(list, int);
    va_end(list);
    if (!strcmp(path, "/proc/xen/xsd_kva"))
        return open_entry("ring", 0, O_RDWR);
    if (!strcmp(path, "/proc/xen/xsd_port"))
        return open_entry("port", 0, O_RDONLY);
    if (!real_open)
        real_open = dlsym(RTLD_NEXT, "open");
    return real_open(path, flags, mode);
}

void *xc_interface_open(void *logger, void *dom_logger, unsigned int flags) { return &handle; }
int xc_interface_close(void *xc) { return 0; }

int xc_domain_getinfo(void *xc, uint32_t domid, unsigned int count, struct info *info)
{
    char state = 0;
    int fd = open_entry("domain", domid, O_RDONLY);

    if (fd < 0)
        return 0;
    if (read(fd, &state, 1) != 1)
        state = 'r';
    close(fd);
    memset(info, 0, 24);
    info->domid = domid;
    info->shutdown = state == 's';
    info->dying = state == 'd';
    return 1;
}

void *xengnttab_open(void *logger, unsigned int flags) { return &handle; }
int xengnttab_close(void *gnttab) { return 0; }
int xengnttab_set_max_grants(void *gnttab, uint32_t count) { return 0; }

void *xengnttab_map_grant_ref(void *gnttab, uint32_t domid, uint32_t ref, int prot)
{
    int fd = open_entry("ring", domid, O_RDWR);
    void *page;

    if (fd < 0)
        return NULL;
    page = mmap(NULL, 4096, prot, MAP_SHARED, fd, 0);
    close(fd);
    return page == MAP_FAILED ? NULL : page;
}

int xengnttab_unmap(void *gnttab, void *page, uint32_t count) { return munmap(page, 4096); }

void *xenevtchn_open(void *logger, unsigned int flags)
{
    events = open_entry("events", 0, O_RDWR);
    return events < 0 ? NULL : &handle;
}

void *xenevtchn_fdopen(void *logger, int fd, unsigned int flags)
{
    events = fd;
    return &handle;
}

int xenevtchn_fd(void *xce) { return events; }
int xenevtchn_bind_interdomain(void *xce, uint32_t domid, uint32_t port) { return domid * 65536 + port; }
int xenevtchn_bind_virq(void *xce, unsigned int virq) { return 1; }
int xenevtchn_unbind(void *xce, uint32_t port) { return 0; }
int xenevtchn_notify(void *xce, uint32_t port) { return 0; }
int xenevtchn_unmask(void *xce, uint32_t port) { return 0; }

int xenevtchn_pending(void *xce)
{
    uint32_t port;

    return read(events, &port, 4) == 4 ? (int)port : -1;
}
