/* Error codes, their class and the error text.
 *
 * Functions return 0 or a negative SLSR_E... and take `struct slsr_err *err` as last parameter (it
 * lives on the caller's stack and may be NULL). The text is one sentence: what, where, what to do.
 * Each floor on the way up may put its place in front with slsr_wrap(). Thread-safe: no globals. */
#ifndef SLSRELAY_ERR_H
#define SLSRELAY_ERR_H

#include <stdarg.h>
#include <stddef.h>

/* What the caller should do. */
enum slsr_class {
    SLSR_CLASS_OK,
    SLSR_CLASS_RETRY,  /* keep the data, back off, do it again */
    SLSR_CLASS_LOST,   /* let go, report nothing: the shard is another consumer's now */
    SLSR_CLASS_REJECT, /* set this one item aside, count it, go on */
    SLSR_CLASS_STOP    /* keep the data, say it once, wait for a person */
};

enum slsr_code {
    SLSR_OK = 0,
    /* RETRY */
    SLSR_ENET = -1,    /* resolve, connect, send, receive, TLS */
    SLSR_ESERVER = -2, /* SLS 5xx, or an answer that makes no sense */
    SLSR_EQUOTA = -3,  /* SLS read quota, 429 */
    SLSR_EAUTH = -4,   /* key, signature, token, permission: keys rotate, so it is retried slowly */
    SLSR_ECLOCK = -5,  /* this machine's clock is off */
    SLSR_EFULL = -6,   /* spool limit or disk full */
    SLSR_EIO = -7,     /* the disk failed; nothing of the operation is visible */
    SLSR_ENOTFOUND = -8, /* project, logstore or consumer group does not exist (may appear later) */
    SLSR_EREMOTE = -9,   /* the far side ended the connection or refused */
    /* LOST */
    SLSR_ELOST = -20, /* shard or consumer no longer ours */
    /* REJECT */
    SLSR_ETOOBIG = -30,  /* over a limit */
    SLSR_EBADDATA = -31, /* bytes from outside that do not parse */
    SLSR_ECURSOR = -32,  /* InvalidCursor: older than retention or beyond the end */
    SLSR_ENOMATCH = -33, /* nothing selected */
    /* STOP */
    SLSR_ECORRUPT = -40, /* spool damaged */
    SLSR_EVERSION = -41, /* spool written by a newer version */
    SLSR_ECONFIG = -42,
    SLSR_EBUSY = -43,    /* another process owns it */
    SLSR_EPERM = -44,    /* file permission */
    SLSR_ENOSPOOL = -45, /* no such spool or file */
    SLSR_ECREATE = -46,  /* cannot create */
    SLSR_EUSAGE = -47,
    SLSR_ENOMEM = -48,
    SLSR_ESTOPPED = -49, /* the stop token fired: not a failure */
    SLSR_EFAILED = -51,  /* the spool's writer gave up: only a restart helps */
    SLSR_ECLIENT = -50   /* SLS says that our request is wrong: a bug or a wrong setting */
};

enum { SLSR_ERR_TEXT = 512 };

struct slsr_err {
    int code;
    char text[SLSR_ERR_TEXT];
};

enum slsr_class slsr_err_class(int code);
/* "retry", "lost" ...: for diagnostics. Static text. */
const char *slsr_class_name(enum slsr_class class_);
/* sysexits code for a program that ends on `code` (interface: 64, 66, 69, 73, 74, 75, 77, 78, 2).
 */
int slsr_err_exit(int code);

/* Sets code and text (cut to fit), returns code. */
int slsr_fail(struct slsr_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Like slsr_fail with ": <strerror(errnum)>" behind it. */
int slsr_fail_errno(struct slsr_err *err, int code, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Puts "<place>: " in front of the text, returns rc. Does nothing when rc is 0. */
int slsr_wrap(struct slsr_err *err, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
