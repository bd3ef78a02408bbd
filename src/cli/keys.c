#include "src/cli/keys.h"

#include "src/cli/command.h"

#include <stddef.h>

enum { MODEL = COMMAND_TRAIN | COMMAND_SCORE | COMMAND_GENERATE };

/* Any number at or above zero. */
#define FROM_ZERO 0, 1e18
/* A width or a number of heads: products of three of them still count in 64 bits. */
#define SIZE 1, 1e6

const config_key sepit_keys[] = {
    {"run.dir", CONFIG_PATH, "run", 0, 0, NULL, MODEL, CHANGE_HARMLESS,
     "run folder: config.json, metrics.jsonl, log.txt, checkpoints/"},
    {"run.seed", CONFIG_INT, "1", 0, 9e15, NULL, COMMAND_BUILD | COMMAND_TRAIN, CHANGE_BREAKS,
     "seed of every random choice"},

    {"build.entries", CONFIG_PATHS, NULL, 0, 0, NULL, COMMAND_BUILD, CHANGE_UNREAD,
     "UniProtKB flat files (.dat, .txt, plain or .gz), or folders of them"},
    {"build.structures", CONFIG_PATHS, NULL, 0, 0, NULL, COMMAND_BUILD, CHANGE_UNREAD,
     "PDB or mmCIF files (plain or .gz), or folders of them"},
    {"build.min_identity", CONFIG_REAL, "0.95", 0.5, 1, NULL, COMMAND_BUILD, CHANGE_UNREAD,
     "least sequence identity between an entry and its structure"},

    {"data.path", CONFIG_PATH, "dataset.h5", 0, 0, NULL, COMMAND_BUILD | MODEL, CHANGE_HARMLESS,
     "dataset file"},
    {"data.tokenizer", CONFIG_PATH, NULL, 0, 0, NULL, MODEL, CHANGE_HARMLESS,
     "SentencePiece model of the language model (tokenizer.model)"},
    {"data.group", CONFIG_INT, "4", 1, 64, NULL, COMMAND_TRAIN, CHANGE_BREAKS,
     "instructions of one protein that stay together and share an encoder pass"},
    {"data.max_text", CONFIG_INT, "1024", 8, 1e6, NULL, MODEL, CHANGE_ALTERS,
     "text tokens of a sample; the tail of a longer answer is cut and counted"},
    {"data.system", CONFIG_TEXT,
     "You are a biologist's assistant. You read the protein that is given to you, its sequence and "
     "its structure, and answer questions about it.",
     0, 0, NULL, MODEL, CHANGE_ALTERS, "system sentence of every prompt"},

    {"model.structure", CONFIG_BOOL, "on", 0, 0, NULL, MODEL, CHANGE_BREAKS,
     "structure module on or off"},
    {"model.encoder.layers", CONFIG_INT, "6", 2, 1000, NULL, MODEL, CHANGE_BREAKS, "ESM-2 blocks"},
    {"model.encoder.width", CONFIG_INT, "320", SIZE, NULL, MODEL, CHANGE_BREAKS, "ESM-2 width"},
    {"model.encoder.heads", CONFIG_INT, "20", SIZE, NULL, MODEL, CHANGE_BREAKS,
     "ESM-2 attention heads"},
    {"model.encoder.ffn", CONFIG_INT, "1280", SIZE, NULL, MODEL, CHANGE_BREAKS,
     "ESM-2 feed-forward width"},
    {"model.llm.layers", CONFIG_INT, "4", 1, 1000, NULL, MODEL, CHANGE_BREAKS, "Llama blocks"},
    {"model.llm.width", CONFIG_INT, "256", SIZE, NULL, MODEL, CHANGE_BREAKS, "Llama width"},
    {"model.llm.heads", CONFIG_INT, "4", SIZE, NULL, MODEL, CHANGE_BREAKS, "Llama query heads"},
    {"model.llm.kv_heads", CONFIG_INT, "2", SIZE, NULL, MODEL, CHANGE_BREAKS,
     "Llama key/value heads"},
    {"model.llm.ffn", CONFIG_INT, "768", SIZE, NULL, MODEL, CHANGE_BREAKS,
     "Llama feed-forward width"},
    {"model.llm.norm_eps", CONFIG_REAL, "1e-5", 0, 1, NULL, MODEL, CHANGE_BREAKS,
     "epsilon of RMSNorm"},
    {"model.llm.rotary_base", CONFIG_REAL, "10000", 1, 1e9, NULL, MODEL, CHANGE_BREAKS,
     "rotary base"},
    {"model.llm.tied", CONFIG_BOOL, "off", 0, 0, NULL, MODEL, CHANGE_BREAKS,
     "output head shares the embedding"},

    {"moe.experts", CONFIG_INT, "0", 0, 1024, NULL, MODEL, CHANGE_BREAKS,
     "experts of a layer (stage 2); 0: a dense model"},
    {"moe.top_k", CONFIG_INT, "1", 1, 16, NULL, MODEL, CHANGE_BREAKS,
     "experts that a token goes to"},
    {"moe.layers", CONFIG_TEXT, "all", 0, 0, NULL, MODEL, CHANGE_BREAKS,
     "Llama blocks with experts: all, odd, even, or numbers and ranges such as 0,4-7"},
    {"moe.renormalize", CONFIG_BOOL, "off", 0, 0, NULL, MODEL, CHANGE_BREAKS,
     "weights of the chosen experts sum to 1 (top_k of 2 and more)"},
    {"moe.capacity", CONFIG_REAL, "0", 0, 1e6, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "most rows of an expert in a chunk, times tokens*top_k/experts; the rest is dropped; 0: none "
     "is (the published run: 1.25)"},
    {"moe.capacity_eval", CONFIG_REAL, "0", 0, 1e6, NULL, COMMAND_SCORE | COMMAND_GENERATE,
     CHANGE_UNREAD, "the same outside training (the published run: 2)"},
    {"moe.slices", CONFIG_INT, "2", 1, 64, NULL, MODEL, CHANGE_ALTERS,
     "parts of a chunk whose exchange and products overlap"},
    {"moe.balance", CONFIG_CHOICE, "previous", 0, 0, "previous|two_pass|bias|off", COMMAND_TRAIN,
     CHANGE_ALTERS,
     "evens out the experts' load: a loss with the last step's fractions, or with this step's "
     "(counted in a pass before), or a bias on the choice without a loss"},
    {"moe.balance_weight", CONFIG_REAL, "0.01", 0, 1e3, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "weight of the balance loss"},
    {"moe.z_weight", CONFIG_REAL, "0", 0, 1e3, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "weight of the router's z-loss (1e-3 is usual)"},
    {"moe.bias_rate", CONFIG_REAL, "1e-3", 0, 1, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "change of a bias in one step, with moe.balance=bias"},
    {"moe.jitter", CONFIG_REAL, "0", 0, 1, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "random share added to a probability for the choice only"},
    {"moe.force", CONFIG_CHOICE, "none", 0, 0, "none|balanced|hot", COMMAND_TRAIN, CHANGE_ALTERS,
     "benchmarks: experts in turn, or the first one for every token, whatever the router says"},
    {"moe.upcycle", CONFIG_CHOICE, "copy", 0, 0, "copy|exact|drop", COMMAND_TRAIN, CHANGE_LATE,
     "how a dense init.all becomes experts: copies; copies that give the dense model's output at "
     "first; copies with a share of their columns drawn anew"},
    {"moe.drop", CONFIG_REAL, "0.5", 0, 1, NULL, COMMAND_TRAIN, CHANGE_LATE,
     "share of an expert's columns drawn anew, with moe.upcycle=drop"},

    {"init.all", CONFIG_PATH, NULL, 0, 0, NULL, COMMAND_TRAIN, CHANGE_LATE,
     "checkpoint, or run folder, whose weights the run starts from"},

    {"compute.dtype", CONFIG_CHOICE, "bf16", 0, 0, "bf16|fp32", MODEL | COMMAND_BENCH,
     CHANGE_ALTERS, "inputs of matrix products; sums are fp32 either way"},

    {"train.steps", CONFIG_INT, "1000", 1, 1e11, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "optimizer steps"},
    {"train.global_batch", CONFIG_INT, "64", 1, 1e7, NULL, COMMAND_TRAIN, CHANGE_BREAKS,
     "samples of one step over all ranks, on average"},
    {"train.chunks", CONFIG_INT, "16", 1, 1048576, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "chunks a global batch is cut into (a power of two, at least the number of ranks)"},
    {"train.lr", CONFIG_REAL, "1e-4", 0, 10, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "peak learning rate"},
    {"train.lr_encoder", CONFIG_REAL, "0.1", FROM_ZERO, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "factor on train.lr for encoder and structure module; 0 freezes them"},
    {"train.lr_projector", CONFIG_REAL, "1", FROM_ZERO, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "factor on train.lr for the projector; 0 freezes it"},
    {"train.lr_llm", CONFIG_REAL, "0.1", FROM_ZERO, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "factor on train.lr for the language model; 0 freezes it"},
    {"train.lr_router", CONFIG_REAL, "1", FROM_ZERO, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "factor on train.lr for the routers of the experts; 0 freezes them"},
    {"train.warmup", CONFIG_REAL, "0.03", 0, 1, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "share of the steps with rising learning rate"},
    {"train.clip", CONFIG_REAL, "1.0", FROM_ZERO, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "largest global gradient norm; 0: no clipping"},
    {"train.bad_steps", CONFIG_INT, "10", 1, 1e6, NULL, COMMAND_TRAIN, CHANGE_HARMLESS,
     "steps in a row whose numbers are not finite that end the run, with a checkpoint and a "
     "report"},
    {"train.structure_drop", CONFIG_REAL, "0.15", 0, 1, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "share of samples that run without structure"},

    {"parallel.exact", CONFIG_BOOL, "on", 0, 0, NULL, COMMAND_TRAIN, CHANGE_ALTERS,
     "same bits for every power-of-two number of ranks"},

    {"parallel.ep", CONFIG_INT, "1", 1, 1e6, NULL, COMMAND_TRAIN, CHANGE_HARMLESS,
     "consecutive ranks that share the experts of the model"},
    {"parallel.guard_every", CONFIG_INT, "100", FROM_ZERO, NULL, COMMAND_TRAIN, CHANGE_HARMLESS,
     "steps between comparisons of what all ranks must hold alike; 0: never"},

    {"checkpoint.every", CONFIG_INT, "0", FROM_ZERO, NULL, COMMAND_TRAIN, CHANGE_HARMLESS,
     "steps between checkpoints; 0: one at the end"},
    {"checkpoint.keep", CONFIG_INT, "2", 2, 1e6, NULL, COMMAND_TRAIN, CHANGE_HARMLESS,
     "how many of the newest checkpoints stay"},
    {"checkpoint.keep_every", CONFIG_INT, "0", FROM_ZERO, NULL, COMMAND_TRAIN, CHANGE_HARMLESS,
     "checkpoints whose step this divides stay, too; 0: none"},
    {"checkpoint.mode", CONFIG_CHOICE, "wait", 0, 0, "wait|beside", COMMAND_TRAIN, CHANGE_HARMLESS,
     "whether training waits for a checkpoint, or a thread writes a copy of it beside training"},
    {"checkpoint.on_failure", CONFIG_CHOICE, "stop", 0, 0, "stop|continue", COMMAND_TRAIN,
     CHANGE_HARMLESS,
     "what a checkpoint that cannot be written means; the one before is whole either way"},

    {"watchdog.least_s", CONFIG_REAL, "60", 0, 1e7, NULL, COMMAND_TRAIN, CHANGE_HARMLESS,
     "seconds that a step may always take; 0: no watchdog"},
    {"watchdog.step_factor", CONFIG_REAL, "20", 0, 1e6, NULL, COMMAND_TRAIN, CHANGE_HARMLESS,
     "a step that takes so many times the median of the last ones, and watchdog.least_s, hangs: "
     "the "
     "late rank is named and the job ends with status 76"},
    {"watchdog.setup_s", CONFIG_REAL, "3600", 0, 1e7, NULL, COMMAND_TRAIN, CHANGE_HARMLESS,
     "seconds for the start, and for each of the first steps; 0: any time"},
    {"watchdog.checkpoint_s", CONFIG_REAL, "1800", 0, 1e7, NULL, COMMAND_TRAIN, CHANGE_HARMLESS,
     "seconds for a checkpoint; 0: any time"},

    {"generate.max_tokens", CONFIG_INT, "256", 1, 1e6, NULL, COMMAND_GENERATE, CHANGE_UNREAD,
     "tokens after which an answer is cut"},

    {"bench.tokens", CONFIG_INT, "4096", 1, 1e6, NULL, COMMAND_BENCH, CHANGE_UNREAD,
     "bench moe: tokens of each rank"},
    {"bench.width", CONFIG_INT, "1024", SIZE, NULL, COMMAND_BENCH, CHANGE_UNREAD,
     "bench moe: width of the layer, a multiple of 64 (TinyLlama: 2048)"},
    {"bench.ffn", CONFIG_INT, "2816", SIZE, NULL, COMMAND_BENCH, CHANGE_UNREAD,
     "bench moe: feed-forward width (TinyLlama: 5632)"},
    {"bench.mib", CONFIG_INT, "256", 1, 1e6, NULL, COMMAND_BENCH, CHANGE_UNREAD,
     "bench checkpoint: MiB that each rank saves"},
    {"bench.folder", CONFIG_PATH, ".", 0, 0, NULL, COMMAND_BENCH, CHANGE_UNREAD,
     "bench checkpoint: where, in a folder of its own"},
    {"bench.rounds", CONFIG_INT, "3", 1, 99, NULL, COMMAND_BENCH, CHANGE_UNREAD,
     "bench moe, bench checkpoint: how often everything is measured"},

    {NULL, CONFIG_INT, NULL, 0, 0, NULL, 0, CHANGE_UNREAD, NULL},
};
