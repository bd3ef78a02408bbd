#include "src/data/build_inputs.h"

#include "io/inflate.h"
#include "parallel/agree.h"
#include "parallel/exchange_records.h"

#include <ctype.h>
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SNIFF_BYTES = 4096 };

/* ---- listing, on rank 0 ---------------------------------------------------------------------- */

/* A file that may be an input; positions are in the text. */
typedef struct candidate {
    int64_t path, label, size;
    input_kind kind;
    int named; /* asked for by name, not found in a folder */
} candidate;

typedef struct listing {
    candidate *items;
    int64_t count, room;
    char *text;
    int64_t bytes, text_room;
} listing;

static void *grow(void *array, int64_t *room, int64_t need, size_t size) {
    if (need <= *room)
        return array;
    *room = need > 2 * *room ? need : 2 * *room;
    void *larger = realloc(array, (size_t)*room * size);
    CHECK(larger != NULL, "out of memory: a list of %lld files.", (long long)need);
    return larger;
}

/* `label` is inside `path`. */
static void add_candidate(listing *l, const char *path, const char *label, int64_t size,
                          input_kind kind, int named) {
    const int64_t bytes = (int64_t)strlen(path) + 1;
    l->items = grow(l->items, &l->room, l->count + 1, sizeof *l->items);
    l->text = grow(l->text, &l->text_room, l->bytes + bytes, 1);
    memcpy(l->text + l->bytes, path, (size_t)bytes);
    l->items[l->count++] = (candidate){l->bytes, l->bytes + (label - path), size, kind, named};
    l->bytes += bytes;
}

