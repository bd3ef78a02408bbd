/* From a config to a model, and from a checkpoint to its weights: shared by training and
 * evaluation. */
#ifndef SEPIT_NN_SETUP_H
#define SEPIT_NN_SETUP_H

#include "io/checkpoint.h"
#include "src/base/config.h"
#include "src/nn/sepit.h"

/* The keys model.* and the number of rows of the token table → sizes. */
sepit_config setup_model_config(const config *c, int64_t vocabulary);

/* The key compute.dtype. */
compute_dtype setup_compute_dtype(const config *c);

/* The checkpoint folder of run.dir. The caller frees it. */
char *setup_checkpoint_folder(const config *c);

/* The type in which this build stores a `real`. */
checkpoint_type setup_real_type(void);

/* STATUS_FAILED when a rank that keeps `bytes` for each declared parameter, times the ranks of its
 * node, needs more than the node's memory: a sentence instead of a killed job. Collective on comm;
 * fails on all ranks alike. */
status setup_check_memory(MPI_Comm comm, const params *p, double bytes, error *err);

/* Name of a parameter in a checkpoint: /KIND/NAME, KIND "model", "optimizer/m" or "optimizer/v". */
void setup_tensor_name(char name[CHECKPOINT_NAME], const char *kind, const param *tensor);

/* STATUS_INPUT naming the tensor and both shapes when the checkpoint holds another model. Local. */
status setup_check_shapes(const checkpoint *file, const params *p, error *err);

/* Reads all weights into allocated params, on every rank (each reads the whole model), and
 * refreshes the rounded copies. Collective on comm; fails on all ranks alike. */
status setup_load_weights(const checkpoint *file, MPI_Comm comm, params *p, error *err);

#endif
