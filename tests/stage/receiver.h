/* A syslog receiver with faults, in a thread: counts what its *application* has read. */
#ifndef STAGE_RECEIVER_H
#define STAGE_RECEIVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { RECEIVER_FRAMES = 65536, RECEIVER_CONNS = 16 };

struct receiver {
    /* set before receiver_start */
    bool lf;
    unsigned stall_at; /* frames read in total, then nobody reads; 0: never */
    unsigned fin_at;   /* then FIN over unread data, once; 0: never */
    bool reset_at_eof; /* never closes back: always RST */
    bool only_one;     /* ends a second connection at once */
    bool slam;         /* ends every connection at once */
    bool bite;         /* resets every connection that brings data */
    unsigned poison;   /* number of a frame that it resets the connection at, unread; 0: none */
    bool late;         /* poison: reads it, and resets the next connection that brings anything */
    int small_rcvbuf;  /* bytes, 0: default */
    void (*on_count)(void *ctx, unsigned frames); /* in the receiver's thread; may be NULL */
    void *ctx;
    /* results */
    atomic_uint seen[RECEIVER_FRAMES]; /* by number in the frame */
    /* When it came first, counted over all receivers of the process: 1, 2 ...; 0: never */
    atomic_uint first[RECEIVER_FRAMES];
    atomic_uint frames;   /* read, repeats included */
    atomic_uint disorder; /* inside one connection */
    atomic_uint connections;
    atomic_uint garbage;
    int port;
    /* indoors */
    int listener, wake;
    atomic_bool quit, kill, hang_up, stalled, unstall;
    bool fin_done;
    bool sick; /* has read its poison */
    pthread_t thread;
    bool running;
    struct {
        int fd;
        bool deaf;
        bool ate; /* has brought the poison */
        char *buf;
        unsigned used, last;
    } conns[RECEIVER_CONNS];
};

/* Takes a port of 127.0.0.1; connecting is refused until receiver_start. */
void receiver_bind(struct receiver *r);
void receiver_start(struct receiver *r);
/* All connections reset, no more listening; returns when it is done. Start again afterwards. */
void receiver_die(struct receiver *r);
/* All present connections are closed in good order, as of a receiver that is tired of waiting. */
void receiver_hang_up(struct receiver *r);
/* Reads on, after stall_at. */
void receiver_resume(struct receiver *r);
void receiver_fini(struct receiver *r);

#endif
