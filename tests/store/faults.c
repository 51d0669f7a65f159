/* A disk that fails on demand, for LD_PRELOAD: while the file $AEGIS_FAULTS/fsync exists every sync fails, while $AEGIS_FAULTS/full
   exists every write to the store says that no room is left. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int on(const char *name) {
  const char *home = getenv("AEGIS_FAULTS");
  char path[4096];
  if (home == NULL) return 0;
  snprintf(path, sizeof path, "%s/%s", home, name);
  return access(path, F_OK) == 0;
}

static int full(int fd) {
  char link[64], path[4096];
  ssize_t size;
  if (!on("full")) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = '\0';
  return strstr(path, "store.db") != NULL && strstr(path, "-shm") == NULL;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) {
  if (on("fsync")) { errno = EIO; return -1; }
  return REAL(fsync)(fd);
}

int fdatasync(int fd) {
  if (on("fsync")) { errno = EIO; return -1; }
  return REAL(fdatasync)(fd);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
  if (full(fd)) { errno = ENOSPC; return -1; }
  return REAL(pwrite)(fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
  if (full(fd)) { errno = ENOSPC; return -1; }
  return REAL(pwrite64)(fd, bytes, size, at);
}

ssize_t write(int fd, const void *bytes, size_t size) {
  if (full(fd)) { errno = ENOSPC; return -1; }
  return REAL(write)(fd, bytes, size);
}
