/* Direct reads of chunks. HOT (tests/bench "drain, cold").
 *
 * Good path: the range asks for its next chunk, which lies in the buffer at hand. When it is the
 * first of the other buffer, the one at hand is free: the chunks behind are looked up in LMDB
 * (places and sizes only, their pages are not touched) and the kernel is told to read them.
 * What can go wrong: a file system without direct I/O, no aio, a file that is shorter than LMDB
 * says, a block that the disk cannot read. None of it is judged here: the caller falls back to the
 * mapping, which tells what is the matter (range.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "spool/env.h"
#include "spool/window.h"

enum {
    BLOCK_BYTES = 4096,
    REACH_BYTES = 256 * 1024, /* at first */
    GAP_BYTES = 256 * 1024,   /* read over rather than begin anew: pages of the trees */
    WARM_CHUNKS = 256,        /* that were in memory, in a row: the backlog is done */
    VALUE_AT = 16,            /* a value behind the head of its page (LMDB data format) */
    IS_LEAF = 2
};

size_t window_ahead_bytes = (size_t)48 * 1024 * 1024;

/* --- where things are --- */

/* The start of the mapping, from a key: it lies in a leaf, which begins with its number. */
static bool find_base(struct window *w, MDB_env *env, const void *key)
{
    MDB_envinfo info;
    MDB_stat st;
    const unsigned char *page;
    uint16_t flags;
    size_t number;

    if (mdb_env_info(env, &info) != 0 || mdb_env_stat(env, &st) != 0 || st.ms_psize < BLOCK_BYTES)
        return false;
    page = (const unsigned char *)key - (uintptr_t)key % st.ms_psize;
    memcpy(&number, page, sizeof number);
    memcpy(&flags, page + 10, sizeof flags);
    if ((flags & IS_LEAF) == 0 || number > info.me_last_pgno)
        return false;
    w->base = page - number * st.ms_psize;
    w->map_bytes = info.me_mapsize;
    return true;
}

/* Is all of it in the page cache? An answer that is refused counts as yes. */
static bool in_memory(const MDB_val *value)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t at = (uintptr_t)value->mv_data / page * page;
    const size_t size = (uintptr_t)value->mv_data + value->mv_size - at;
    unsigned char there[WINDOW_BYTES / BLOCK_BYTES];

    if (mincore((void *)at, size, there) != 0)
        return true;
    for (size_t i = 0; i < (size + page - 1) / page; i++)
        if ((there[i] & 1) == 0)
            return false;
    return true;
}

/* May a read be planned for it: with pages of its own, and not too large? */
static bool fits(const MDB_val *value)
{
    return (uintptr_t)value->mv_data % BLOCK_BYTES == VALUE_AT &&
           value->mv_size <= WINDOW_BYTES - 2 * BLOCK_BYTES;
}

static bool open_file(struct window *w, const struct slsr_spool *spool, const struct segment *seg)
{
    char path[4200];
    struct stat ours;
    struct stat theirs;
    int fd;

    segment_path(spool, seg->first, path, sizeof path);
    w->fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
    /* the name may be another file's by now */
    if (w->fd < 0 || mdb_env_get_fd(seg->env, &fd) != 0 || fstat(w->fd, &ours) != 0 ||
        fstat(fd, &theirs) != 0 || ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev)
        return false;
    w->memory = mmap(NULL, 2 * (size_t)WINDOW_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (w->memory == MAP_FAILED) {
        w->memory = NULL;
        return false;
    }
    madvise(w->memory, 2 * (size_t)WINDOW_BYTES, MADV_HUGEPAGE); /* as good as it can be */
    /* A fork under a direct read would leave the bytes to the child (open(2), NOTES). */
    madvise(w->memory, 2 * (size_t)WINDOW_BYTES, MADV_DONTFORK);
    for (int i = 0; i < 2; i++)
        w->halves[i].bytes = w->memory + (size_t)i * WINDOW_BYTES;
    w->reach = REACH_BYTES;
    /* Looking at a tree's page shall not fetch the chunks around it. */
    madvise((void *)(uintptr_t)w->base, w->map_bytes, MADV_RANDOM);
    return true;
}

/* --- reading --- */

static void await(struct window *w, struct window_half *half)
{
    struct io_event event;

    while (half->pending) {
        long n = syscall(SYS_io_getevents, w->aio, 1, 1, &event, NULL);

        if (n == 1) {
            struct window_half *done = &w->halves[event.data];

            done->pending = false;
            done->got = event.res;
        } else if (n < 0 && errno != EINTR) {
            syscall(SYS_io_destroy, w->aio); /* waits until nobody writes to the buffers any more */
            w->aio = 0;
            w->no_aio = true;
            for (int i = 0; i < 2; i++)
                w->halves[i].pending = false; /* got stays 0: nothing is there */
        }
    }
}

/* Chunks from the one that the cursor stands on, as far as the reach and `to` go. */
static void plan(struct window *w, struct window_half *half, MDB_cursor *cursor, MDB_val key,
                 MDB_val value, uint64_t to)
{
    uint64_t at = (uint64_t)((const unsigned char *)value.mv_data - w->base);

    half->from = at / BLOCK_BYTES * BLOCK_BYTES;
    half->to = half->from;
    half->first = env_key(&key);
    do {
        half->last = env_key(&key);
        half->to = (at + value.mv_size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
        if (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) != 0)
            break;
        at = (uint64_t)((const unsigned char *)value.mv_data - w->base);
    } while (env_key(&key) < to && at % BLOCK_BYTES == VALUE_AT && at > half->to &&
             at - half->to <= GAP_BYTES && at + value.mv_size - half->from <= w->reach);
}

static void read_now(struct window *w, struct window_half *half)
{
    half->got = 0;
    while ((uint64_t)half->got < half->to - half->from) {
        const ssize_t n =
            pread(w->fd, half->bytes + half->got, half->to - half->from - (uint64_t)half->got,
                  (off_t)(half->from + (uint64_t)half->got));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || n % BLOCK_BYTES != 0) {
            half->got += n > 0 ? n : 0;
            return;
        }
        half->got += n;
    }
    w->read += (uint64_t)half->got;
}

