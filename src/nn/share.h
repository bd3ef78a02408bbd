/* A rank's share of a params table: which stretches of which tensors it looks after, among the
 * ranks that hold the same table.
 *
 * A model has one table that all ranks hold, and may have one of experts, which only some of them
 * hold alike (src/nn/moe.h). A range of a table's flat arrays is dealt over its ranks as
 * parallel/shard.h says; cut at the borders of tensors, a rank's part of it becomes segments. What
 * updates, writes or reads a model goes by segments, so that each element is touched by one rank
 * (of each group of experts) and the layout shows in no file.
 */
#ifndef SEPIT_NN_SHARE_H
#define SEPIT_NN_SHARE_H

#include "parallel/shard.h"
#include "src/nn/params.h"

/* A table and the ranks that hold the same one; both borrowed. The model's table comes first in a
 * list of tables, held by all ranks; the experts' table, if any, second. */
typedef struct share_table {
    params *params;
    MPI_Comm comm;
    int64_t experts; /* of the whole model, when this is the table of some of them; else 0 */
} share_table;

enum { SHARE_TABLES = 2 /* most */ };

/* Of an experts' table: how many it holds, and the number of the first. It holds them one after
 * the other, with the same tensors each. 0 for other tables. */
int64_t share_local_experts(const share_table *table);
int64_t share_first_expert(const share_table *table);

/* A stretch of the owned part that lies inside one tensor. */
typedef struct share_segment {
    int64_t param;        /* index in the table */
    int64_t param_offset; /* first element inside the tensor */
    int64_t local;        /* first element of the owned part */
    int64_t count;
} share_segment;

typedef struct share_part {
    params *params;         /* borrowed */
    int64_t first;          /* element of the flat arrays at which the range begins */
    shard shard;            /* deals the range */
    share_segment *segment; /* [segments], owned: ascending in the table */
    int64_t segments;
} share_part;

/* Deals the elements [first, end) of the table's arrays. Collective on table->comm; STATUS_FAILED
 * on all its ranks when memory is short on one. */
status share_create(share_part *s, const share_table *table, int64_t first, int64_t end,
                    error *err);
/* Collective. Nothing to do for a zeroed struct. */
void share_destroy(share_part *s);

/* The segment's tensor, and its values in params->value. */
const param *share_param(const share_part *s, const share_segment *segment);
real *share_value(const share_part *s, const share_segment *segment);

/* The values of the range that each rank has in its own segments become everyone's. Collective. */
void share_gather(share_part *s);

#endif
