#include "parallel/exchange_records.h"

#include "parallel/agree.h"

#include <stdlib.h>
#include <string.h>

enum {
    SAMPLES = 32,             /* per rank, for the borders */
    LARGEST_MESSAGE = 1 << 30 /* bytes; larger ones go in slices */
};

void record_set_destroy(record_set *set) {
    free(set->offset);
    free(set->data);
    *set = (record_set){0};
}

/* Grows one array to hold `need` items of `size`, half as much again at least. */
static status grow(void **array, int64_t *room, int64_t need, int64_t size, error *err) {
    if (need <= *room)
        return STATUS_OK;
    const int64_t wanted = need > *room + *room / 2 ? need : *room + *room / 2;
    void *larger = realloc(*array, (size_t)(wanted * size));
    if (larger == NULL)
        return error_set(err, STATUS_FAILED,
                         "out of memory: %lld bytes for records; use more ranks on more nodes",
                         (long long)(wanted * size));
    *array = larger;
    *room = wanted;
    return STATUS_OK;
}

static status make_room(record_set *set, int64_t count, int64_t bytes, error *err) {
    TRY(grow((void **)&set->offset, &set->room_count, count + 1, sizeof *set->offset, err));
    TRY(grow((void **)&set->data, &set->room_bytes, bytes, 1, err));
    set->offset[0] = 0;
    return STATUS_OK;
}

uint8_t *record_set_add(record_set *set, int64_t bytes, error *err) {
    CHECK(bytes >= RECORD_KEY, "a record of %lld bytes has no key.", (long long)bytes);
    const int64_t padded = (bytes + RECORD_ALIGNMENT - 1) / RECORD_ALIGNMENT * RECORD_ALIGNMENT;
    if (make_room(set, set->count + 1, set->bytes + padded, err) != STATUS_OK)
        return NULL;
    uint8_t *record = set->data + set->bytes;
    memset(record + padded - RECORD_ALIGNMENT, 0, RECORD_ALIGNMENT);
    set->bytes += padded;
    set->offset[++set->count] = set->bytes;
    return record;
}

static int compare_keys(const void *a, const void *b, void *data) {
    const uint8_t *base = data;
    return memcmp(base + ((const int64_t *)a)[0], base + ((const int64_t *)b)[0], RECORD_KEY);
}

status record_set_sort(record_set *set, error *err) {
    typedef struct span {
        int64_t begin, length;
    } span;
    if (set->count < 2)
        return STATUS_OK;
    span *order = malloc((size_t)set->count * sizeof *order);
    uint8_t *sorted = malloc((size_t)set->bytes);
    if (order == NULL || sorted == NULL) {
        free(order);
        free(sorted);
        return error_set(err, STATUS_FAILED, "out of memory: %lld bytes to sort records",
                         (long long)set->bytes);
    }
    for (int64_t i = 0; i < set->count; i++)
        order[i] = (span){set->offset[i], set->offset[i + 1] - set->offset[i]};
    qsort_r(order, (size_t)set->count, sizeof *order, compare_keys, set->data);
    int64_t used = 0;
    for (int64_t i = 0; i < set->count; i++) {
        memcpy(sorted + used, set->data + order[i].begin, (size_t)order[i].length);
        set->offset[i] = used;
        used += order[i].length;
    }
    free(order);
    free(set->data);
    set->data = sorted;
    set->room_bytes = set->bytes;
    return STATUS_OK;
}

static int compare_groups(const void *a, const void *b) {
    return memcmp(a, b, RECORD_GROUP);
}

