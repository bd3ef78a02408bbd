// TEST timeout=30 mode=release,asan
/* Impossible sizes are refused with a sentence that names the key; names and counts of tensors. */
#include "tests/numerics/chunk_bench.h"

static void expect_refused(sepit_config config, const char *key) {
    sepit model;
    error err = {0};
    EXPECT(sepit_declare(&model, &config, &err) == STATUS_INPUT);
    EXPECT(strstr(err.text, key) != NULL, "\"%s\" does not name %s.", err.text, key);
    sepit_destroy(&model);
}

#define EXPECT_REFUSED(field, value, key)                                                          \
    do {                                                                                           \
        sepit_config config_ = CHUNK_MODEL;                                                        \
        config_.field = (value);                                                                   \
        expect_refused(config_, key);                                                              \
    } while (0)

static void check_names(void) {
    static const char *names[] = {
        "protein_model.structure_bias.gbf.means",
        "protein_model.encoder.layer.2.output.dense.bias",
        "multi_modal_projector.linear_1.weight",
        "multi_modal_projector.linear_2.bias",
        "text_model.model.embed_tokens.weight",
        "text_model.model.layers.1.self_attn.q_proj.weight",
        "text_model.model.layers.1.self_attn.k_proj.weight",
        "text_model.model.layers.1.self_attn.v_proj.weight",
        "text_model.model.layers.1.self_attn.o_proj.weight",
        "text_model.model.layers.1.mlp.gate_proj.weight",
        "text_model.model.layers.1.mlp.up_proj.weight",
        "text_model.model.layers.1.mlp.down_proj.weight",
        "text_model.model.layers.1.input_layernorm.weight",
        "text_model.model.layers.1.post_attention_layernorm.weight",
        "text_model.model.norm.weight",
        "text_model.lm_head.weight",
    };
    sepit model;
    error err = {0};
    EXPECT(sepit_declare(&model, &CHUNK_MODEL, &err) == STATUS_OK, "%s", err.text);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        EXPECT(params_find(&model.params, names[i]) >= 0, "There is no %s.", names[i]);
    sepit_destroy(&model);

    sepit_config plain = CHUNK_MODEL;
    plain.structure = false;
    plain.llm.tied = true;
    EXPECT(sepit_declare(&model, &plain, &err) == STATUS_OK, "%s", err.text);
    EXPECT(params_find(&model.params, "text_model.lm_head.weight") < 0);
    EXPECT(params_find(&model.params, "protein_model.structure_bias.gbf.means") < 0);
    sepit_destroy(&model);
}

int main(void) {
    EXPECT_REFUSED(encoder.layers, 1, "model.encoder.layers is 1");
    EXPECT_REFUSED(encoder.D, 15, "model.encoder.width is 15");
    EXPECT_REFUSED(encoder.H, 4, "model.encoder.heads is 4"); /* a head of 3 */
    EXPECT_REFUSED(encoder.F, 0, "model.encoder.ffn is 0");
    EXPECT_REFUSED(llm.layers, 0, "model.llm.layers is 0");
    EXPECT_REFUSED(llm.D, 18, "model.llm.width is 18");
    EXPECT_REFUSED(llm.H, 0, "model.llm.heads is 0");
    EXPECT_REFUSED(llm.K, 3, "model.llm.kv_heads is 3");
    EXPECT_REFUSED(llm.F, -1, "model.llm.ffn is -1");
    EXPECT_REFUSED(llm.V, 0, "vocabulary is 0");
    sepit_config two = CHUNK_MODEL;
    two.encoder.layers = 0;
    two.llm.K = 3;
    expect_refused(two, "model.encoder.layers is 0");
    expect_refused(two, "model.llm.kv_heads is 3"); /* all at once */
    check_names();
    return test_end();
}
