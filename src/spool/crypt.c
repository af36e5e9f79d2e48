/* AES-256-GCM over chunks, keys from a file.
 *
 * Good path: derive the chunk's key, run the cipher, wipe the key. Each chunk key serves exactly
 * two nonces, one for the payload and one for the header, so nonces need no memory of the past. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "spool/crypt.h"

enum { KEY_BYTES = 32, NONCE_BYTES = 12, FILE_MAX = 16384, SEAL_PAYLOAD = 1, SEAL_HEADER = 2 };

static const char LABEL[] = "sls-relay spool chunk";
static const char ID_LABEL[] = "sls-relay spool key id";

struct key {
    uint64_t id;
    unsigned char bytes[KEY_BYTES];
};

struct crypt {
    size_t count;
    struct key keys[CRYPT_KEYS_MAX];
};

struct crypt_box {
    EVP_CIPHER_CTX *ctx;
};

/* Secrets live in a mapping of their own: out of core dumps, out of swap. */
static void *secret_map(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    madvise(p, size, MADV_DONTDUMP);
    if (mlock(p, size) != 0) {
        /* RLIMIT_MEMLOCK may be 0; still wiped and not dumped */
    }
    return p;
}

static void secret_unmap(void *p, size_t size)
{
    if (p == NULL)
        return;
    OPENSSL_cleanse(p, size);
    munmap(p, size);
}

static int hmac(const unsigned char key[KEY_BYTES], const void *a, size_t a_size, const void *b,
                size_t b_size, unsigned char out[KEY_BYTES])
{
    unsigned char text[64];
    unsigned int size = KEY_BYTES;

    memcpy(text, a, a_size);
    memcpy(text + a_size, b, b_size);
    return HMAC(EVP_sha256(), key, KEY_BYTES, text, a_size + b_size, out, &size) != NULL ? 0 : -1;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_key(const char *line, size_t n, struct key *key)
{
    unsigned char hash[KEY_BYTES];

    if (n != (size_t)2 * KEY_BYTES)
        return false;
    for (size_t i = 0; i < KEY_BYTES; i++) {
        const int high = digit(line[2 * i]);
        const int low = digit(line[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        key->bytes[i] = (unsigned char)(high << 4 | low);
    }
    if (hmac(key->bytes, ID_LABEL, sizeof ID_LABEL, "", 0, hash) != 0)
        return false;
    key->id = 0;
    for (size_t i = 0; i < 8; i++)
        key->id = key->id << 8 | hash[i];
    key->id |= 1; /* 0 means: not encrypted */
    return true;
}

/* One key a line; blank lines and '#' comments pass. The error never shows a byte of the file. */
static int parse_keys(struct crypt *crypt, const char *text, size_t size, const char *file,
                      struct slsr_err *err)
{
    unsigned line_number = 0;

    for (size_t at = 0; at < size;) {
        const char *line = text + at;
        const char *end = memchr(line, '\n', size - at);
        size_t n = end != NULL ? (size_t)(end - line) : size - at;

        at += n + 1;
        line_number++;
        while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' ' || line[n - 1] == '\t'))
            n--;
        if (n == 0 || line[0] == '#')
            continue;
        if (crypt->count == CRYPT_KEYS_MAX)
            return slsr_fail(err, SLSR_ECONFIG, "%s holds more than %d keys: remove the oldest",
                             file, CRYPT_KEYS_MAX);
        if (!parse_key(line, n, &crypt->keys[crypt->count]))
            return slsr_fail(err, SLSR_ECONFIG,
                             "%s line %u is no key: 64 hex digits are wanted "
                             "(make one with: openssl rand -hex 32)",
                             file, line_number);
        crypt->count++;
    }
    return crypt->count > 0 ? 0
                            : slsr_fail(err, SLSR_ECONFIG,
                                        "%s holds no key: put one of 64 hex digits into it "
                                        "(make one with: openssl rand -hex 32)",
                                        file);
}

static int read_keys(struct crypt *crypt, const char *file, struct slsr_err *err)
{
    const int fd = open(file, O_RDONLY | O_CLOEXEC);
    char *text = NULL;
    struct stat st;
    ssize_t n;
    int rc;

    if (fd < 0)
        return slsr_fail_errno(err, errno == EACCES ? SLSR_EPERM : SLSR_ENOSPOOL, errno,
                               "cannot read the spool's key file %s", file);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 07) != 0) {
        close(fd);
        return slsr_fail(err, SLSR_ECONFIG,
                         "the spool's key file %s must be a file that others cannot read: "
                         "chmod 0600 it",
                         file);
    }
    text = secret_map(FILE_MAX);
    n = text != NULL ? read(fd, text, FILE_MAX) : -1;
    close(fd);
    if (n < 0 || n == FILE_MAX)
        rc = slsr_fail(err, SLSR_ECONFIG, "the spool's key file %s cannot be read or is too long",
                       file);
    else
        rc = parse_keys(crypt, text, (size_t)n, file, err);
    secret_unmap(text, FILE_MAX);
    return rc;
}

