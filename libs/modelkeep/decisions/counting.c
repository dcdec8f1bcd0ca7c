/* Values counted, and sought among others, bit for bit as numpy does: see kernel.py.

   What a processor does with four numbers at a time is asked for where it can (AVX2).
   Nothing is allocated, nothing kept. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define WIDE __attribute__((target("avx2"))) static

#ifndef NARROW /* 1 does as a processor without it would */
#define NARROW 0
#endif
static int wide(void) { return !NARROW && __builtin_cpu_supports("avx2"); }

enum { PART = 2048 /* values that stay in the cache while they are compared */ };

INLINE void reaching(const double *values, size_t rows, const double *edges, size_t count,
                     size_t stride, int64_t *total) {
    for (size_t start = 0; start < rows; start += PART) {
        const double *part = values + start;
        const size_t size = rows - start < PART ? rows - start : PART;
        for (size_t e = 0; e < count; e++) {
            const double edge = edges[e * stride];
            int64_t reached = 0;
            for (size_t i = 0; i < size; i++) reached += part[i] >= edge;
            total[e * stride] += reached;
        }
    }
}

WIDE void reaching_wide(const double *values, size_t rows, const double *edges,
                        size_t count, size_t stride, int64_t *total) {
    reaching(values, rows, edges, count, stride, total);
}

/* Add to `total` [edges, features] how many of each feature's values reach each edge:
   what `numpy.greater_equal` says, NaN reaching none. */
void modelkeep_reach(const double *const *columns, size_t features, size_t rows,
                     const double *edges, size_t count, int64_t *total) {
    for (size_t f = 0; f < features; f++)
        if (wide())
            reaching_wide(columns[f], rows, edges + f, count, features, total + f);
        else
            reaching(columns[f], rows, edges + f, count, features, total + f);
}

enum { MISSING = 256, BELOW, ABOVE };

/* Where the fine cells of a column lie, and the range of its values. */
typedef struct {
    double centre, rate, low, high;
} Scale;

INLINE void folding(const double *values, size_t rows, Scale by, int64_t *total) {
    int64_t cells[4][MISSING + 1] = {{0}};
    int32_t cell[512];
    for (size_t start = 0; start < rows; start += 512) {
        const double *part = values + start;
        const size_t size = rows - start < 512 ? rows - start : 512;
        int64_t below = 0, above = 0;
        for (size_t i = 0; i < size; i++) {
            const float far = (float)((part[i] - by.centre) * by.rate);
            const float there = far != far ? 0.0f : far;
            const float fold = -128.0f / (__builtin_fabsf(there) + 1.0f) + 128.0f;
            int32_t at = (int32_t)fold, bits;
            memcpy(&bits, &there, sizeof bits);
            at = (at > 127 ? 127 : at) ^ (bits >> 31); /* mirrored below zero */
            cell[i] = far != far ? MISSING : at + 128;
        }
        for (size_t i = 0; i < size; i++) {
            below += part[i] < by.low;
            above += part[i] > by.high;
        }
        total[BELOW] += below, total[ABOVE] += above;
        /* neighbours are often alike: they do not wait for each other */
        for (size_t i = 0; i < size; i++) cells[i & 3][cell[i]]++;
    }
    for (int i = 0; i <= MISSING; i++)
        for (int j = 0; j < 4; j++) total[i] += cells[j][i];
}

WIDE void folding_wide(const double *values, size_t rows, Scale by, int64_t *total) {
    folding(values, rows, by, total);
}

/* Add to each column's total, 259 numbers, the fine cell of each of its values; then what
   is missing, and what lies below the range and above it. Each step is that of
   `modelkeep.stats.fine`, in the same width, so no cell differs. */
void modelkeep_fold(const double *const *columns, size_t count, size_t rows,
                    const Scale *by, int64_t *const *totals) {
    for (size_t c = 0; c < count; c++)
        if (wide())
            folding_wide(columns[c], rows, by[c], totals[c]);
        else
            folding(columns[c], rows, by[c], totals[c]);
}

