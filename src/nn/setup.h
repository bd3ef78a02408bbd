/* From a config to a model, and from a checkpoint to its weights: shared by training and
 * evaluation. */
#ifndef SEPIT_NN_SETUP_H
#define SEPIT_NN_SETUP_H

#include "io/checkpoint.h"
#include "src/base/config.h"
#include "src/nn/sepit.h"
#include "src/nn/share.h"

/* The keys model.* and moe.*, and the number of rows of the token table → sizes, with all experts
 * on this rank. STATUS_INPUT when moe.layers cannot be read. */
status setup_model_config(const config *c, int64_t vocabulary, sepit_config *sizes, error *err);

/* The key compute.dtype. */
compute_dtype setup_compute_dtype(const config *c);

/* The checkpoint folder of run.dir. The caller frees it. */
char *setup_checkpoint_folder(const config *c);

/* The type in which this build stores a `real`. */
checkpoint_type setup_real_type(void);

/* STATUS_FAILED when a rank that keeps `need` bytes for the declared model, times the ranks of its
 * node, needs more than the node's memory: a sentence instead of a killed job. Collective on comm;
 * fails on all ranks alike. */
status setup_check_memory(MPI_Comm comm, const sepit *model, double need, error *err);

/* Name of a parameter in a checkpoint: /KIND/NAME, KIND "model", "optimizer/m" or "optimizer/v". */
void setup_tensor_name(char name[CHECKPOINT_NAME], const char *kind, const param *tensor);

/* Name of the tensor that holds the parameter there. It is that of the parameter, but the experts'
 * tensors of a layer are one, [E,rows,cols], named without the number of the expert:
 * "….mlp.experts.gate_proj.weight". */
void setup_stored_name(char name[CHECKPOINT_NAME], const char *kind, const param *tensor);

/* That tensor; it borrows `name`, which is written as above. experts: E, or 0 for a parameter that
 * is no expert's. */
checkpoint_tensor setup_tensor(char name[CHECKPOINT_NAME], const char *kind, const param *tensor,
                               int64_t experts);

/* Element of that tensor at which the parameter begins: expert·rows·cols, or 0. */
int64_t setup_tensor_start(const param *tensor);

/* STATUS_INPUT naming the tensor and both shapes when the checkpoint does not hold the weights of
 * the table; experts: E of the model when it is a table of experts, else 0. Local. */
status setup_check_experts(const checkpoint *file, const params *p, int64_t experts, error *err);
/* The same for the model's own table. Local. */
status setup_check_shapes(const checkpoint *file, const params *p, error *err);

/* Reads `count` elements of a parameter, an expert's too, from `first` on. Local. */
status setup_read(const checkpoint *file, const char *kind, const param *tensor, int64_t first,
                  int64_t count, real *dst, error *err);

/* Reads this rank's segments of the weights into allocated params. Local: the caller agrees, and
 * then calls share_gather. */
status setup_read_share(const checkpoint *file, const share_part *s, error *err);

/* Reads all weights into allocated params and refreshes the rounded copies: each rank reads a
 * share, and the ranks that hold the same table give it to each other. Collective on the ranks of
 * the first table; fails on all of them alike. */
status setup_load_tables(const checkpoint *file, const share_table *table, int tables, error *err);
/* The same for a model without experts, which all ranks of comm hold. */
status setup_load_weights(const checkpoint *file, MPI_Comm comm, params *p, error *err);

#endif