int crypt_load(struct crypt **out, const char *file, struct slsr_err *err)
{
    struct crypt *crypt;
    int rc;

    *out = NULL;
    if (file == NULL || file[0] == '\0')
        return 0;
    crypt = secret_map(sizeof *crypt);
    if (crypt == NULL)
        return slsr_fail(err, SLSR_ENOMEM, "no memory for the spool's keys");
    rc = read_keys(crypt, file, err);
    if (rc != 0)
        crypt_free(crypt);
    else
        *out = crypt;
    return rc;
}

void crypt_free(struct crypt *crypt)
{
    secret_unmap(crypt, sizeof *crypt);
}

uint64_t crypt_writer(const struct crypt *crypt)
{
    return crypt->keys[0].id;
}

static const struct key *find(const struct crypt *crypt, uint64_t key_id)
{
    for (size_t i = 0; crypt != NULL && i < crypt->count; i++)
        if (crypt->keys[i].id == key_id)
            return &crypt->keys[i];
    return NULL;
}

bool crypt_knows(const struct crypt *crypt, uint64_t key_id)
{
    return find(crypt, key_id) != NULL;
}

struct crypt_box *crypt_box_new(void)
{
    struct crypt_box *box = calloc(1, sizeof *box);

    if (box != NULL)
        box->ctx = EVP_CIPHER_CTX_new();
    if (box != NULL && box->ctx == NULL) {
        free(box);
        box = NULL;
    }
    return box;
}

void crypt_box_free(struct crypt_box *box)
{
    if (box == NULL)
        return;
    EVP_CIPHER_CTX_free(box->ctx); /* wipes its key schedule */
    free(box);
}

int crypt_salt(unsigned char salt[CRYPT_SALT_BYTES], struct slsr_err *err)
{
    return getrandom(salt, CRYPT_SALT_BYTES, 0) == CRYPT_SALT_BYTES
               ? 0
               : slsr_fail(err, SLSR_EIO, "no random numbers from the kernel");
}

/* Readies the cipher with the chunk's own key and one of its two nonces, and feeds aad. */
static bool start(const struct crypt *crypt, struct crypt_box *box, uint64_t key_id,
                  const unsigned char salt[CRYPT_SALT_BYTES], int purpose, struct slsr_bytes aad,
                  bool encrypt)
{
    const struct key *key = find(crypt, key_id);
    unsigned char nonce[NONCE_BYTES] = {0};
    unsigned char chunk_key[KEY_BYTES];
    int n;
    bool ok;

    if (key == NULL || box == NULL || aad.n > INT_MAX)
        return false;
    nonce[NONCE_BYTES - 1] = (unsigned char)purpose;
    ok = hmac(key->bytes, LABEL, sizeof LABEL, salt, CRYPT_SALT_BYTES, chunk_key) == 0 &&
         EVP_CipherInit_ex(box->ctx, EVP_aes_256_gcm(), NULL, chunk_key, nonce, encrypt) == 1 &&
         EVP_CipherUpdate(box->ctx, NULL, &n, (const unsigned char *)aad.p, (int)aad.n) == 1;
    OPENSSL_cleanse(chunk_key, sizeof chunk_key);
    return ok;
}

