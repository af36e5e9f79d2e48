/* A reader of LMDB's data format, as far as needed to say that LMDB can walk a file safely.
 *
 * Source: mdb.c of LMDB 0.9.24, "struct MDB_page", "MDB_node", "MDB_meta", "MDB_db"; 64 bit, host
 * byte order. Checked: page numbers, flags, bounds of nodes and values, depth, number of entries,
 * order of integer keys, the free list. Not noticed: a page that is right in itself but older than
 * it should be; values (they have hashes of their own). */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/pages.h"

enum {
    PAGE_MIN = 4096, /* what we create; LMDB takes the system's page size */
    PAGE_MAX = 65536,
    HEAD_BYTES = 16,
    NODE_BYTES = 8,
    DB_BYTES = 48,
    DEPTH_MAX = 32, /* of LMDB's cursor */
    IS_BRANCH = 1,
    IS_LEAF = 2,
    IS_META = 8,
    NODE_BIG = 1,
    NODE_DB = 2,
    FLAG_INTEGERKEY = 8
};
static const uint32_t MAGIC = 0xBEEFC0DE;
/* Pages that a transaction took last and gave back again are counted and were never written. */
static const uint64_t UNWRITTEN_MAX = 1024 * 1024 * 1024;
static const uint64_t MAP_MAX = (uint64_t)1 << 44; /* an address space takes several of them */
static const uint64_t NO_PAGE = UINT64_MAX;

struct meta {
    uint32_t page_bytes;
    uint16_t flags;
    unsigned char dbs[2][DB_BYTES]; /* free list, main */
    uint64_t last_page;
    uint64_t txnid;
};

struct db {
    uint16_t flags, depth;
    uint64_t entries, root;
};

struct check {
    int fd;
    const char *path;
    uint64_t file_bytes;
    struct meta meta;
    uint64_t visited;
    bool keyed; /* a leaf of this tree had a key: last_key, which the next one exceeds */
    uint64_t last_key;
    unsigned char *used; /* a bit for each page up to the last one: it has its place */
    struct slsr_err *err;
};