status record_set_borders(MPI_Comm comm, const record_set *set, uint8_t **borders, error *err) {
    const int size = comm_size(comm);
    const int64_t all = (int64_t)size * SAMPLES;
    /* A rank without records gives no sample: its places stay zero and are left out. */
    uint8_t mine[SAMPLES * RECORD_GROUP] = {0};
    for (int64_t s = 0; s < SAMPLES && set->count > 0; s++)
        memcpy(mine + s * RECORD_GROUP, record_at(set, (2 * s + 1) * set->count / (2 * SAMPLES)),
               RECORD_GROUP);
    uint8_t *sample = malloc((size_t)(all * RECORD_GROUP));
    uint8_t *border = calloc((size_t)size, RECORD_GROUP);
    status local = STATUS_OK;
    if (sample == NULL || border == NULL)
        local = error_set(err, STATUS_FAILED, "out of memory: sample of %lld keys", (long long)all);
    if (agree(comm, local, err) != STATUS_OK) {
        free(sample);
        free(border);
        return err->code;
    }
    MPI_TRY(
        MPI_Allgather(mine, (int)sizeof mine, MPI_BYTE, sample, (int)sizeof mine, MPI_BYTE, comm));
    qsort(sample, (size_t)all, RECORD_GROUP, compare_groups);
    static const uint8_t none[RECORD_GROUP];
    int64_t first = 0;
    while (first < all && memcmp(sample + first * RECORD_GROUP, none, RECORD_GROUP) == 0)
        first++;
    for (int r = 1; r < size && first < all; r++)
        memcpy(border + (int64_t)(r - 1) * RECORD_GROUP,
               sample + (first + r * (all - first) / size) * RECORD_GROUP, RECORD_GROUP);
    free(sample);
    *borders = border;
    return STATUS_OK;
}

