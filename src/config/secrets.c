/* Credentials from files, and their end.
 *
 * For each source: a key given inline (file, environment or flag) stays; else *_file is read; else
 * systemd's $CREDENTIALS_DIRECTORY is looked at. No sentence ever holds a byte of a secret (I6). A
 * file that cannot be read is a problem for the relay only: a tool that wants the spool's path may
 * well run as a user who must not read keys. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/load.h"

#include "base/secret.h"

void config_wipe_text(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
}

void config_free_text(const struct option *option, char *text)
{
    if (option->kind == OPT_SECRET) {
        secret_free(text);
    } else {
        config_wipe_text(text);
        free(text);
    }
}

void config_wipe_json(json_t *root)
{
    const char *key;
    json_t *value;
    size_t i;

    if (json_is_object(root)) {
        json_object_foreach(root, key, value) config_wipe_json(value);
    } else if (json_is_array(root)) {
        json_array_foreach(root, i, value) config_wipe_json(value);
    } else if (json_is_string(root)) {
        /* The tree is ours alone and about to be freed. */
        config_wipe_text((char *)(uintptr_t)json_string_value(root));
    }
}

/* Reads a small file whole and trims it. errno value on failure, 0 else; out is NUL-terminated. */
static int read_secret(const char *file, char *out, size_t size, bool *others)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK), saved = 0;
    struct stat st;
    size_t used = 0;
    ssize_t n = 0;

    if (fd < 0)
        return errno;
    if (fstat(fd, &st) != 0)
        saved = errno;
    else if (!S_ISREG(st.st_mode))
        saved = EINVAL;
    else
        *others = (st.st_mode & S_IROTH) != 0;
    while (saved == 0 && used < size) {
        n = read(fd, out + used, size - used);
        if (n == 0)
            break;
        if (n > 0)
            used += (size_t)n;
        else if (errno != EINTR)
            saved = errno;
    }
    close(fd);
    if (saved == 0 && used >= size)
        saved = EFBIG;
    out[saved == 0 ? used : 0] = '\0';
    while (saved == 0 && used > 0 && strchr(" \t\r\n", out[used - 1]) != NULL)
        out[--used] = '\0';
    return saved;
}

/* The secret of `option` from `file`; missing_fine: its absence says nothing. */
static void load_from(struct config_load *load, const struct option *option, void *source,
                      const char *file, const char *path, bool missing_fine)
{
    char text[CONFIG_SECRET_MAX + 2];
    bool others = false;
    int failed = read_secret(file, text, sizeof text - 1, &others);
    const char *start = text + strspn(text, " \t\r\n");
    json_t *value;

    if (failed == ENOENT && missing_fine)
        return;
    if (failed != 0) {
        if (load->need_relay)
            config_problem(load, path,
                           "the file with the secret cannot be read: %s: its name belongs here, "
                           "its rights must let the relay's user read it",
                           failed == EFBIG    ? "it is too large for a secret"
                           : failed == EINVAL ? "it is not an ordinary file"
                                              : strerror(failed));
        explicit_bzero(text, sizeof text);
        return;
    }
    value = json_string(start);
    if (start[0] == '\0')
        config_problem(load, path, "the file with the secret is empty: write the secret into it");
    else if (value == NULL || strlen(start) != (size_t)json_string_length(value))
        config_problem(load, path, "the file with the secret holds bytes that no key has");
    else
        config_value_set(load, option, source, value, path);
    if (others)
        config_warning(load, path,
                       "the file with the secret can be read by every user: chmod o-r it");
    config_wipe_json(value);
    json_decref(value);
    explicit_bzero(text, sizeof text);
}

static bool has_text(const json_t *object, const char *key)
{
    return json_string_length(json_object_get(object, key)) > 0;
}

/* One secret of one source. */
static void load_secret(struct config_load *load, const struct option *option, json_t *object,
                        struct slsr_source_config *source, const char *source_path)
{
    const char *key = strchr(option->path, '.') + 1, *dir = getenv("CREDENTIALS_DIRECTORY");
    char file_key[64], path[CONFIG_PATH], file_path[CONFIG_PATH], file[4096];
    int n;

    snprintf(file_key, sizeof file_key, "%s_file", key);
    (void)config_path_key(path, source_path, key);
    (void)config_path_key(file_path, source_path, file_key);
    if (has_text(object, key)) {
        if (has_text(object, file_key))
            config_problem(load, file_path, "stands beside %s: keep one of the two", key);
        if (load->file_public && !config_overridden(load, path))
            config_warning(load, path,
                           "is a secret in a file that every user can read: chmod o-r the file, "
                           "or use %s",
                           file_key);
        return;
    }
    if (has_text(object, file_key)) {
        load_from(load, option, source, json_string_value(json_object_get(object, file_key)),
                  file_path, false);
        return;
    }
    if (dir == NULL || dir[0] != '/')
        return;
    n = snprintf(file, sizeof file, "%s/%s", dir, key);
    if (n > 0 && (size_t)n < sizeof file)
        load_from(load, option, source, file, path, true);
}

static json_t *source_object(const struct config_load *load, size_t i)
{
    const json_t *many = json_object_get(load->root, "sources");

    return many != NULL ? json_array_get(many, i) : json_object_get(load->root, "source");
}

bool config_secret_in_file(const struct config_load *load, size_t i, const char *key)
{
    char file_key[64];

    snprintf(file_key, sizeof file_key, "%s_file", key);
    return has_text(source_object(load, i), file_key);
}

void config_secrets_load(struct config_load *load)
{
    size_t count;
    const struct option *options = options_all(&count);

    for (size_t i = 0; i < load->config->source_count; i++) {
        json_t *object = source_object(load, i);
        char path[CONFIG_PATH];

        config_source_path(load, i, path);
        for (size_t k = 0; k < count; k++)
            if (options[k].kind == OPT_SECRET)
                load_secret(load, &options[k], object, &load->config->sources[i], path);
        if (load->file_public && load->config->sources[i].proxy != NULL &&
            strchr(load->config->sources[i].proxy, '@') != NULL)
            config_warning(load, path,
                           "proxy has a password in a file that every user can read: chmod o-r it");
    }
}
