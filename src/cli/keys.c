#include "src/cli/keys.h"

#include "src/cli/command.h"

#include <stddef.h>

enum { MODEL = COMMAND_TRAIN | COMMAND_SCORE | COMMAND_GENERATE };

/* Any number at or above zero. */
#define FROM_ZERO 0, 1e18
/* A width or a number of heads: products of three of them still count in 64 bits. */
#define SIZE 1, 1e6

const config_key sepit_keys[] = {
    {"run.dir", CONFIG_PATH, "run", 0, 0, NULL, MODEL,
     "run folder: config.json, metrics.jsonl, log.txt, checkpoints/"},
    {"run.seed", CONFIG_INT, "1", 0, 9e15, NULL, COMMAND_BUILD | COMMAND_TRAIN,
     "seed of every random choice"},

    {"build.entries", CONFIG_PATHS, NULL, 0, 0, NULL, COMMAND_BUILD,
     "UniProtKB flat files (.dat, .txt, plain or .gz), or folders of them"},
    {"build.structures", CONFIG_PATHS, NULL, 0, 0, NULL, COMMAND_BUILD,
     "PDB or mmCIF files (plain or .gz), or folders of them"},
    {"build.min_identity", CONFIG_REAL, "0.95", 0.5, 1, NULL, COMMAND_BUILD,
     "least sequence identity between an entry and its structure"},

    {"data.path", CONFIG_PATH, "dataset.h5", 0, 0, NULL, COMMAND_BUILD | MODEL, "dataset file"},
    {"data.tokenizer", CONFIG_PATH, NULL, 0, 0, NULL, MODEL,
     "SentencePiece model of the language model (tokenizer.model)"},
    {"data.group", CONFIG_INT, "4", 1, 64, NULL, COMMAND_TRAIN,
     "instructions of one protein that stay together and share an encoder pass"},
    {"data.max_text", CONFIG_INT, "1024", 8, 1e6, NULL, MODEL,
     "text tokens of a sample; the tail of a longer answer is cut and counted"},
    {"data.system", CONFIG_TEXT,
     "You are a biologist's assistant. You read the protein that is given to you, its sequence and "
     "its structure, and answer questions about it.",
     0, 0, NULL, MODEL, "system sentence of every prompt"},

    {"model.structure", CONFIG_BOOL, "on", 0, 0, NULL, MODEL, "structure module on or off"},
    {"model.encoder.layers", CONFIG_INT, "6", 2, 1000, NULL, MODEL, "ESM-2 blocks"},
    {"model.encoder.width", CONFIG_INT, "320", SIZE, NULL, MODEL, "ESM-2 width"},
    {"model.encoder.heads", CONFIG_INT, "20", SIZE, NULL, MODEL, "ESM-2 attention heads"},
    {"model.encoder.ffn", CONFIG_INT, "1280", SIZE, NULL, MODEL, "ESM-2 feed-forward width"},
    {"model.llm.layers", CONFIG_INT, "4", 1, 1000, NULL, MODEL, "Llama blocks"},
    {"model.llm.width", CONFIG_INT, "256", SIZE, NULL, MODEL, "Llama width"},
    {"model.llm.heads", CONFIG_INT, "4", SIZE, NULL, MODEL, "Llama query heads"},
    {"model.llm.kv_heads", CONFIG_INT, "2", SIZE, NULL, MODEL, "Llama key/value heads"},
    {"model.llm.ffn", CONFIG_INT, "768", SIZE, NULL, MODEL, "Llama feed-forward width"},
    {"model.llm.norm_eps", CONFIG_REAL, "1e-5", 0, 1, NULL, MODEL, "epsilon of RMSNorm"},
    {"model.llm.rotary_base", CONFIG_REAL, "10000", 1, 1e9, NULL, MODEL, "rotary base"},
    {"model.llm.tied", CONFIG_BOOL, "off", 0, 0, NULL, MODEL, "output head shares the embedding"},

    {"compute.dtype", CONFIG_CHOICE, "bf16", 0, 0, "bf16|fp32", MODEL | COMMAND_BENCH,
     "inputs of matrix products; sums are fp32 either way"},

    {"train.steps", CONFIG_INT, "1000", 1, 1e11, NULL, COMMAND_TRAIN, "optimizer steps"},
    {"train.global_batch", CONFIG_INT, "64", 1, 1e7, NULL, COMMAND_TRAIN,
     "samples of one step over all ranks, on average"},
    {"train.chunks", CONFIG_INT, "16", 1, 1048576, NULL, COMMAND_TRAIN,
     "chunks a global batch is cut into (a power of two, at least the number of ranks)"},
    {"train.lr", CONFIG_REAL, "1e-4", 0, 10, NULL, COMMAND_TRAIN, "peak learning rate"},
    {"train.lr_encoder", CONFIG_REAL, "0.1", FROM_ZERO, NULL, COMMAND_TRAIN,
     "factor on train.lr for encoder and structure module; 0 freezes them"},
    {"train.lr_projector", CONFIG_REAL, "1", FROM_ZERO, NULL, COMMAND_TRAIN,
     "factor on train.lr for the projector; 0 freezes it"},
    {"train.lr_llm", CONFIG_REAL, "0.1", FROM_ZERO, NULL, COMMAND_TRAIN,
     "factor on train.lr for the language model; 0 freezes it"},
    {"train.warmup", CONFIG_REAL, "0.03", 0, 1, NULL, COMMAND_TRAIN,
     "share of the steps with rising learning rate"},
    {"train.clip", CONFIG_REAL, "1.0", FROM_ZERO, NULL, COMMAND_TRAIN,
     "largest global gradient norm; 0: no clipping"},
    {"train.structure_drop", CONFIG_REAL, "0.15", 0, 1, NULL, COMMAND_TRAIN,
     "share of samples that run without structure"},

    {"parallel.exact", CONFIG_BOOL, "on", 0, 0, NULL, COMMAND_TRAIN,
     "same bits for every power-of-two number of ranks"},

    {"checkpoint.every", CONFIG_INT, "0", FROM_ZERO, NULL, COMMAND_TRAIN,
     "steps between checkpoints; 0: one at the end"},

    {"generate.max_tokens", CONFIG_INT, "256", 1, 1e6, NULL, COMMAND_GENERATE,
     "tokens after which an answer is cut"},

    {NULL, CONFIG_INT, NULL, 0, 0, NULL, 0, NULL},
};
