#include "src/nn/moe_statistics.h"

int64_t moe_count_items(const moe_config *c, int64_t layers) {
    return layers * c->E * MOE_COUNTS;
}

int64_t moe_count_at(const moe_config *c, int64_t layer, int64_t expert, moe_count what) {
    return (layer * c->E + expert) * MOE_COUNTS + (int64_t)what;
}

int64_t moe_sum_items(const moe_config *c, int64_t layers) {
    return layers * (c->E + 2);
}

static void add_counts(int64_t *count, const moe_config *c, int64_t layer, const routing *r,
                       const moe_plan *plan, const int32_t *kind) {
    for (int64_t i = 0; i < r->T * r->k; i++) {
        const bool protein = kind != NULL && kind[i / r->k] < 0;
        count[moe_count_at(c, layer, r->expert[i], protein ? MOE_PROTEIN : MOE_TEXT)]++;
        if (plan->row[i] < 0)
            count[moe_count_at(c, layer, r->expert[i], MOE_DROPPED)]++;
    }
}

static double entropy(const real *prob, int64_t E) {
    double sum = 0;
    for (int64_t e = 0; e < E; e++)
        sum -= prob[e] > 0 ? (double)prob[e] * log((double)prob[e]) : 0;
    return sum;
}

/* Tokens ascending, from zero: what a chunk adds does not depend on what is there already. */
static void add_sums(double *sum, const moe_config *c, const routing *r) {
    double total[MOE_MOST_EXPERTS] = {0}, entropies = 0, z = 0;
    for (int64_t t = 0; t < r->T; t++) {
        for (int64_t e = 0; e < c->E; e++)
            total[e] += (double)r->prob[t * c->E + e];
        entropies += entropy(r->prob + t * c->E, c->E);
        z += (double)r->lse[t] * (double)r->lse[t];
    }
    for (int64_t e = 0; e < c->E; e++)
        sum[e] += total[e];
    sum[c->E + MOE_SUM_ENTROPY] += entropies;
    sum[c->E + MOE_SUM_Z] += z;
}

void moe_statistics_add(const moe_statistics *to, const moe_config *c, int64_t layer,
                        const routing *r, const moe_plan *plan, const int32_t *kind) {
    if (to->count != NULL)
        add_counts(to->count, c, layer, r, plan, kind);
    if (to->sum != NULL)
        add_sums(to->sum + layer * (c->E + 2), c, r);
}
