#include "io/checkpoint_files.h"
#include "io/h5.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static hid_t type_on_disk(checkpoint_type type) {
    switch (type) {
    case CHECKPOINT_F32:
        return H5T_IEEE_F32LE;
    case CHECKPOINT_F64:
        return H5T_IEEE_F64LE;
    case CHECKPOINT_I64:
        return H5T_STD_I64LE;
    case CHECKPOINT_U8:
        break;
    }
    return H5T_STD_U8LE;
}

static hid_t space_of(const checkpoint_tensor *t) {
    hsize_t shape[CHECKPOINT_RANK];
    for (int i = 0; i < t->rank; i++)
        shape[i] = (hsize_t)t->shape[i];
    return t->rank == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(t->rank, shape, NULL);
}

/* Contiguous, given its place at once, and never filled by HDF5: we write the data. */
static hid_t how_to_store(void) {
    const hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_layout(list, H5D_CONTIGUOUS);
    H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(list, H5D_FILL_TIME_NEVER);
    H5Pset_obj_track_times(list, 0);
    return list;
}

/* The groups above the tensor; not HDF5's own intermediate groups, which carry the time of day: the
 * same content gives the same bytes. */
static status make_groups(hid_t file, const char *path, const char *name, error *err) {
    char group[CHECKPOINT_NAME];
    for (const char *slash = strchr(name + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(group, sizeof group, "%.*s", (int)(slash - name), name);
        if (H5Lexists(file, group, H5P_DEFAULT) <= 0)
            TRY(h5_make_group(file, path, group, err));
    }
    return STATUS_OK;
}

static status make_tensor(hid_t file, const char *path, const checkpoint_tensor *t, int64_t *offset,
                          error *err) {
    TRY(make_groups(file, path, t->name, err));
    const hid_t space = space_of(t), store = how_to_store();
    const hid_t data =
        H5Dcreate2(file, t->name, type_on_disk(t->type), space, H5P_DEFAULT, store, H5P_DEFAULT);
    haddr_t place = HADDR_UNDEF;
    if (data >= 0) {
        place = H5Dget_offset(data);
        H5Dclose(data);
    }
    H5Pclose(store);
    H5Sclose(space);
    *offset = place == HADDR_UNDEF ? 0 : (int64_t)place;
    if (data < 0 || (*offset == 0 && manifest_elements(t) > 0))
        return error_set(err, STATUS_FAILED,
                         "HDF5 cannot create the tensor %s; is its name there twice, or a part of "
                         "another?",
                         t->name);
    return STATUS_OK;
}

static status fill(hid_t file, const char *path, manifest *m, error *err) {
    TRY(h5_write_text(file, path, "format", "sepit-checkpoint", err));
    TRY(h5_write_integer(file, path, "version", 1, err));
    TRY(h5_write_integer(file, path, "step", m->step, err));
    for (int64_t i = 0; i < m->tensors; i++)
        TRY(make_tensor(file, path, &m->tensor[i], &m->offset[i], err));
    return STATUS_OK;
}

status checkpoint_create_skeleton(int *fd, manifest *m, error *err) {
    char path[H5_MEMORY_PATH];
    hid_t file = H5I_INVALID_HID;
    TRY(h5_create_in_memory(&file, fd, path, err));
    const status filled = fill(file, path, m, err);
    error closing = {0};
    const status closed = h5_close(file, path, &closing);
    if (filled != STATUS_OK)
        return filled;
    if (closed != STATUS_OK)
        return error_set(err, closed, "%s", closing.text);
    struct stat info;
    if (fstat(*fd, &info) != 0)
        return error_set(err, STATUS_FAILED, "cannot look at %s: %s", path, strerror(errno));
    m->bytes = info.st_size;
    for (int64_t i = 0; i < m->tensors; i++) {
        const checkpoint_tensor *t = &m->tensor[i];
        const int64_t end = m->offset[i] + manifest_elements(t) * manifest_element_bytes(t->type);
        m->bytes = end > m->bytes ? end : m->bytes;
    }
    /* The last tensor may end behind HDF5's last byte. */
    if (ftruncate(*fd, m->bytes) != 0)
        return error_set(err, STATUS_FAILED, "cannot lengthen %s: %s", path, strerror(errno));
    return STATUS_OK;
}
