/* Error codes -> class and exit code; building error sentences. No globals. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "slsrelay/err.h"

enum slsr_class slsr_err_class(int code)
{
    if (code == 0)
        return SLSR_CLASS_OK;
    if (code > SLSR_ELOST)
        return SLSR_CLASS_RETRY;
    if (code > SLSR_ETOOBIG)
        return SLSR_CLASS_LOST;
    if (code > SLSR_ECORRUPT)
        return SLSR_CLASS_REJECT;
    return SLSR_CLASS_STOP;
}

const char *slsr_class_name(enum slsr_class class_)
{
    switch (class_) {
    case SLSR_CLASS_OK:
        return "ok";
    case SLSR_CLASS_RETRY:
        return "retry";
    case SLSR_CLASS_LOST:
        return "lost";
    case SLSR_CLASS_REJECT:
        return "reject";
    case SLSR_CLASS_STOP:
        break;
    }
    return "stop";
}

int slsr_err_exit(int code)
{
    switch (code) {
    case SLSR_OK:
    case SLSR_ESTOPPED:
        return 0;
    case SLSR_ENOMATCH:
        return 1;
    case SLSR_ECORRUPT:
    case SLSR_EVERSION:
        return 2;
    case SLSR_EUSAGE:
        return 64;
    case SLSR_ENOSPOOL:
    case SLSR_EBADDATA:
        return 66;
    case SLSR_ECREATE:
        return 73;
    case SLSR_EIO:
    case SLSR_EFAILED:
    case SLSR_EFULL:
    case SLSR_ENOMEM:
        return 74;
    case SLSR_EBUSY:
        return 75;
    case SLSR_EPERM:
        return 77;
    case SLSR_ECONFIG:
        return 78;
    default:
        return 69;
    }
}

static int fail_v(struct slsr_err *err, int code, const char *fmt, va_list ap)
{
    if (err != NULL) {
        err->code = code;
        vsnprintf(err->text, sizeof err->text, fmt, ap);
    }
    return code;
}

int slsr_fail(struct slsr_err *err, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_v(err, code, fmt, ap);
    va_end(ap);
    return code;
}

int slsr_fail_errno(struct slsr_err *err, int code, int errnum, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fail_v(err, code, fmt, ap);
    va_end(ap);
    if (err != NULL) {
        char why[128];
        size_t used = strlen(err->text);

        snprintf(err->text + used, sizeof err->text - used, ": %s",
                 strerror_r(errnum, why, sizeof why));
    }
    return code;
}

int slsr_wrap(struct slsr_err *err, int rc, const char *fmt, ...)
{
    char place[SLSR_ERR_TEXT];
    char whole[SLSR_ERR_TEXT * 2 + 2];
    va_list ap;

    if (rc == 0 || err == NULL)
        return rc;
    va_start(ap, fmt);
    vsnprintf(place, sizeof place, fmt, ap);
    va_end(ap);
    snprintf(whole, sizeof whole, "%s: %s", place, err->text);
    memcpy(err->text, whole, sizeof err->text - 1);
    err->text[sizeof err->text - 1] = '\0';
    return rc;
}