static void begin_read(struct window *w, struct window_half *half)
{
    struct iocb *cb = &half->cb;

    memset(cb, 0, sizeof *cb);
    cb->aio_data = (uint64_t)(half - w->halves);
    cb->aio_lio_opcode = IOCB_CMD_PREAD;
    cb->aio_fildes = (uint32_t)w->fd;
    cb->aio_buf = (uint64_t)(uintptr_t)half->bytes;
    cb->aio_nbytes = half->to - half->from;
    cb->aio_offset = (int64_t)half->from;
    half->got = 0;
    half->pending = syscall(SYS_io_submit, w->aio, 1, &cb) == 1;
    if (!half->pending)
        half->first = half->last = 0;
}

/* The chunks behind those of the half at hand, into the other one. */
static void read_ahead(struct window *w, MDB_cursor *cursor, bool always, uint64_t to)
{
    struct window_half *ahead = &w->halves[1 - w->at];
    size_t seq = (size_t)w->halves[w->at].last + 1;
    MDB_val key = {sizeof seq, &seq};
    MDB_val value;

    await(w, ahead);
    ahead->first = ahead->last = 0;
    /* To end aio takes the kernel many milliseconds: a short look goes without it. */
    if (w->aio == 0 && !w->no_aio && w->read >= window_ahead_bytes &&
        syscall(SYS_io_setup, 2, &w->aio) != 0) {
        w->aio = 0;
        w->no_aio = true;
    }
    if (w->aio == 0 || seq >= to || mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE) != 0)
        return;
    if (env_key(&key) >= to || !fits(&value) || (!always && in_memory(&value)))
        return;
    plan(w, ahead, cursor, key, value, to);
    begin_read(w, ahead);
}

static bool holds(const struct window_half *half, uint64_t first)
{
    return half->first != 0 && first >= half->first && first <= half->last;
}

const void *window_read(struct window *w, const struct slsr_spool *spool, const struct segment *seg,
                        MDB_cursor *cursor, MDB_val key, MDB_val value, bool always, uint64_t to)
{
    const uint64_t first = env_key(&key);
    struct window_half *half = &w->halves[w->at];
    uint64_t at;

    if (w->off || !fits(&value))
        return NULL;
    if (!holds(half, first)) {
        struct window_half *other = &w->halves[1 - w->at];

        if (!holds(other, first)) {
            if (!always && in_memory(&value)) {
                if (w->fd >= 0 && ++w->warm >= WARM_CHUNKS)
                    window_close(w);
                return NULL;
            }
            w->warm = 0;
            if (w->fd < 0 && (!find_base(w, seg->env, key.mv_data) || !open_file(w, spool, seg))) {
                window_refuse(w);
                return NULL;
            }
            await(w, other);
            plan(w, other, cursor, key, value, to);
            read_now(w, other);
        }
        await(w, other);
        half = other;
        w->at = 1 - w->at;
        w->reach = w->reach * 2 < WINDOW_BYTES ? w->reach * 2 : WINDOW_BYTES;
        read_ahead(w, cursor, always, to);
    }
    at = (uint64_t)((const unsigned char *)value.mv_data - w->base);
    if (at < half->from || (int64_t)(at - half->from + value.mv_size) > half->got) {
        window_refuse(w); /* a short read: the mapping tells why */
        return NULL;
    }
    return half->bytes + (at - half->from);
}

void window_refuse(struct window *w)
{
    window_close(w);
    w->off = true;
}

void window_close(struct window *w)
{
    for (int i = 0; i < 2; i++)
        await(w, &w->halves[i]);
    if (w->aio != 0)
        syscall(SYS_io_destroy, w->aio);
    if (w->memory != NULL) {
        munmap(w->memory, 2 * (size_t)WINDOW_BYTES);
        madvise((void *)(uintptr_t)w->base, w->map_bytes, MADV_NORMAL);
    }
    if (w->fd >= 0)
        close(w->fd);
    memset(w, 0, sizeof *w);
    w->fd = -1;
}
