#include "io/h5.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGN_FROM = 64 * 1024, ALIGN_TO = 4096 };

size_t h5_kind_size(h5_kind kind) {
    static const size_t size[] = {
        [KIND_U8] = 1,  [KIND_I32] = 4,     [KIND_I64] = 8,    [KIND_U64] = 8,
        [KIND_F32] = 4, [KIND_TEXT16] = 16, [KIND_TEXT64] = 64};
    return size[kind];
}

static const char *kind_name(h5_kind kind) {
    static const char *const name[] = {
        [KIND_U8] = "8-bit unsigned integers", [KIND_I32] = "32-bit integers",
        [KIND_I64] = "64-bit integers",        [KIND_U64] = "64-bit unsigned integers",
        [KIND_F32] = "32-bit floats",          [KIND_TEXT16] = "strings of 16 bytes",
        [KIND_TEXT64] = "strings of 64 bytes"};
    return name[kind];
}

int64_t h5_array_bytes(const h5_array *array) {
    return array->rows * array->columns * (int64_t)h5_kind_size(array->kind);
}

/* The type on disk. The caller closes it. */
static hid_t type_of(h5_kind kind) {
    switch (kind) {
    case KIND_U8:
        return H5Tcopy(H5T_STD_U8LE);
    case KIND_I32:
        return H5Tcopy(H5T_STD_I32LE);
    case KIND_I64:
        return H5Tcopy(H5T_STD_I64LE);
    case KIND_U64:
        return H5Tcopy(H5T_STD_U64LE);
    case KIND_F32:
        return H5Tcopy(H5T_IEEE_F32LE);
    case KIND_TEXT16:
    case KIND_TEXT64:
        break;
    }
    const hid_t text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, h5_kind_size(kind));
    H5Tset_strpad(text, H5T_STR_NULLPAD);
    return text;
}

/* Before anything else: no printing by the library, and no file locks, which many parallel file
 * systems refuse; a dataset is renamed into place whole and never changed, so needs none. */
static void prepare_library(void) {
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 0);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

status h5_open(hid_t *file, const char *path, error *err) {
    prepare_library();
    *file = H5I_INVALID_HID;
    if (access(path, R_OK) != 0)
        return error_set(err, STATUS_INPUT, "%s: cannot be read: %s", path, strerror(errno));
    *file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (*file < 0)
        return error_set(err, STATUS_INPUT,
                         "%s: is no HDF5 file, or one that was cut short or damaged", path);
    return STATUS_OK;
}

/* With `access_list`, which names the driver; closes it. */
static status create(hid_t *file, const char *path, hid_t access_list, error *err) {
    prepare_library();
    const hid_t create_list = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_libver_bounds(access_list, H5F_LIBVER_V110, H5F_LIBVER_V110);
    H5Pset_alignment(access_list, ALIGN_FROM, ALIGN_TO);
    H5Pset_obj_track_times(create_list, 0); /* the same inputs give the same bytes */
    errno = 0;
    *file = H5Fcreate(path, H5F_ACC_TRUNC, create_list, access_list);
    const int reason = errno;
    H5Pclose(create_list);
    H5Pclose(access_list);
    if (*file < 0)
        return error_set(err, STATUS_FAILED, "%s: cannot be created: %s", path,
                         reason != 0 ? strerror(reason) : "HDF5 refuses");
    return STATUS_OK;
}

status h5_create(hid_t *file, const char *path, error *err) {
    return create(file, path, H5Pcreate(H5P_FILE_ACCESS), err);
}

/* HDF5 opens by name only, and its usual driver does not follow /proc/self/fd to a file that has
 * none; the one on stdio does. Not a file in /dev/shm: that may be full. */
status h5_create_in_memory(hid_t *file, int *fd, char path[H5_MEMORY_PATH], error *err) {
    *file = H5I_INVALID_HID;
    *fd = memfd_create("sepit-header", MFD_CLOEXEC);
    if (*fd < 0)
        return error_set(err, STATUS_FAILED, "cannot create a file in memory: %s", strerror(errno));
    snprintf(path, H5_MEMORY_PATH, "/proc/self/fd/%d", *fd);
    const hid_t access_list = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_stdio(access_list);
    return create(file, path, access_list, err);
}