/* The first record whose group is not below the border. */
static int64_t find_border(const record_set *set, const uint8_t *border) {
    int64_t low = 0, high = set->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (memcmp(record_at(set, middle), border, RECORD_GROUP) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* What goes from a rank to another, or comes from it. */
typedef struct parcel {
    int64_t first, count; /* records */
    int64_t begin, bytes; /* in data */
} parcel;

/* Length of the slice at `at` of a message of `bytes`. */
static int slice_at(int64_t at, int64_t bytes) {
    const int64_t left = bytes - at;
    return mpi_count(left < 0 ? 0 : left < LARGEST_MESSAGE ? left : LARGEST_MESSAGE);
}

/* Sends `send` bytes to one rank while `receive` bytes come from another, slice by slice; the
 * shorter side stands still at the end. */
static void swap_bytes(MPI_Comm comm, int to, const void *out, int64_t send, int from, void *in,
                       int64_t receive) {
    for (int64_t at = 0; at < send || at < receive; at += LARGEST_MESSAGE)
        MPI_TRY(MPI_Sendrecv((const uint8_t *)out + (at < send ? at : 0), slice_at(at, send),
                             MPI_BYTE, at < send ? to : MPI_PROC_NULL, 0,
                             (uint8_t *)in + (at < receive ? at : 0), slice_at(at, receive),
                             MPI_BYTE, at < receive ? from : MPI_PROC_NULL, 0, comm,
                             MPI_STATUS_IGNORE));
}

/* Cuts the sorted set at the borders. */
static void cut_parcels(const record_set *set, const uint8_t *borders, int size, parcel *out) {
    for (int r = 0; r < size; r++) {
        const int64_t begin =
            r == 0 ? 0 : find_border(set, borders + (int64_t)(r - 1) * RECORD_GROUP);
        const int64_t end =
            r == size - 1 ? set->count : find_border(set, borders + (int64_t)r * RECORD_GROUP);
        out[r] = (parcel){begin, end - begin, 0, 0};
        if (end > begin) {
            out[r].begin = set->offset[begin];
            out[r].bytes = set->offset[end] - set->offset[begin];
        }
    }
}

/* Moves lengths and bytes of every parcel, one pair of neighbours at a time: at step k to the rank
 * k above, from the rank k below. */
static void move_parcels(MPI_Comm comm, const record_set *set, const int64_t *length,
                         const parcel *out, const parcel *in, record_set *got) {
    const int rank = comm_rank(comm), size = comm_size(comm);
    for (int k = 0; k < size; k++) {
        const int to = (rank + k) % size, from = (rank - k + size) % size;
        swap_bytes(comm, to, length + out[to].first, out[to].count * 8, from,
                   got->offset + 1 + in[from].first, in[from].count * 8);
        swap_bytes(comm, to, set->data + out[to].begin, out[to].bytes, from,
                   got->data + in[from].begin, in[from].bytes);
    }
}

/* Tells every rank what it will get and makes room for it. */
static status announce_parcels(MPI_Comm comm, int size, const parcel *out, parcel *in,
                               record_set *got, error *err) {
    MPI_TRY(MPI_Alltoall(out, (int)sizeof *out, MPI_BYTE, in, (int)sizeof *in, MPI_BYTE, comm));
    int64_t records = 0, bytes = 0;
    for (int r = 0; r < size; r++) {
        in[r] = (parcel){records, in[r].count, bytes, in[r].bytes};
        records += in[r].count;
        bytes += in[r].bytes;
    }
    TRY(agree(comm, make_room(got, records, bytes, err), err));
    got->count = records;
    got->bytes = bytes;
    return STATUS_OK;
}

status record_set_exchange(MPI_Comm comm, record_set *set, const uint8_t *borders, error *err) {
    const int size = comm_size(comm);
    record_set got = {0};
    parcel *out = calloc((size_t)size * 2, sizeof *out), *in = out + size;
    int64_t *length = malloc((size_t)(set->count + 1) * sizeof *length);
    status code = record_set_sort(set, err);
    if (out == NULL || length == NULL)
        code = error_set(err, STATUS_FAILED, "out of memory: exchange of %lld records",
                         (long long)set->count);
    code = agree(comm, code, err);
    if (code == STATUS_OK) {
        for (int64_t i = 0; i < set->count; i++)
            length[i] = set->offset[i + 1] - set->offset[i];
        cut_parcels(set, borders, size, out);
        code = announce_parcels(comm, size, out, in, &got, err);
    }
    if (code == STATUS_OK)
        move_parcels(comm, set, length, out, in, &got);
    free(length);
    free(out);
    record_set_destroy(set);
    for (int64_t i = 0; i < got.count; i++)
        got.offset[i + 1] += got.offset[i];
    *set = got;
    if (code == STATUS_OK)
        code = agree(comm, record_set_sort(set, err), err);
    if (code != STATUS_OK)
        record_set_destroy(set);
    return code;
}

void exchange_sum_before(MPI_Comm comm, int64_t count, int64_t *values) {
    MPI_TRY(MPI_Exscan(MPI_IN_PLACE, values, mpi_count(count), MPI_INT64_T, MPI_SUM, comm));
    if (comm_rank(comm) == 0) /* what Exscan leaves there is undefined */
        memset(values, 0, (size_t)count * sizeof *values);
}

void exchange_broadcast(MPI_Comm comm, int64_t bytes, void *data) {
    for (int64_t at = 0; at < bytes; at += LARGEST_MESSAGE)
        MPI_TRY(MPI_Bcast((uint8_t *)data + at,
                          mpi_count(bytes - at < LARGEST_MESSAGE ? bytes - at : LARGEST_MESSAGE),
                          MPI_BYTE, 0, comm));
}

char *exchange_gather_text(MPI_Comm comm, const char *text) {
    const int rank = comm_rank(comm), size = comm_size(comm);
    char *all = NULL;
    const int64_t mine = (int64_t)strlen(text);
    int64_t total = mine;
    comm_sum(comm, &total, 1);
    if (rank > 0) {
        MPI_TRY(MPI_Send(&mine, 1, MPI_INT64_T, 0, 0, comm));
        MPI_TRY(MPI_Send(text, mpi_count(mine), MPI_CHAR, 0, 0, comm));
        return NULL;
    }
    all = malloc((size_t)total + 1);
    CHECK(all != NULL, "out of memory: %lld bytes of reports.", (long long)total);
    memcpy(all, text, (size_t)mine);
    int64_t used = mine;
    for (int r = 1; r < size; r++) {
        int64_t length = 0;
        MPI_TRY(MPI_Recv(&length, 1, MPI_INT64_T, r, 0, comm, MPI_STATUS_IGNORE));
        MPI_TRY(MPI_Recv(all + used, mpi_count(length), MPI_CHAR, r, 0, comm, MPI_STATUS_IGNORE));
        used += length;
    }
    all[used] = '\0';
    return all;
}