static uint16_t host16(const unsigned char *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t host32(const unsigned char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t host64(const unsigned char *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

static int bad(const struct check *c, uint64_t page, const char *what)
{
    return slsr_fail(c->err, SLSR_ECORRUPT, "%s: page %llu %s", c->path, (unsigned long long)page,
                     what);
}

/* Each page has one place: in a tree, under a large value or in a free list. One that were free as
 * well would be written over. The pages are in the file. */
static int claim(const struct check *c, uint64_t page, uint64_t from, uint64_t count)
{
    for (uint64_t i = from; i < from + count; i++) {
        unsigned char *byte = &c->used[i / 8];
        const unsigned char bit = (unsigned char)(1U << (i % 8));

        if ((*byte & bit) != 0)
            return bad(c, page, "leads to a page that has another place, too");
        *byte |= bit;
    }
    return 0;
}

static int read_at(const struct check *c, uint64_t offset, unsigned char *out, size_t size)
{
    ssize_t n;

    do
        n = pread(c->fd, out, size, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)size)
        return 0;
    if (n < 0)
        return slsr_fail_errno(c->err, SLSR_ECORRUPT, errno, "cannot read %s at %llu", c->path,
                               (unsigned long long)offset);
    return slsr_fail(c->err, SLSR_ECORRUPT, "%s ends at %llu, inside a page", c->path,
                     (unsigned long long)offset + (unsigned long long)n);
}

static struct db db_of(const unsigned char *p)
{
    return (struct db){.flags = host16(p + 4),
                       .depth = host16(p + 6),
                       .entries = host64(p + 32),
                       .root = host64(p + 40)};
}

/* Meta page `number`, whose page size must be page_bytes (0: any good one). */
static int read_meta(const struct check *c, unsigned number, uint32_t page_bytes, struct meta *meta)
{
    unsigned char p[HEAD_BYTES + 24 + 2 * DB_BYTES + 16];
    int rc = read_at(c, (uint64_t)number * page_bytes, p, sizeof p);

    if (rc != 0)
        return rc;
    memcpy(meta->dbs, p + HEAD_BYTES + 24, sizeof meta->dbs);
    meta->page_bytes = host32(meta->dbs[0]);
    meta->flags = host16(meta->dbs[0] + 4);
    meta->last_page = host64(p + HEAD_BYTES + 24 + 2 * DB_BYTES);
    meta->txnid = host64(p + HEAD_BYTES + 32 + 2 * DB_BYTES);
    if ((host16(p + 10) & IS_META) == 0 || host32(p + HEAD_BYTES) != MAGIC ||
        host32(p + HEAD_BYTES + 4) != 1 || host64(p) != number)
        return bad(c, number, "is no meta page");
    if (meta->page_bytes < PAGE_MIN || meta->page_bytes > PAGE_MAX ||
        (meta->page_bytes & (meta->page_bytes - 1)) != 0 ||
        (page_bytes != 0 && meta->page_bytes != page_bytes))
        return bad(c, number, "gives a page size that cannot be");
    if ((meta->flags & (FLAG_INTEGERKEY | 1)) != FLAG_INTEGERKEY) /* 1: map at a fixed address */
        return bad(c, number, "has flags that we never set");
    if (meta->last_page > (c->file_bytes + UNWRITTEN_MAX) / meta->page_bytes)
        return bad(c, number, "counts more pages than the file has");
    if (host64(p + HEAD_BYTES + 16) > MAP_MAX)
        return bad(c, number, "gives a size of the mapping that cannot be");
    return 0;
}

static int check_metas_once(const struct check *c)
{
    struct meta metas[2];
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < 2; i++)
        rc = read_meta(c, i, i == 0 ? 0 : metas[0].page_bytes, &metas[i]);
    /* transactions take turns: even ones in page 0, odd ones in page 1, one after the other */
    if (rc == 0 && (metas[0].txnid | metas[1].txnid) != 0 &&
        (metas[0].txnid % 2 != 0 || metas[1].txnid % 2 != 1 ||
         (metas[0].txnid + 1 != metas[1].txnid && metas[1].txnid + 1 != metas[0].txnid)))
        rc = bad(c, 0, "and page 1 do not follow each other");
    return rc;
}

int pages_check_metas(const char *path, struct slsr_err *err)
{
    struct check c = {.fd = open(path, O_RDONLY | O_CLOEXEC), .path = path, .err = err};
    struct stat st;
    int rc = 0;

    if (c.fd < 0 || fstat(c.fd, &st) != 0 || st.st_size == 0) {
        if (c.fd >= 0)
            close(c.fd);
        return 0; /* LMDB says better what is wrong */
    }
    c.file_bytes = (uint64_t)st.st_size;
    do /* a busy writer may commit between the two reads */
        rc = check_metas_once(&c);
    while (rc != 0 && ++c.visited < 5);
    close(c.fd);
    return rc;
}

static int check_value(const struct check *c, uint64_t page, uint64_t pgno, uint64_t size)
{
    const uint64_t pages = (size + HEAD_BYTES + c->meta.page_bytes - 1) / c->meta.page_bytes;

    if (pgno < 2 || pgno > c->meta.last_page || pages > c->meta.last_page - pgno + 1 ||
        (pgno + pages) * c->meta.page_bytes > c->file_bytes + c->meta.page_bytes - 1 ||
        pgno * c->meta.page_bytes + HEAD_BYTES + size > c->file_bytes)
        return bad(c, page, "points to a value outside of the file");
    return claim(c, page, pgno, pages);
}

/* A list of free pages: a count, then numbers that fall. Only the writer reads it. */
static int check_free_list(const struct check *c, uint64_t page, const unsigned char *p,
                           uint64_t size)
{
    const uint64_t count = size >= 8 ? host64(p) : 0;
    uint64_t above = c->meta.last_page + 1;

    if (size < 8 || count > size / 8 - 1)
        return bad(c, page, "holds a free list that is too long");
    for (uint64_t i = 1; i <= count; i++) {
        const uint64_t number = host64(p + 8 * i);

        if (number < 2 || number >= above)
            return bad(c, page, "holds a free list with impossible pages");
        if (claim(c, page, number, 1) != 0)
            return SLSR_ECORRUPT;
        above = number;
    }
    return 0;
}

static int check_big_free_list(const struct check *c, uint64_t page, uint64_t pgno, uint64_t size)
{
    unsigned char *copy = size < 1024ULL * 1024 * 1024 ? malloc((size_t)size) : NULL;
    int rc = copy == NULL ? slsr_fail(c->err, SLSR_ENOMEM, "no memory to check %s", c->path)
                          : read_at(c, pgno * c->meta.page_bytes + HEAD_BYTES, copy, (size_t)size);

    if (rc == 0)
        rc = check_free_list(c, page, copy, size);
    free(copy);
    return rc;
}

static int check_tree(struct check *c, const struct db *db, unsigned kind);

enum { KIND_FREE, KIND_MAIN, KIND_NAMED };

static int check_leaf_node(struct check *c, uint64_t page, const unsigned char *node, size_t room,
                           unsigned kind)
{
    const uint64_t size = host16(node) | (uint64_t)host16(node + 2) << 16;
    const uint16_t flags = host16(node + 4);
    const size_t key = host16(node + 6);
    const bool big = (flags & NODE_BIG) != 0;
    const uint64_t inside = big ? 8 : size;
    const unsigned char *value = node + NODE_BYTES + key;
    int rc = 0;

    if (NODE_BYTES + key + inside > room)
        return bad(c, page, "has a node that leaves it");
    if (kind == KIND_MAIN) {
        struct db db;

        if (flags != NODE_DB || size != DB_BYTES)
            return bad(c, page, "holds something that is no database");
        db = db_of(value); /* all of it lies in the page only now that its size is known */
        if ((db.flags & ~FLAG_INTEGERKEY) != 0)
            return bad(c, page, "holds a database with flags that we never set");
        return check_tree(c, &db, KIND_NAMED);
    }
    if ((flags & ~NODE_BIG) != 0)
        return bad(c, page, "has a node with flags that we never set");
    if (big)
        rc = check_value(c, page, host64(value), size);
    if (rc == 0 && kind == KIND_FREE)
        rc = big ? check_big_free_list(c, page, host64(value), size)
                 : check_free_list(c, page, value, size);
    return rc;
}

static int check_page(struct check *c, const struct db *db, uint64_t pgno, unsigned level,
                      unsigned kind, uint64_t *entries);

static int check_nodes(struct check *c, const struct db *db, uint64_t pgno, unsigned level,
                       unsigned kind, uint64_t *entries, const unsigned char *p)
{
    const size_t size = c->meta.page_bytes;
    const size_t lower = host16(p + 12);
    const size_t upper = host16(p + 14);
    const size_t count = (lower - HEAD_BYTES) / 2;
    const bool leaf = level == db->depth;
    uint64_t last = 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        const size_t at = host16(p + HEAD_BYTES + 2 * i);
        const unsigned char *node = p + at;
        size_t key;

        if (at < upper || at % 2 != 0 || at + NODE_BYTES > size)
            return bad(c, pgno, "has a node outside of it");
        key = host16(node + 6);
        if (at + NODE_BYTES + key > size || key > 511)
            return bad(c, pgno, "has a key that leaves it");
        if ((db->flags & FLAG_INTEGERKEY) != 0 && (leaf || i > 0)) {
            uint64_t number;

            if (key != 8)
                return bad(c, pgno, "has a key that is no number");
            number = host64(node + NODE_BYTES);
            if (leaf ? c->keyed && number <= c->last_key : i > 1 && number <= last)
                return bad(c, pgno, "has keys out of order");
            last = number;
            if (leaf)
                c->last_key = number;
            c->keyed = c->keyed || leaf;
        }
        if (leaf) {
            rc = check_leaf_node(c, pgno, node, size - at, kind);
            ++*entries;
        } else {
            const uint64_t child =
                host16(node) | (uint64_t)host16(node + 2) << 16 | (uint64_t)host16(node + 4) << 32;

            rc = check_page(c, db, child, level + 1, kind, entries);
        }
    }
    return rc;
}

