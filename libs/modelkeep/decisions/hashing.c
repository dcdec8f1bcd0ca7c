/* SHA-256 of many messages, and their Merkle root (RFC 6962): see kernel.py.

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

static const uint32_t FIRST[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* Two messages side by side take hardly longer than one: a round waits for the one
   before it, and meanwhile the other's is done. */
enum { LANES = 2 };

__attribute__((always_inline, target("sha,sse4.1,ssse3"))) static inline void rounds(
    uint32_t state[][8], const uint8_t *const start[], const int lanes, size_t blocks) {
    const __m128i order = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i abef[LANES], cdgh[LANES];
    const uint8_t *data[LANES];
    for (int l = 0; l < lanes; l++) {
        __m128i low = _mm_loadu_si128((const __m128i *)state[l]);
        __m128i high = _mm_loadu_si128((const __m128i *)(state[l] + 4));
        low = _mm_shuffle_epi32(low, 0xB1), high = _mm_shuffle_epi32(high, 0x1B);
        abef[l] = _mm_alignr_epi8(low, high, 8);
        cdgh[l] = _mm_blend_epi16(high, low, 0xF0);
        data[l] = start[l];
    }
    for (; blocks--;) {
        __m128i abef_before[LANES], cdgh_before[LANES], m[LANES][4];
        for (int l = 0; l < lanes; l++) {
            abef_before[l] = abef[l], cdgh_before[l] = cdgh[l];
            for (int i = 0; i < 4; i++) {
                m[l][i] = _mm_loadu_si128((const __m128i *)(data[l] + 16 * i));
                m[l][i] = _mm_shuffle_epi8(m[l][i], order);
            }
            data[l] += 64;
        }
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            const __m128i constants = _mm_load_si128((const __m128i *)(K + 4 * i));
#pragma GCC unroll 2
            for (int l = 0; l < lanes; l++) {
                __m128i k = _mm_add_epi32(constants, m[l][i & 3]);
                cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], k);
                k = _mm_shuffle_epi32(k, 0x0E);
                abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], k);
                if (i < 12) {
                    __m128i last = m[l][(i + 3) & 3];
                    __m128i next = _mm_sha256msg1_epu32(m[l][i & 3], m[l][(i + 1) & 3]);
                    __m128i seven = _mm_alignr_epi8(last, m[l][(i + 2) & 3], 4);
                    next = _mm_add_epi32(next, seven);
                    m[l][i & 3] = _mm_sha256msg2_epu32(next, last);
                }
            }
        }
        for (int l = 0; l < lanes; l++) {
            abef[l] = _mm_add_epi32(abef[l], abef_before[l]);
            cdgh[l] = _mm_add_epi32(cdgh[l], cdgh_before[l]);
        }
    }
    for (int l = 0; l < lanes; l++) {
        __m128i low = _mm_shuffle_epi32(abef[l], 0x1B);
        __m128i high = _mm_shuffle_epi32(cdgh[l], 0xB1);
        _mm_storeu_si128((__m128i *)state[l], _mm_blend_epi16(low, high, 0xF0));
        _mm_storeu_si128((__m128i *)(state[l] + 4), _mm_alignr_epi8(high, low, 8));
    }
}

__attribute__((target("sha,sse4.1,ssse3"))) static void compress(
    uint32_t state[][8], const uint8_t *const data[], int lanes, size_t blocks) {
    if (lanes == 2)
        rounds(state, data, 2, blocks);
    else
        rounds(state, data, 1, blocks);
}

/* Return which form the functions here and in counting.c have; 0: they cannot run. */
int modelkeep_native(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b >> 29 & 1) ? 5 : 0;
}

/* What is hashed: `front`, then `body`. */
typedef struct {
    const uint8_t *front;
    uint64_t front_size;
    const uint8_t *body;
    uint64_t size;
} Message;

/* Hash messages of the same sizes, a lane each. */
static void hash_lanes(const Message *of, int lanes, uint8_t *out) {
    uint32_t state[LANES][8];
    uint8_t edge[LANES][128];
    const uint8_t *at[LANES], *const edges[LANES] = {edge[0], edge[1]};
    const size_t whole = of->front_size / 64, size = of->size;
    size_t rest = of->front_size % 64, taken = 0;
    for (int l = 0; l < lanes; l++) {
        memcpy(state[l], FIRST, sizeof FIRST);
        at[l] = of[l].front;
    }
    compress(state, at, lanes, whole);
    for (int l = 0; l < lanes; l++) memcpy(edge[l], at[l] + 64 * whole, rest);
    if (rest && rest + size >= 64) { /* a block that begins in front, ends in the body */
        taken = 64 - rest;
        for (int l = 0; l < lanes; l++) memcpy(edge[l] + rest, of[l].body, taken);
        compress(state, edges, lanes, 1);
        rest = 0;
    }
    if (!rest) {
        const size_t blocks = (size - taken) / 64;
        for (int l = 0; l < lanes; l++) at[l] = of[l].body + taken;
        compress(state, at, lanes, blocks);
        taken += 64 * blocks;
    }
    const size_t left = size - taken, end = rest + left;
    const size_t last = end < 56 ? 64 : 128;
    const uint64_t bits = (of->front_size + size) * 8;
    for (int l = 0; l < lanes; l++) {
        memcpy(edge[l] + rest, of[l].body + taken, left);
        memset(edge[l] + end, 0, last - end);
        edge[l][end] = 0x80;
        for (int i = 0; i < 8; i++) edge[l][last - 1 - i] = (uint8_t)(bits >> 8 * i);
    }
    compress(state, edges, lanes, last / 64);
    for (int l = 0; l < lanes; l++)
        for (int i = 0; i < 32; i++)
            out[32 * l + i] = (uint8_t)(state[l][i / 4] >> (24 - 8 * (i % 4)));
}

/* Write the hash of each of `count` messages to `out`, 32 bytes each. */
void modelkeep_digests(const Message *of, size_t count, uint8_t *out) {
    for (size_t i = 0; i < count;) {
        const Message *one = of + i, *other = one + 1;
        int lanes = i + 1 < count && one->front_size == other->front_size &&
                            one->size == other->size
                        ? 2
                        : 1;
        hash_lanes(one, lanes, out + 32 * i);
        i += lanes;
    }
}

/* Write the hash of each of `rows` rows of `width` bytes to `out`, 32 bytes a row. */
void modelkeep_leaves(const uint8_t *data, size_t rows, size_t width, uint8_t *out) {
    for (size_t i = 0; i < rows; i += LANES) {
        const uint8_t *row = data + i * width;
        const Message two[LANES] = {{row, 0, row, width}, {row, 0, row + width, width}};
        hash_lanes(two, i + 1 < rows ? 2 : 1, out + 32 * i);
    }
}

/* Replace `count` hashes by those above them until one is left, the root, in front. */
void modelkeep_root(uint8_t *hashes, size_t count) {
    static const uint8_t node = 1;
    for (; count > 1; count = (count + 1) / 2) {
        for (size_t i = 0; i < count / 2; i += LANES) {
            const uint8_t *pair = hashes + 64 * i;
            const Message two[LANES] = {{&node, 1, pair, 64}, {&node, 1, pair + 64, 64}};
            /* what is read lies at or behind what is written, and is read before it */
            hash_lanes(two, i + 1 < count / 2 ? 2 : 1, hashes + 32 * i);
        }
        if (count % 2) memmove(hashes + 16 * (count - 1), hashes + 32 * (count - 1), 32);
    }
}

#else

int modelkeep_native(void) { return 0; } /* and nothing else is asked for */

#endif
