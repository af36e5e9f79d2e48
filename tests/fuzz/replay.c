/* Runs a fuzz target over files: each as it is, then cut at every length up to 512 bytes and with
 * each of its first 512 bytes changed, from a block of its own so that a sanitizer sees any read
 * past its end.
 *
 *   fuzz-NAME-replay DIRECTORY|FILE...       exit 0, or dies where the target does */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_MAX = 16 << 20, VARY_MAX = 512 };

static void feed(const uint8_t *data, size_t n, size_t changed, uint8_t mask)
{
    uint8_t *own = malloc(n + 1);
    if (own == NULL)
        abort();
    memcpy(own, data, n);
    if (changed < n)
        own[changed] ^= mask;
    (void)LLVMFuzzerTestOneInput(own, n);
    free(own);
}

static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(FILE_MAX);
    if (f == NULL || data == NULL) {
        fprintf(stderr, "replay: cannot read %s\n", path);
        free(data);
        if (f != NULL)
            fclose(f);
        return 1;
    }
    size_t n = fread(data, 1, FILE_MAX, f);
    fclose(f);
    feed(data, n, SIZE_MAX, 0);
    for (size_t i = 0; i < n && i < VARY_MAX; i++) {
        feed(data, i, SIZE_MAX, 0);
        for (unsigned bit = 0; bit < 8; bit++)
            feed(data, n, i, (uint8_t)(1u << bit));
        feed(data, n, i, 0xff);
    }
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    int failed = argc < 2, files = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (dir == NULL) {
            failed |= replay(argv[i]);
            files++;
            continue;
        }
        for (struct dirent *e; (e = readdir(dir)) != NULL;) {
            char path[4096];
            struct stat st;
            snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
            if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
                failed |= replay(path);
                files++;
            }
        }
        closedir(dir);
    }
    printf("%d files replayed\n", files);
    return failed || files == 0;
}