static int check_page(struct check *c, const struct db *db, uint64_t pgno, unsigned level,
                      unsigned kind, uint64_t *entries)
{
    const size_t size = c->meta.page_bytes;
    const uint16_t want = level == db->depth ? IS_LEAF : IS_BRANCH;
    unsigned char *p;
    size_t lower;
    size_t upper;
    int rc;

    if (pgno < 2 || pgno > c->meta.last_page)
        return bad(c, pgno, "is asked for, but lies outside of the file");
    rc = claim(c, pgno, pgno, 1);
    if (rc != 0)
        return rc;
    p = malloc(size);
    if (p == NULL)
        return slsr_fail(c->err, SLSR_ENOMEM, "no memory to check %s", c->path);
    rc = read_at(c, pgno * size, p, size);
    lower = host16(p + 12);
    upper = host16(p + 14);
    if (rc == 0 && host64(p) != pgno)
        rc = bad(c, pgno, "bears another page's number");
    if (rc == 0 && host16(p + 10) != want)
        rc = bad(c, pgno, "is of the wrong kind");
    if (rc == 0 && (lower % 2 != 0 || lower > upper || upper > size ||
                    lower < HEAD_BYTES + (want == IS_BRANCH && kind != KIND_FREE ? 4U : 2U)))
        rc = bad(c, pgno, "has impossible bounds");
    if (rc == 0)
        rc = check_nodes(c, db, pgno, level, kind, entries, p);
    free(p);
    return rc;
}

static int check_tree(struct check *c, const struct db *db, unsigned kind)
{
    uint64_t entries = 0;
    int rc;

    if (db->root == NO_PAGE)
        return db->depth == 0 && db->entries == 0 ? 0 : bad(c, 0, "knows a tree without its root");
    if (db->depth == 0 || db->depth > DEPTH_MAX)
        return bad(c, db->root, "is the root of a tree of impossible depth");
    c->keyed = false;
    rc = check_page(c, db, db->root, 1, kind, &entries);
    if (rc == 0 && entries != db->entries)
        rc = bad(c, db->root, "is the root of a tree with another number of entries");
    return rc;
}