static int compare_names(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static status list_folder(listing *l, const char *folder, input_kind kind, error *err) {
    char *start[2] = {strdup(folder), NULL};
    FTS *walk = start[0] == NULL ? NULL : fts_open(start, FTS_LOGICAL | FTS_NOCHDIR, compare_names);
    status code = STATUS_OK;
    if (walk == NULL)
        code = error_set(err, STATUS_FAILED, "%s: cannot be listed: %s", folder, strerror(errno));
    while (code == STATUS_OK) {
        errno = 0;
        FTSENT *item = fts_read(walk);
        if (item == NULL && errno == 0)
            break;
        if (item != NULL && item->fts_info == FTS_SLNONE)
            code =
                error_set(err, STATUS_INPUT, "%s: is a symbolic link to nothing; mend or remove it",
                          item->fts_path);
        else if (item == NULL || item->fts_info == FTS_DNR || item->fts_info == FTS_ERR ||
                 item->fts_info == FTS_NS)
            code = error_set(err, STATUS_INPUT, "%s: cannot be read: %s",
                             item == NULL ? folder : item->fts_path,
                             strerror(item == NULL ? errno : item->fts_errno));
        else if (item->fts_info == FTS_F) {
            const char *label = item->fts_path + strlen(folder);
            label += strspn(label, "/");
            add_candidate(l, item->fts_path, label, item->fts_statp->st_size, kind, 0);
        }
    }
    if (walk != NULL)
        fts_close(walk);
    free(start[0]);
    return code;
}

static status list_paths(listing *l, const char *const *paths, int64_t count, input_kind kind,
                         error *err) {
    for (int64_t i = 0; i < count; i++) {
        struct stat info;
        if (stat(paths[i], &info) != 0)
            return error_set(err, STATUS_INPUT, "%s: %s (named in build.%s)", paths[i],
                             strerror(errno), kind == INPUT_ENTRIES ? "entries" : "structures");
        if (S_ISDIR(info.st_mode)) {
            TRY(list_folder(l, paths[i], kind, err));
            continue;
        }
        const char *slash = strrchr(paths[i], '/');
        add_candidate(l, paths[i], slash == NULL ? paths[i] : slash + 1, info.st_size, kind, 1);
    }
    return STATUS_OK;
}

/* Rank 0's listing for everyone. */
static void share_listing(listing *l, MPI_Comm comm) {
    int64_t head[2] = {l->count, l->bytes};
    exchange_broadcast(comm, sizeof head, head);
    l->items = grow(l->items, &l->room, head[0] + 1, sizeof *l->items);
    l->text = grow(l->text, &l->text_room, head[1] + 1, 1);
    l->count = head[0];
    l->bytes = head[1];
    exchange_broadcast(comm, l->count * (int64_t)sizeof *l->items, l->items);
    exchange_broadcast(comm, l->bytes, l->text);
}

/* ---- what is in a file ----------------------------------------------------------------------- */

enum { SNIFF_OTHER, SNIFF_PLAIN, SNIFF_COMPRESSED };

/* The first line that is neither blank nor a comment begins a mmCIF or PDB file. */
static bool is_structure(const char *text) {
    static const char *const records[] = {
        "HEADER", "OBSLTE", "TITLE ", "SPLIT ", "CAVEAT", "COMPND", "SOURCE", "KEYWDS",
        "EXPDTA", "NUMMDL", "MDLTYP", "AUTHOR", "REVDAT", "JRNL  ", "REMARK", "DBREF ",
        "DBREF1", "SEQRES", "CRYST1", "ORIGX1", "MODEL ", "ATOM  ", "HETATM"};
    while (isspace((unsigned char)*text) || *text == '#')
        text += *text == '#' ? strcspn(text, "\n") : 1;
    if (strncasecmp(text, "data_", 5) == 0)
        return true;
    for (size_t r = 0; r < sizeof records / sizeof *records; r++)
        if (strncmp(text, records[r], 6) == 0)
            return true;
    return false;
}

static status sniff(const char *path, input_kind kind, bool named, int64_t *found, error *err) {
    char head[SNIFF_BYTES + 1];
    size_t size = 0;
    text_reader *reader = NULL;
    *found = SNIFF_OTHER;
    TRY(text_reader_open(&reader, path, err));
    const status code = text_reader_read(reader, head, SNIFF_BYTES, &size, err);
    if (code == STATUS_OK) {
        head[size] = '\0';
        if (named || (kind == INPUT_ENTRIES ? strncmp(head, "ID   ", 5) == 0 : is_structure(head)))
            *found = text_reader_is_compressed(reader) ? SNIFF_COMPRESSED : SNIFF_PLAIN;
    }
    text_reader_close(reader);
    return code;
}

/* Every rank looks into its share; found[i] is then known to all. */
static status sniff_all(const listing *l, MPI_Comm comm, int64_t *found, error *err) {
    const int rank = comm_rank(comm), size = comm_size(comm);
    status code = STATUS_OK;
    memset(found, 0, (size_t)l->count * sizeof *found);
    for (int64_t i = rank; i < l->count && code == STATUS_OK; i += size)
        code = sniff(l->text + l->items[i].path, l->items[i].kind, l->items[i].named != 0,
                     &found[i], err);
    TRY(agree(comm, code, err));
    comm_sum(comm, found, l->count);
    return STATUS_OK;
}

/* Keeps what was found to be an input. Takes over the text. */
static status keep_found(input_list *list, listing *l, const int64_t *found, error *err) {
    list->files = malloc((size_t)(l->count + 1) * sizeof *list->files);
    CHECK(list->files != NULL, "out of memory: a list of %lld files.", (long long)l->count);
    list->text = l->text;
    l->text = NULL;
    for (int64_t i = 0; i < l->count; i++) {
        const candidate *c = &l->items[i];
        if (found[i] == SNIFF_OTHER) {
            list->ignored++;
            continue;
        }
        list->files[list->count++] = (input_file){list->text + c->path, list->text + c->label,
                                                  c->size, c->kind, found[i] == SNIFF_COMPRESSED};
        list->entry_files += c->kind == INPUT_ENTRIES;
    }
    if (list->entry_files == 0)
        return error_set(err, STATUS_INPUT,
                         "no UniProt flat file in what build.entries names (%lld files looked at; "
                         "one begins with \"ID   \", also inside .gz)",
                         (long long)l->count);
    return STATUS_OK;
}

status input_list_create(input_list *list, MPI_Comm comm, const char *const *entries,
                         int64_t entry_paths, const char *const *structures,
                         int64_t structure_paths, error *err) {
    *list = (input_list){0};
    listing l = {0};
    status code = STATUS_OK;
    if (comm_rank(comm) == 0 &&
        (code = list_paths(&l, entries, entry_paths, INPUT_ENTRIES, err)) == STATUS_OK)
        code = list_paths(&l, structures, structure_paths, INPUT_STRUCTURE, err);
    code = agree(comm, code, err);
    int64_t *found = NULL;
    if (code == STATUS_OK) {
        share_listing(&l, comm);
        found = malloc((size_t)(l.count + 1) * sizeof *found);
        CHECK(found != NULL, "out of memory: a list of %lld files.", (long long)l.count);
        code = sniff_all(&l, comm, found, err);
    }
    if (code == STATUS_OK)
        code = keep_found(list, &l, found, err);
    free(found);
    free(l.items);
    free(l.text);
    if (code != STATUS_OK)
        input_list_destroy(list);
    return code;
}

void input_list_destroy(input_list *list) {
    free(list->files);
    free(list->text);
    *list = (input_list){0};
}