status h5_close(hid_t file, const char *path, error *err) {
    errno = 0;
    if (H5Fclose(file) < 0)
        return error_set(err, STATUS_FAILED, "%s: writing its header failed: %s", path,
                         errno != 0 ? strerror(errno) : "HDF5 refuses");
    return STATUS_OK;
}

status h5_make_group(hid_t file, const char *path, const char *name, error *err) {
    const hid_t list = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_obj_track_times(list, 0);
    const hid_t group = H5Gcreate2(file, name, H5P_DEFAULT, list, H5P_DEFAULT);
    H5Pclose(list);
    if (group < 0)
        return error_set(err, STATUS_FAILED, "%s: cannot make the group %s", path, name);
    H5Gclose(group);
    return STATUS_OK;
}

status h5_make_array(hid_t file, const char *path, h5_array *array, error *err) {
    const hsize_t shape[2] = {(hsize_t)array->rows, (hsize_t)array->columns};
    const hid_t space = H5Screate_simple(array->columns > 1 ? 2 : 1, shape, NULL);
    const hid_t type = type_of(array->kind);
    const hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_layout(list, H5D_CONTIGUOUS);
    H5Pset_alloc_time(list, H5D_ALLOC_TIME_EARLY);
    H5Pset_fill_time(list, H5D_FILL_TIME_NEVER);
    H5Pset_obj_track_times(list, 0);
    const hid_t data = H5Dcreate2(file, array->name, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    H5Pclose(list);
    H5Tclose(type);
    H5Sclose(space);
    if (data < 0)
        return error_set(err, STATUS_FAILED, "%s: cannot make the array %s of %lld bytes", path,
                         array->name, (long long)h5_array_bytes(array));
    const haddr_t address = H5Dget_offset(data);
    H5Dclose(data);
    array->address = address == HADDR_UNDEF ? 0 : (int64_t)address;
    if (array->address == 0 && h5_array_bytes(array) > 0)
        return error_set(err, STATUS_FAILED, "%s: HDF5 gave %s no place in the file", path,
                         array->name);
    return STATUS_OK;
}

/* Says what is wrong with a type that is not `wanted`, NULL when nothing is. */
static const char *type_fault(hid_t data, h5_kind wanted) {
    const hid_t found = H5Dget_type(data), type = type_of(wanted);
    const char *fault = NULL;
    if (H5Tget_class(found) != H5Tget_class(type))
        fault = "another class of values";
    else if (H5Tget_class(found) == H5T_STRING && H5Tis_variable_str(found) != 0)
        fault = "variable-length strings";
    else if (H5Tget_size(found) != H5Tget_size(type))
        fault = "values of another size";
    else if (H5Tget_class(found) != H5T_STRING && H5Tequal(found, type) <= 0)
        fault = "another sign or byte order";
    H5Tclose(type);
    H5Tclose(found);
    return fault;
}

/* The same for the way it is stored. */
static const char *layout_fault(hid_t data) {
    const hid_t list = H5Dget_create_plist(data);
    const char *fault = NULL;
    if (H5Pget_layout(list) != H5D_CONTIGUOUS)
        fault = "storage that is not contiguous";
    else if (H5Pget_nfilters(list) != 0)
        fault = "filters";
    else if (H5Pget_external_count(list) != 0)
        fault = "data in another file";
    H5Pclose(list);
    return fault;
}

/* Rows, or −1 when rank or columns differ. */
static int64_t rows_of(hid_t data, int64_t columns) {
    const hid_t space = H5Dget_space(data);
    hsize_t shape[2] = {0, 1};
    const int rank = H5Sget_simple_extent_ndims(space);
    int64_t rows = -1;
    if (rank == (columns > 1 ? 2 : 1) && H5Sget_simple_extent_dims(space, shape, NULL) == rank &&
        shape[0] <= INT64_MAX / 64 && (rank == 1 || shape[1] == (hsize_t)columns))
        rows = (int64_t)shape[0];
    H5Sclose(space);
    return rows;
}

static status check_array(hid_t data, const char *path, int64_t size, h5_array *array, error *err) {
    const char *fault = type_fault(data, array->kind);
    if (fault == NULL)
        fault = layout_fault(data);
    if (fault == NULL && (array->rows = rows_of(data, array->columns)) < 0)
        fault = "another shape";
    if (fault != NULL)
        return error_set(err, STATUS_INPUT,
                         "%s: %s has %s where a contiguous array of %s with %lld in a row is "
                         "expected",
                         path, array->name, fault, kind_name(array->kind),
                         (long long)array->columns);
    const haddr_t address = H5Dget_offset(data);
    const int64_t bytes = h5_array_bytes(array);
    array->address = address == HADDR_UNDEF ? 0 : (int64_t)address;
    if (bytes > 0 && (array->address <= 0 || bytes > size || array->address > size - bytes))
        return error_set(err, STATUS_INPUT,
                         "%s: %s should hold %lld bytes from byte %lld on, but the file has %lld: "
                         "it was cut short; make it again",
                         path, array->name, (long long)bytes, (long long)array->address,
                         (long long)size);
    return STATUS_OK;
}

/* A name of this very file: a link may also lead into another one. */
static bool is_inside(hid_t file, const char *name) {
    H5L_info_t info;
    return H5Lexists(file, name, H5P_DEFAULT) > 0 &&
           H5Lget_info(file, name, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_HARD;
}

status h5_find_array(hid_t file, const char *path, int64_t size, h5_array *array, error *err) {
    /* H5Lexists needs every part of the path to exist. */
    char group[H5_NAME_SIZE];
    memcpy(group, array->name, sizeof group);
    char *slash = strrchr(group, '/');
    if (slash != NULL)
        *slash = '\0';
    const bool present =
        (group[0] == '\0' || is_inside(file, group)) && is_inside(file, array->name);
    const hid_t data = present ? H5Dopen2(file, array->name, H5P_DEFAULT) : H5I_INVALID_HID;
    if (data < 0)
        return error_set(err, STATUS_INPUT, "%s: has no array %s", path, array->name);
    const status code = check_array(data, path, size, array, err);
    H5Dclose(data);
    return code;
}

static status write_attribute(hid_t file, const char *path, const char *name, hid_t type,
                              const void *value, error *err) {
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    const herr_t code = attribute < 0 ? -1 : H5Awrite(attribute, type, value);
    if (attribute >= 0)
        H5Aclose(attribute);
    H5Sclose(space);
    if (code < 0)
        return error_set(err, STATUS_FAILED, "%s: cannot write the attribute %s", path, name);
    return STATUS_OK;
}

status h5_write_text(hid_t file, const char *path, const char *name, const char *text, error *err) {
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, strlen(text) + 1);
    const status code = write_attribute(file, path, name, type, text, err);
    H5Tclose(type);
    return code;
}

status h5_write_integer(hid_t file, const char *path, const char *name, int64_t value, error *err) {
    return write_attribute(file, path, name, H5T_STD_I64LE, &value, err);
}

static hid_t open_scalar(hid_t file, const char *name) {
    if (H5Aexists(file, name) <= 0)
        return H5I_INVALID_HID;
    const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    if (attribute < 0)
        return attribute;
    const hid_t space = H5Aget_space(attribute);
    const int scalar = H5Sget_simple_extent_npoints(space) == 1;
    H5Sclose(space);
    if (scalar)
        return attribute;
    H5Aclose(attribute);
    return H5I_INVALID_HID;
}

status h5_read_text(hid_t file, const char *path, const char *name, char **text, error *err) {
    *text = NULL;
    const hid_t attribute = open_scalar(file, name);
    if (attribute >= 0) {
        const hid_t type = H5Aget_type(attribute);
        const size_t size = H5Tget_size(type);
        if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 && size > 0 &&
            size <= H5_TEXT_LIMIT && (*text = calloc(size + 1, 1)) != NULL &&
            H5Aread(attribute, type, *text) < 0) {
            free(*text);
            *text = NULL;
        }
        H5Tclose(type);
        H5Aclose(attribute);
    }
    if (*text == NULL)
        return error_set(err, STATUS_INPUT, "%s: has no readable text attribute %s", path, name);
    return STATUS_OK;
}

status h5_read_integer(hid_t file, const char *path, const char *name, int64_t *value, error *err) {
    herr_t code = -1;
    const hid_t attribute = open_scalar(file, name);
    if (attribute >= 0) {
        const hid_t type = H5Aget_type(attribute);
        if (H5Tget_class(type) == H5T_INTEGER)
            code = H5Aread(attribute, H5T_NATIVE_INT64, value);
        H5Tclose(type);
        H5Aclose(attribute);
    }
    if (code < 0)
        return error_set(err, STATUS_INPUT, "%s: has no readable integer attribute %s", path, name);
    return STATUS_OK;
}