int pages_check_trees(int fd, const char *path, uint64_t txnid, struct slsr_err *err)
{
    struct check c = {.fd = fd, .path = path, .err = err};
    struct meta first;
    struct stat st;
    struct db db;
    int rc = fstat(fd, &st) == 0 ? 0 : slsr_fail_errno(err, SLSR_EIO, errno, "stat %s", path);

    c.file_bytes = rc == 0 ? (uint64_t)st.st_size : 0;
    if (rc == 0)
        rc = read_meta(&c, 0, 0, &first);
    if (rc == 0)
        rc = read_meta(&c, (unsigned)(txnid % 2), first.page_bytes, &c.meta);
    if (rc == 0 && c.meta.txnid != txnid)
        return slsr_fail(err, SLSR_ENOMATCH, "%s has moved on", path);
    if (rc == 0 && (c.used = calloc(c.meta.last_page / 8 + 1, 1)) == NULL)
        rc = slsr_fail(err, SLSR_ENOMEM, "no memory to check %s", path);
    if (rc == 0) {
        db = db_of(c.meta.dbs[0]);
        db.flags = FLAG_INTEGERKEY;
        rc = check_tree(&c, &db, KIND_FREE);
    }
    if (rc == 0) {
        db = db_of(c.meta.dbs[1]);
        rc = db.flags == 0 ? check_tree(&c, &db, KIND_MAIN)
                           : bad(&c, txnid % 2, "has a main database with flags that we never set");
    }
    free(c.used);
    return rc;
}

bool pages_fault_in(const void *value, size_t size)
{
#ifdef MADV_POPULATE_READ
    const uintptr_t unit = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t page = (uintptr_t)value / unit * unit;

    if (madvise((void *)page, (uintptr_t)value + size - page, MADV_POPULATE_READ) != 0)
        return errno != EFAULT && errno != EHWPOISON; /* an older kernel knows no such advice */
#else
    (void)value;
    (void)size;
#endif
    return true;
}

/* The value of a key in a leaf page: a look at its nodes, each checked. */
static bool leaf_value(const unsigned char *p, size_t page_bytes, const char *key, uint16_t flags,
                       unsigned char *out, size_t size)
{
    const size_t lower = host16(p + 12);
    const size_t n = strlen(key);

    if (host16(p + 10) != IS_LEAF || lower > page_bytes || lower < HEAD_BYTES)
        return false;
    for (size_t i = 0; i < (lower - HEAD_BYTES) / 2; i++) {
        const size_t at = host16(p + HEAD_BYTES + 2 * i);
        const unsigned char *node = p + at;

        if (at < lower || at + NODE_BYTES > page_bytes)
            return false;
        if (host16(node + 6) != n || at + NODE_BYTES + n > page_bytes ||
            memcmp(node + NODE_BYTES, key, n) != 0)
            continue;
        if (host16(node + 4) != flags ||
            (host16(node) | (uint32_t)host16(node + 2) << 16) != size ||
            at + NODE_BYTES + n + size > page_bytes)
            return false;
        memcpy(out, node + NODE_BYTES + n, size);
        return true;
    }
    return false;
}

/* Through the root page of a tree of one page: all that a lookup needs. */
static bool root_value(const struct check *c, const struct db *db, const char *key, uint16_t flags,
                       unsigned char *out, size_t size)
{
    unsigned char p[PAGE_MIN]; /* other page sizes: not worth the memory here */

    return c->meta.page_bytes == sizeof p && db->depth == 1 && db->root <= c->meta.last_page &&
           read_at(c, db->root * sizeof p, p, sizeof p) == 0 && host64(p) == db->root &&
           leaf_value(p, sizeof p, key, flags, out, size);
}

bool pages_value(const char *path, const char *name, const char *key, unsigned char *out,
                 size_t size)
{
    struct check c = {.fd = open(path, O_RDONLY | O_CLOEXEC), .path = path};
    struct meta metas[2];
    struct db db;
    unsigned char record[DB_BYTES];
    bool found = false;

    if (c.fd < 0)
        return false;
    if (read_meta(&c, 0, 0, &metas[0]) == 0 &&
        read_meta(&c, 1, metas[0].page_bytes, &metas[1]) == 0) {
        c.meta = metas[metas[1].txnid > metas[0].txnid];
        db = db_of(c.meta.dbs[1]);
        found = root_value(&c, &db, name, NODE_DB, record, sizeof record);
        db = db_of(record);
        found = found && root_value(&c, &db, key, 0, out, size);
    }
    close(c.fd);
    return found;
}
