#include "src/train/watchdog_judge.h"

#include "src/train/watchdog.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Groups and hosts that the sentence spells out; of the rest it gives the number. */
enum { GROUPS_TOLD = 6, HOSTS_TOLD = 4, RANGES_TOLD = 12 };

/* Ranks in the same place: order[first], …, order[end − 1], ascending. */
typedef struct group {
    int64_t first, end;
} group;

static void say(watchdog_verdict *v, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(watchdog_verdict *v, const char *format, ...) {
    const size_t used = strlen(v->sentence);
    va_list args;
    va_start(args, format);
    vsnprintf(v->sentence + used, sizeof v->sentence - used, format, args);
    va_end(args);
}

const char *watchdog_phase_name(int32_t phase) {
    static const char *const name[WATCHDOG_PHASES] = {"set-up", "step", "checkpoint", "evaluation"};
    return phase >= 0 && phase < WATCHDOG_PHASES ? name[phase] : "unknown";
}

/* Whose slot is gone has ended, with all ranks of its host. */
static bool has_ended(const watchdog_slot *s) {
    return s->beat == 0 || s->state == WATCHDOG_ENDED;
}

/* How far a rank has come: < 0 when a is behind b. */
static int compare_progress(const watchdog_slot *a, const watchdog_slot *b) {
    const bool ended_a = has_ended(a), ended_b = has_ended(b);
    if (ended_a || ended_b)
        return ended_a - ended_b;
    if (a->step != b->step)
        return a->step < b->step ? -1 : 1;
    if (a->phase != b->phase)
        return a->phase < b->phase ? -1 : 1;
    if (a->collectives != b->collectives)
        return a->collectives < b->collectives ? -1 : 1;
    return 0;
}

/* 0 when both are in the same place: as far, and in the same call. */
static int compare_place(const watchdog_slot *a, const watchdog_slot *b) {
    const int progress = compare_progress(a, b);
    if (progress != 0 || has_ended(a))
        return progress;
    return strncmp(a->verb, b->verb, sizeof a->verb);
}

static int compare_ranks(const void *x, const void *y, void *slots) {
    const watchdog_slot *slot = slots;
    const int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    const int place = compare_place(&slot[a], &slot[b]);
    return place != 0 ? place : (a > b) - (a < b);
}

/* The group that starts at order[first]. */
static group group_at(const watchdog_slot *slot, const int64_t *order, int64_t ranks,
                      int64_t first) {
    group g = {first, first + 1};
    while (g.end < ranks && compare_place(&slot[order[g.end]], &slot[order[first]]) == 0)
        g.end++;
    return g;
}

/* "rank 3", "ranks 0-2, 7" for ascending ranks. */
static void say_ranks(watchdog_verdict *v, const int64_t *rank, int64_t count) {
    say(v, count == 1 ? "rank " : "ranks ");
    int64_t told = 0;
    for (int64_t i = 0; i < count;) {
        int64_t last = i;
        while (last + 1 < count && rank[last + 1] == rank[last] + 1)
            last++;
        if (told++ == RANGES_TOLD) {
            say(v, " and %lld more", (long long)(count - i));
            return;
        }
        say(v, "%s%lld", i > 0 ? ", " : "", (long long)rank[i]);
        if (last > i)
            say(v, "-%lld", (long long)rank[last]);
        i = last + 1;
    }
}

/* " on host a", " on hosts a, b" */
static void say_hosts(watchdog_verdict *v, const watchdog_slot *slot, const int64_t *rank,
                      int64_t count) {
    const char *host[HOSTS_TOLD];
    int hosts = 0, i = 0;
    for (int64_t r = 0; r < count && hosts < HOSTS_TOLD; r++) {
        for (i = 0; i < hosts && strcmp(host[i], slot[rank[r]].host) != 0;)
            i++;
        if (i == hosts && slot[rank[r]].host[0] != '\0')
            host[hosts++] = slot[rank[r]].host;
    }
    for (i = 0; i < hosts; i++)
        say(v, "%s%s", i > 0 ? ", " : hosts == 1 ? " on host " : " on hosts ", host[i]);
}

static void say_place(watchdog_verdict *v, const watchdog_slot *s) {
    if (has_ended(s)) {
        say(v, "ended");
        return;
    }
    say(v, "step %lld, phase %s", (long long)s->step, watchdog_phase_name(s->phase));
    if (s->collectives > 0)
        say(v, ", collective %llu (%.*s)", (unsigned long long)s->collectives, WATCHDOG_VERB - 1,
            s->verb);
}

/* The groups except `without`, after `how_many` of them were spoken of. */
static void say_others(watchdog_verdict *v, const watchdog_slot *slot, const int64_t *order,
                       int64_t ranks, group without) {
    int told = 0;
    for (int64_t at = 0; at < ranks;) {
        const group g = group_at(slot, order, ranks, at);
        at = g.end;
        if (g.first == without.first)
            continue;
        if (told++ == GROUPS_TOLD) {
            say(v, "; more elsewhere");
            return;
        }
        say(v, "; ");
        say_ranks(v, order + g.first, g.end - g.first);
        say(v, g.end - g.first == 1 ? " waits in " : " wait in ");
        say_place(v, &slot[order[g.first]]);
    }
}

static void name(watchdog_verdict *v, const int64_t *rank, int64_t count) {
    for (int64_t i = 0; i < count && v->named_count < WATCHDOG_NAMED; i++)
        v->named[v->named_count++] = rank[i];
}

/* Ranks that wrote nothing between the looks go to the front of order, the others behind them;
 * both ascending. Returns how many are silent. */
static int64_t part_silent(const watchdog_slot *before, const watchdog_slot *now, int64_t ranks,
                           int64_t *order) {
    int64_t silent = 0, at = 0;
    for (int64_t r = 0; r < ranks; r++)
        silent += !has_ended(&now[r]) && now[r].beat == before[r].beat;
    int64_t front = 0;
    at = silent;
    for (int64_t r = 0; r < ranks; r++)
        order[!has_ended(&now[r]) && now[r].beat == before[r].beat ? front++ : at++] = r;
    return silent;
}

/* Whether one of the group is inside its own budget. */
static bool may_go_on(const watchdog_slot *slot, const int64_t *order, group g) {
    for (int64_t i = g.first; i < g.end; i++)
        if (slot[order[i]].state == WATCHDOG_MOVES)
            return true;
    return false;
}

static void judge_silent(const watchdog_slot *slot, int64_t *order, int64_t silent, int64_t ranks,
                         watchdog_verdict *v) {
    v->hung = true;
    name(v, order, silent);
    say_ranks(v, order, silent);
    say_hosts(v, slot, order, silent);
    say(v, silent == 1 ? " is behind: no sign of life" : " are behind: no sign of life");
    say(v, " (stopped, or the node is gone), last seen in ");
    say_place(v, &slot[order[0]]);
    qsort_r(order + silent, (size_t)(ranks - silent), sizeof *order, compare_ranks, (void *)slot);
    say_others(v, slot, order + silent, ranks - silent, (group){-1, -1});
}

static void judge_living(const watchdog_slot *slot, int64_t *order, int64_t ranks,
                         watchdog_verdict *v) {
    qsort_r(order, (size_t)ranks, sizeof *order, compare_ranks, (void *)slot);
    group odd = group_at(slot, order, ranks, 0);
    if (odd.end == ranks) {
        v->hung = !may_go_on(slot, order, odd);
        say(v, "no rank is behind: all are in ");
        say_place(v, &slot[order[0]]);
        return;
    }
    if (2 * odd.end > ranks) /* the others are the odd ones; of these the least advanced */
        odd = group_at(slot, order, ranks, odd.end);
    const watchdog_slot *place = &slot[order[odd.first]], *last = &slot[order[ranks - 1]];
    const int against = compare_progress(place, odd.first == 0 ? last : &slot[order[0]]);
    v->hung = !may_go_on(slot, order, odd);
    name(v, order + odd.first, odd.end - odd.first);
    say_ranks(v, order + odd.first, odd.end - odd.first);
    say_hosts(v, slot, order + odd.first, odd.end - odd.first);
    say(v, odd.end - odd.first == 1 ? " is " : " are ");
    say(v, against < 0   ? "behind: "
           : against > 0 ? "ahead (a collective call was left out?): "
                         : "in another place: ");
    say_place(v, place);
    say_others(v, slot, order, ranks, odd);
}

void watchdog_judge(const watchdog_slot *before, const watchdog_slot *now, int64_t ranks,
                    int64_t mine, int64_t *order, watchdog_verdict *v) {
    v->hung = false;
    v->named_count = 0;
    v->sentence[0] = '\0';
    if (now[mine].beat == before[mine].beat) {
        v->hung = true;
        say(v,
            "no step is made, and which rank is behind cannot be told: not even rank %lld can "
            "write its heartbeat",
            (long long)mine);
        return;
    }
    const int64_t silent = part_silent(before, now, ranks, order);
    if (silent > 0)
        judge_silent(now, order, silent, ranks, v);
    else
        judge_living(now, order, ranks, v);
}
