/* SHA-256 of many rows, and their Merkle root (RFC 6962); values counted: see kernel.py.

   FIPS 180-4, by the processor's own instructions (x86-64); without them there is no
   kernel, because OpenSSL is faster than plain C. Nothing is allocated, nothing kept. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

static const uint32_t K[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
    0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
    0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
    0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
    0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
    0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2};

__attribute__((target("sha,sse4.1,ssse3"))) static void compress(
    uint32_t state[8], const uint8_t *data, size_t blocks) {
    const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xB1);
    __m128i cdgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(low, cdgh, 8);
    cdgh = _mm_blend_epi16(cdgh, low, 0xF0);
    for (; blocks--; data += 64) {
        const __m128i abef_before = abef, cdgh_before = cdgh;
        __m128i m[4];
        for (int i = 0; i < 4; i++) {
            m[i] = _mm_loadu_si128((const __m128i *)(data + 16 * i));
            m[i] = _mm_shuffle_epi8(m[i], order);
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i k = _mm_load_si128((const __m128i *)(K + 4 * i));
            k = _mm_add_epi32(k, m[i & 3]);
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, k);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(k, 0x0E));
            if (i < 12) {
                __m128i next = _mm_sha256msg1_epu32(m[i & 3], m[(i + 1) & 3]);
                __m128i seven = _mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4);
                next = _mm_add_epi32(next, seven);
                m[i & 3] = _mm_sha256msg2_epu32(next, m[(i + 3) & 3]);
            }
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    low = _mm_shuffle_epi32(abef, 0x1B);
    cdgh = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(low, cdgh, 0xF0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(cdgh, low, 8));
}

int modelkeep_native(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1);
}

static void sha256(const uint8_t *data, size_t size, uint8_t *out) {
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t tail[128] = {0};
    size_t whole = size / 64, rest = size % 64, last = rest < 56 ? 64 : 128;
    compress(state, data, whole);
    memcpy(tail, data + 64 * whole, rest);
    tail[rest] = 0x80;
    for (int i = 0; i < 8; i++) tail[last - 1 - i] = (uint8_t)((uint64_t)size * 8 >> 8 * i);
    compress(state, tail, last / 64);
    for (int i = 0; i < 32; i++) out[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

/* Write the hash of each of `rows` rows of `width` bytes to `out`, 32 bytes a row. */
void modelkeep_leaves(const uint8_t *data, size_t rows, size_t width, uint8_t *out) {
    for (size_t i = 0; i < rows; i++) sha256(data + i * width, width, out + 32 * i);
}

/* Replace `count` hashes by those above them until one is left, the root, in front. */
void modelkeep_root(uint8_t *hashes, size_t count) {
    uint8_t node[65] = {1};
    for (; count > 1; count = (count + 1) / 2) {
        for (size_t i = 0; i < count / 2; i++) {
            memcpy(node + 1, hashes + 64 * i, 64);
            sha256(node, sizeof node, hashes + 32 * i);
        }
        if (count % 2) memmove(hashes + 16 * (count - 1), hashes + 32 * (count - 1), 32);
    }
}

static inline __attribute__((always_inline)) int64_t reaching(
    const double *values, size_t rows, double edge) {
    int64_t reached = 0;
    for (size_t i = 0; i < rows; i++) reached += values[i] >= edge;
    return reached;
}

static int64_t reaching_plain(const double *values, size_t rows, double edge) {
    return reaching(values, rows, edge);
}

/* The same, four at a time where the processor can. */
__attribute__((target("avx2"))) static int64_t reaching_wide(
    const double *values, size_t rows, double edge) {
    return reaching(values, rows, edge);
}

/* Add to `total` [edges, features] how many values of each row of `block` reach each
   edge: what `numpy.greater_equal` says, NaN reaching none. Rows lie `stride` apart. */
void modelkeep_reach(const double *block, size_t features, size_t rows, size_t stride,
                     const double *edges, size_t count, int64_t *total) {
    int64_t (*count_of)(const double *, size_t, double) =
        __builtin_cpu_supports("avx2") ? reaching_wide : reaching_plain;
    for (size_t f = 0; f < features; f++)
        for (size_t e = 0; e < count; e++)
            total[e * features + f] +=
                count_of(block + f * stride, rows, edges[e * features + f]);
}

/* Add to `total`, 257 numbers, the fine cell of each value; the last is what is missing.
   Each step is that of `modelkeep.stats.fine`, in the same width, so no cell differs. */
void modelkeep_fold(const double *values, size_t rows, double centre, double rate,
                    int64_t *total) {
    for (size_t i = 0; i < rows; i++) {
        float far = (float)((values[i] - centre) * rate);
        float fold = -128.0f / (__builtin_fabsf(far) + 1.0f) + 128.0f;
        int32_t cell = far != far ? 0 : (int32_t)fold;
        if (cell > 127) cell = 127;
        cell = 128 + (__builtin_signbitf(far) ? ~cell : cell);
        total[far != far ? 256 : cell]++;
    }
}

static inline __attribute__((always_inline)) int scoring(
    const double *scores, size_t rows, int64_t *total) {
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

__attribute__((target("avx2"))) static int scoring_wide(
    const double *scores, size_t rows, int64_t *total) {
    return scoring(scores, rows, total);
}

/* Add to `total` how many scores lie in each of 64 equal cells of [0, 1]. Return 0, and
   add nothing, where one lies outside or is missing. */
int modelkeep_scores(const double *scores, size_t rows, int64_t *total) {
    if (__builtin_cpu_supports("avx2")) return scoring_wide(scores, rows, total);
    return scoring(scores, rows, total);
}

#else

int modelkeep_scores(const double *scores, size_t rows, int64_t *total) {
    return (void)scores, (void)rows, (void)total, 0;
}
void modelkeep_reach(const double *block, size_t features, size_t rows, size_t stride,
                     const double *edges, size_t count, int64_t *total) {
    (void)block, (void)features, (void)rows, (void)stride;
    (void)edges, (void)count, (void)total;
}
void modelkeep_fold(const double *values, size_t rows, double centre, double rate,
                    int64_t *total) {
    (void)values, (void)rows, (void)centre, (void)rate, (void)total;
}
int modelkeep_native(void) { return 0; }
void modelkeep_leaves(const uint8_t *data, size_t rows, size_t width, uint8_t *out) {
    (void)data, (void)rows, (void)width, (void)out;
}
void modelkeep_root(uint8_t *hashes, size_t count) { (void)hashes, (void)count; }

#endif