static void span_of(const double *values, size_t rows, double *span) {
    double low = *values, high = *values;
    int missing = 0;
    for (size_t i = 0; i < rows; i++) {
        missing |= values[i] != values[i];
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    span[0] = missing ? NAN : low, span[1] = missing ? NAN : high;
}

WIDE void span_wide(const double *values, size_t rows, double *span) {
    __m256d low[4], high[4], odd = _mm256_setzero_pd();
    double ends[2][4];
    size_t i = 0;
    if (rows < 16) {
        span_of(values, rows, span);
        return;
    }
    for (int j = 0; j < 4; j++) low[j] = high[j] = _mm256_loadu_pd(values);
    for (; i + 16 <= rows; i += 16)
        for (int j = 0; j < 4; j++) {
            const __m256d four = _mm256_loadu_pd(values + i + 4 * j);
            low[j] = _mm256_min_pd(low[j], four), high[j] = _mm256_max_pd(high[j], four);
            odd = _mm256_or_pd(odd, _mm256_cmp_pd(four, four, _CMP_UNORD_Q));
        }
    for (int j = 1; j < 4; j++) {
        low[0] = _mm256_min_pd(low[0], low[j]), high[0] = _mm256_max_pd(high[0], high[j]);
    }
    _mm256_storeu_pd(ends[0], low[0]), _mm256_storeu_pd(ends[1], high[0]);
    span_of(i < rows ? values + i : values, i < rows ? rows - i : 1, span);
    if (span[0] != span[0] || _mm256_movemask_pd(odd)) {
        span[0] = span[1] = NAN;
        return;
    }
    for (int j = 0; j < 4; j++) {
        span[0] = ends[0][j] < span[0] ? ends[0][j] : span[0];
        span[1] = ends[1][j] > span[1] ? ends[1][j] : span[1];
    }
}

/* Write each column's least and greatest value, or NaN twice where one is missing. */
void modelkeep_spans(const double *const *columns, size_t count, size_t rows,
                     double (*spans)[2]) {
    for (size_t c = 0; c < count; c++)
        if (wide())
            span_wide(columns[c], rows, spans[c]);
        else
            span_of(columns[c], rows, spans[c]);
}

/* Write where each of `asked` would go into `sorted`, before its equals. Both ascend, so
   each is looked for from where the one before it was, in steps that double. */
void modelkeep_places(const uint64_t *sorted, size_t size, const uint64_t *asked,
                      size_t count, int64_t *places) {
    size_t low = 0;
    for (size_t i = 0; i < count; i++) {
        size_t step = 1, high = low;
        while (high < size && sorted[high] < asked[i])
            low = high + 1, high += step, step *= 2;
        high = high < size ? high : size;
        while (low < high) {
            const size_t middle = low + (high - low) / 2;
            if (sorted[middle] < asked[i])
                low = middle + 1;
            else
                high = middle;
        }
        places[i] = (int64_t)low;
    }
}

/* Ids that ascend by `mixed`, and what is known of each. */
typedef struct {
    uint64_t *mixed, *first;
    int32_t *batches, *rows;
} Ids;

static void copied(const Ids *from, size_t start, size_t end, const Ids *into,
                   size_t at) {
    const size_t count = end - start;
    memcpy(into->mixed + at, from->mixed + start, count * sizeof *from->mixed);
    memcpy(into->first + at, from->first + start, count * sizeof *from->first);
    memcpy(into->batches + at, from->batches + start, count * sizeof *from->batches);
    memcpy(into->rows + at, from->rows + start, count * sizeof *from->rows);
}

INLINE uint64_t chosen(uint64_t one, uint64_t other, uint64_t mask) {
    return one ^ ((one ^ other) & mask);
}

/* Write both into `into`, ascending; of equals, those of `one` go first. */
void modelkeep_merge(const Ids *one, size_t count, const Ids *other, size_t more,
                     const Ids *into) {
    const Ids a = *one, b = *other, to = *into;
    size_t at = 0, next = 0, i = 0;
    for (; at < count && next < more; i++) {
        /* which it is cannot be foreseen: so both are read, and none is branched to */
        const uint64_t mask = -(uint64_t)(b.mixed[next] < a.mixed[at]);
        to.mixed[i] = chosen(a.mixed[at], b.mixed[next], mask);
        to.first[i] = chosen(a.first[at], b.first[next], mask);
        to.batches[i] = (int32_t)chosen(a.batches[at], b.batches[next], mask);
        to.rows[i] = (int32_t)chosen(a.rows[at], b.rows[next], mask);
        at += 1 + mask, next -= mask;
    }
    copied(one, at, count, into, i);
    copied(other, next, more, into, i + count - at);
}

INLINE int scoring(const double *scores, size_t rows, int64_t *total) {
    /* the last cell is that of 1; neighbours are often alike: they do not wait */
    int64_t cells[4][65] = {{0}};
    int32_t cell[512];
    for (size_t start = 0; start < rows; start += 512) {
        const double *part = scores + start;
        size_t size = rows - start < 512 ? rows - start : 512;
        int64_t inside = 0;
        for (size_t i = 0; i < size; i++) inside += (part[i] >= 0) & (part[i] <= 1);
        if (inside < (int64_t)size) return 0;
        for (size_t i = 0; i < size; i++) cell[i] = (int32_t)(part[i] * 64);
        for (size_t i = 0; i < size; i++) cells[i & 3][cell[i]]++;
    }
    for (int i = 0; i < 65; i++)
        for (int j = 0; j < 4; j++) total[i < 63 ? i : 63] += cells[j][i];
    return 1;
}

WIDE int scoring_wide(const double *scores, size_t rows, int64_t *total) {
    return scoring(scores, rows, total);
}

/* Add to `total` how many scores lie in each of 64 equal cells of [0, 1]. Return 0, and
   add nothing, where one lies outside or is missing. */
int modelkeep_scores(const double *scores, size_t rows, int64_t *total) {
    return wide() ? scoring_wide(scores, rows, total) : scoring(scores, rows, total);
}

#endif