/* Behind everything: no key of a chunk stays in memory. */
static void finish(struct crypt_box *box)
{
    if (box != NULL)
        EVP_CIPHER_CTX_reset(box->ctx);
}

static int broken(struct slsr_err *err)
{
    return slsr_fail(err, SLSR_ENOMEM, "the cipher of the spool failed");
}

int crypt_seal(const struct crypt *crypt, struct crypt_box *box, uint64_t key_id,
               const unsigned char salt[CRYPT_SALT_BYTES], struct slsr_bytes aad,
               const struct slsr_bytes *parts, size_t part_count, unsigned char *out,
               unsigned char tag[CRYPT_TAG_BYTES], struct slsr_err *err)
{
    bool ok = start(crypt, box, key_id, salt, SEAL_PAYLOAD, aad, true);
    int n = 0;

    for (size_t i = 0; ok && i < part_count; i++) {
        ok = parts[i].n <= INT_MAX &&
             EVP_EncryptUpdate(box->ctx, out, &n, (const unsigned char *)parts[i].p,
                               (int)parts[i].n) == 1;
        out += n;
    }
    ok = ok && EVP_EncryptFinal_ex(box->ctx, out, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(box->ctx, EVP_CTRL_GCM_GET_TAG, CRYPT_TAG_BYTES, tag) == 1;
    finish(box);
    return ok ? 0 : broken(err);
}

int crypt_open(const struct crypt *crypt, struct crypt_box *box, uint64_t key_id,
               const unsigned char salt[CRYPT_SALT_BYTES], struct slsr_bytes aad,
               struct slsr_bytes sealed, const unsigned char tag[CRYPT_TAG_BYTES],
               unsigned char *out, struct slsr_err *err)
{
    unsigned char expected[CRYPT_TAG_BYTES];
    unsigned char end[16];
    int n = 0;
    int rc = 0;

    memcpy(expected, tag, sizeof expected);
    if (sealed.n > INT_MAX || !start(crypt, box, key_id, salt, SEAL_PAYLOAD, aad, false) ||
        EVP_DecryptUpdate(box->ctx, out, &n, (const unsigned char *)sealed.p, (int)sealed.n) != 1 ||
        EVP_CIPHER_CTX_ctrl(box->ctx, EVP_CTRL_GCM_SET_TAG, CRYPT_TAG_BYTES, expected) != 1)
        rc = broken(err);
    else if (EVP_DecryptFinal_ex(box->ctx, end, &n) != 1)
        rc = slsr_fail(err, SLSR_ECORRUPT, "chunk payload is not what was encrypted");
    finish(box);
    return rc;
}

int crypt_sign(const struct crypt *crypt, struct crypt_box *box, uint64_t key_id,
               const unsigned char salt[CRYPT_SALT_BYTES], struct slsr_bytes header,
               unsigned char tag[CRYPT_TAG_BYTES], struct slsr_err *err)
{
    unsigned char end[16];
    int n = 0;
    const bool ok = start(crypt, box, key_id, salt, SEAL_HEADER, header, true) &&
                    EVP_EncryptFinal_ex(box->ctx, end, &n) == 1 &&
                    EVP_CIPHER_CTX_ctrl(box->ctx, EVP_CTRL_GCM_GET_TAG, CRYPT_TAG_BYTES, tag) == 1;

    finish(box);
    return ok ? 0 : broken(err);
}

int crypt_check(const struct crypt *crypt, struct crypt_box *box, uint64_t key_id,
                const unsigned char salt[CRYPT_SALT_BYTES], struct slsr_bytes header,
                const unsigned char tag[CRYPT_TAG_BYTES], struct slsr_err *err)
{
    unsigned char real[CRYPT_TAG_BYTES];
    int rc = crypt_sign(crypt, box, key_id, salt, header, real, err);

    if (rc == 0 && CRYPTO_memcmp(real, tag, sizeof real) != 0)
        rc = slsr_fail(err, SLSR_ECORRUPT, "chunk header is not what was signed");
    return rc;
}
