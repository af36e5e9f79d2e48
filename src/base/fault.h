/* Named places where a test makes the program die or an operation fail. Compiled in only with
 * -DSLSR_FAULTS=ON; otherwise FAULT() is the constant 0 and nothing of it remains.
 *
 * SLSR_FAULT=NAME:N:die|EIO|ENOSPC chooses one point: the N-th time (from 1) that any thread comes
 * there the process is killed with SIGKILL, or FAULT() is that errno, once. Points named "before"
 * lie before the durable step, those named "after" behind it. tests/crash loops over this table. */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#define FAULT_POINTS(X)                                                                            \
    X(SEGMENT_CREATE_BEFORE, "spool.segment.create.before")                                        \
    X(SEGMENT_OPENED, "spool.segment.create.opened")                                               \
    X(SEGMENT_FIRST_BEFORE, "spool.segment.first-commit.before")                                   \
    X(SEGMENT_FIRST_AFTER, "spool.segment.first-commit.after")                                     \
    X(SEGMENT_CREATE_AFTER, "spool.segment.create.after")                                          \
    X(DIR_SYNC_BEFORE, "spool.dir-sync.before")                                                    \
    X(DIR_SYNC_AFTER, "spool.dir-sync.after")                                                      \
    X(ROTATE_BEFORE, "spool.rotate.before")                                                        \
    X(ROTATE_AFTER, "spool.rotate.after")                                                          \
    X(COMMIT_BEFORE, "spool.commit.before")                                                        \
    X(COMMIT_AFTER, "spool.commit.after")                                                          \
    X(PUBLISH_AFTER, "spool.publish.after")                                                        \
    X(UNLINK_BEFORE, "spool.unlink.before")                                                        \
    X(UNLINK_AFTER, "spool.unlink.after")                                                          \
    X(ACK_FLUSH_BEFORE, "spool.ack-flush.before")                                                  \
    X(ACK_FLUSH_AFTER, "spool.ack-flush.after")                                                    \
    X(ACK_OPEN_AFTER, "spool.ack-open.after")                                                      \
    X(SHARD_NOTE_BEFORE, "spool.shard-note.before")                                                \
    X(SHARD_NOTE_AFTER, "spool.shard-note.after")                                                  \
    X(SUBMIT_AFTER, "consume.submit.after")                                                        \
    X(SETTLE_AFTER, "consume.settle.after")                                                        \
    X(CHECKPOINT_PUT_BEFORE, "consume.checkpoint-put.before")                                      \
    X(CHECKPOINT_PUT_AFTER, "consume.checkpoint-put.after")                                        \
    X(SEND_ACK_BEFORE, "send.ack.before")                                                          \
    X(SEND_ACK_AFTER, "send.ack.after")

enum fault_point {
#define FAULT_ENUM(id, name) FAULT_##id,
    FAULT_POINTS(FAULT_ENUM)
#undef FAULT_ENUM
        FAULT_COUNT
};

/* Names in the order of the enum, for the program that prints them; NULL behind the last. */
const char *fault_name(int point);

#ifdef SLSR_FAULTS
/* 0, or the errno that this point shall fail with now; or does not return. Any thread. */
int fault_at(enum fault_point point);
#define FAULT(id) fault_at(FAULT_##id)
#else
#define FAULT(id) 0
#endif

/* A point where one can only die. */
#define FAULT_DIE(id) ((void)FAULT(id))

#endif
