/* A save beside the caller's work: begin on the caller's thread, write on a thread of its own, end
 * on the caller's thread again. Between begin and end the thread alone touches `saving`; `done`
 * says that it no longer does.
 */
#include "io/checkpoint_saving.h"
#include "parallel/agree.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct checkpoint_writer {
    MPI_Comm comm;
    char folder[CHECKPOINT_PATH];
    char *copy; /* [room] bytes, owned: the slices of the save under way, one after the other */
    int64_t room;
    int64_t step; /* of the save under way; -1: none */
    checkpoint_retention retention;
    saving saving;
    pthread_t thread;
    atomic_bool done;
    status written; /* what the thread has to say, once done */
    error err;
};

/* ---- the copy ---- */

/* Room for `bytes`; touched, so that a lack of memory shows now. */
static status make_room(checkpoint_writer *w, int64_t bytes, error *err) {
    if (bytes <= w->room)
        return STATUS_OK;
    free(w->copy);
    w->room = 0;
    w->copy = malloc((size_t)bytes);
    if (w->copy == NULL)
        return error_set(err, STATUS_FAILED,
                         "no memory for a copy of the %.1f MiB that this rank saves; save without "
                         "asynchronous checkpoints, or use more ranks",
                         (double)bytes / 1048576);
    memset(w->copy, 0, (size_t)bytes);
    w->room = bytes;
    return STATUS_OK;
}

/* The slices look at the copy from here on. */
static void copy_slices(checkpoint_writer *w) {
    saving *s = &w->saving;
    char *to = w->copy;
    for (int64_t i = 0; i < s->slices; i++) {
        checkpoint_slice *slice = &s->slice[i];
        const int64_t bytes =
            slice->count * manifest_element_bytes(s->m.tensor[slice->tensor].type);
        if (bytes > 0)
            memcpy(to, slice->data, (size_t)bytes);
        slice->data = to;
        to += bytes;
    }
}

int64_t checkpoint_copy_bytes(MPI_Comm comm, const checkpoint_content *c) {
    int64_t bytes = 0;
    for (int64_t i = 0; i < c->slices; i++)
        bytes += c->slice[i].count * manifest_element_bytes(c->tensor[c->slice[i].tensor].type);
    if (comm_rank(comm) == 0)
        bytes += c->items * (int64_t)sizeof(int64_t) + (int64_t)strlen(c->config);
    return bytes;
}

/* ---- the thread ---- */

static void *run_thread(void *context) {
    checkpoint_writer *w = context;
    w->written = checkpoint_saving_write(&w->saving, &w->err);
    atomic_store_explicit(&w->done, true, memory_order_release);
    return NULL;
}

/* Signals are for the caller's thread: this one starts with all of them blocked. */
static status start_thread(checkpoint_writer *w, error *err) {
    sigset_t all, old;
    w->err = (error){0};
    atomic_store(&w->done, false);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const int code = pthread_create(&w->thread, NULL, run_thread, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (code == 0)
        return STATUS_OK;
    return error_set(err, STATUS_FAILED, "cannot start a thread for the checkpoint: %s",
                     strerror(code));
}

/* ---- the protocol ---- */

status checkpoint_writer_create(checkpoint_writer **created, MPI_Comm comm, const char *folder,
                                int64_t bytes, error *err) {
    checkpoint_writer *w = calloc(1, sizeof *w);
    status code = STATUS_OK;
    *created = NULL;
    if (w == NULL)
        code = error_set(err, STATUS_FAILED, "no memory to save checkpoints");
    else if (snprintf(w->folder, sizeof w->folder, "%s", folder) >= CHECKPOINT_PATH)
        code = error_set(err, STATUS_INPUT, "the path of the folder %s is too long", folder);
    else
        code = make_room(w, bytes, err);
    code = agree(comm, code, err);
    if (code != STATUS_OK) {
        free(w != NULL ? w->copy : NULL);
        free(w);
        return code;
    }
    w->comm = comm;
    w->step = -1;
    *created = w;
    return STATUS_OK;
}

void checkpoint_writer_destroy(checkpoint_writer *w) {
    if (w == NULL)
        return;
    if (w->step >= 0) {
        pthread_join(w->thread, NULL);
        checkpoint_saving_drop(&w->saving);
    }
    free(w->copy);
    free(w);
}

int64_t checkpoint_under_way(const checkpoint_writer *w) {
    return w->step;
}

status checkpoint_begin(checkpoint_writer *w, const checkpoint_content *content,
                        checkpoint_retention retention, error *err) {
    TRY(checkpoint_finish(w, err));
    saving *s = &w->saving;
    TRY(checkpoint_saving_begin(s, w->comm, w->folder, content, err));
    status code = make_room(w, checkpoint_saving_bytes(s), err);
    code = agree(w->comm, code, err);
    if (code == STATUS_OK) {
        copy_slices(w);
        const status started = start_thread(w, err);
        code = agree(w->comm, started, err);
        if (code != STATUS_OK && started == STATUS_OK)
            pthread_join(w->thread, NULL);
    }
    if (code != STATUS_OK) {
        error_prefix(err, "the checkpoint of step %lld was not saved", (long long)content->step);
        checkpoint_saving_drop(s);
        return code;
    }
    w->step = content->step;
    w->retention = retention;
    return STATUS_OK;
}

/* Joins the thread, which is done or soon will be, and ends the save. */
static status end(checkpoint_writer *w, error *err) {
    pthread_join(w->thread, NULL);
    if (w->written != STATUS_OK)
        *err = w->err;
    w->step = -1;
    return checkpoint_saving_end(&w->saving, w->written, w->retention, err);
}

status checkpoint_poll(checkpoint_writer *w, error *err) {
    if (w->step < 0)
        return STATUS_OK;
    int all_done = atomic_load_explicit(&w->done, memory_order_acquire);
    MPI_TRY(MPI_Allreduce(MPI_IN_PLACE, &all_done, 1, MPI_INT, MPI_MIN, w->comm));
    return all_done ? end(w, err) : STATUS_OK;
}

status checkpoint_finish(checkpoint_writer *w, error *err) {
    return w->step < 0 ? STATUS_OK : end(w, err);
}
