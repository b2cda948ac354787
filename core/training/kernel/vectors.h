// Vectors of floats as wide as the processor's registers, and the few functions that networks need.
//
// Written with the compiler's vector extension, so that the same lines serve AVX-512, AVX2, SSE and
// NEON.  NaN goes in and NaN comes out everywhere: a member that diverges must be seen to do so.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__SSE__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace rewardsmith {

#if defined(__AVX512F__)
constexpr long W = 16;  // floats per vector
constexpr long TILE_ROWS = 6, TILE_VECTORS = 4;
#elif defined(__AVX__)
constexpr long W = 8;
constexpr long TILE_ROWS = 6, TILE_VECTORS = 2;
#elif defined(__aarch64__)
constexpr long W = 4;
constexpr long TILE_ROWS = 6, TILE_VECTORS = 4;
#else
constexpr long W = 4;
constexpr long TILE_ROWS = 4, TILE_VECTORS = 2;
#endif

typedef float vec __attribute__((vector_size(4 * W)));
typedef float loose_vec __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * W)));

inline constexpr long padded(long size) { return (size + W - 1) / W * W; }

inline vec load(const float* from) { return *reinterpret_cast<const loose_vec*>(from); }
inline void store(float* to, vec x) { *reinterpret_cast<loose_vec*>(to) = x; }
inline vec all(float x) { return x - vec{}; }  // "+" would cost an addition, because of -0
inline ivec bits(vec x) { return reinterpret_cast<ivec>(x); }
inline vec real(ivec x) { return reinterpret_cast<vec>(x); }

// a b + c, rounded once where the processor can.  Said outright, because a compiler decides loop by loop
// whether to fuse: tuned for AMD's Zen it does not in a chain of its own, and a row that was alone in its
// tile had other bits than among others.
inline vec fused(vec a, vec b, vec c) {
#if defined(__AVX512F__)
    return reinterpret_cast<vec>(_mm512_fmadd_ps(
        reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(c)));
#elif defined(__AVX__) && defined(__FMA__)
    return reinterpret_cast<vec>(_mm256_fmadd_ps(
        reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b), reinterpret_cast<__m256>(c)));
#elif defined(__aarch64__)
    return reinterpret_cast<vec>(vfmaq_f32(
        reinterpret_cast<float32x4_t>(c), reinterpret_cast<float32x4_t>(a),
        reinterpret_cast<float32x4_t>(b)));
#else
    return a * b + c;
#endif
}

inline vec root(vec x) {
    vec y;
    for (long i = 0; i < W; i++) y[i] = __builtin_sqrtf(x[i]);  // becomes one instruction
    return y;
}

inline float sum(vec x) {
    float total = 0.0f;
    for (long i = 0; i < W; i++) total += x[i];
    return total;
}

inline ivec lanes() {
    ivec numbers{};
    for (int i = 0; i < W; i++) numbers[i] = i;
    return numbers;
}

// x = n ln 2 + r with |r| <= ln(2) / 2.  Returns e^r - 1 and, in `power`, 2^n; |x| <= 87.
inline vec expm1_parts(vec x, vec& power) {
    constexpr float ROUND = 12582912.0f;  // 1.5 * 2^23: adding it leaves a whole number in the low bits
    vec shifted = x * 1.44269504088896341f + ROUND;
    vec n = shifted - ROUND;
    power = real((bits(shifted) << 23) + (127 << 23));
    vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440054690583e-4f;  // ln 2 in two parts, the first of which is short
    vec p = all(1.0f / 5040);  // Taylor: what is left out is below 2e-8 of r
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    return r + r * r * p;
}

inline vec exp(vec x) {
    vec inside = x > 88.0f ? all(88.0f) : x;
    inside = inside < -87.0f ? all(-87.0f) : inside;
    vec power, low = expm1_parts(inside, power);
    vec result = power + power * low;
    result = x > 88.72f ? all(__builtin_inff()) : result;
    return x < -87.0f ? vec{} : result;
}

// tanh x = m / (m + 2) with m = e^(2x) - 1, which keeps its digits near 0.
inline vec tanh(vec x) {
    vec twice = x + x;
    twice = twice > 20.0f ? all(20.0f) : twice;
    twice = twice < -20.0f ? all(-20.0f) : twice;
    vec power, low = expm1_parts(twice, power);
    vec m = power * low + (power - 1.0f);
    return m / (m + 2.0f);
}

// For positive normal numbers.
inline vec log(vec x) {
    constexpr int32_t HALF_ROOT = 0x3f3504f3;  // sqrt(1/2): the mantissa is brought to [it, sqrt 2)
    ivec offset = bits(x) - HALF_ROOT;
    ivec exponent = offset >> 23;
    vec mantissa = real((offset & 0x007fffff) + HALF_ROOT);
    vec f = (mantissa - 1.0f) / (mantissa + 1.0f);
    vec s = f * f;
    vec p = all(2.0f / 9);
    p = p * s + 2.0f / 7;
    p = p * s + 2.0f / 5;
    p = p * s + 2.0f / 3;
    vec result = f * 2.0f + f * s * p;
    vec n = __builtin_convertvector(exponent, vec);
    result = n * 0.693359375f + (result - n * 2.12194440054690583e-4f);
    return result + (x - x);  // NaN and infinity stay what they are: never finite
}

// Lane t of the result is lane INDEX(t) of a and b, one after the other.
template <int (*INDEX)(int), std::size_t... T>
inline vec pick(vec a, vec b, std::index_sequence<T...>) {
#if defined(__clang__)
    return __builtin_shufflevector(a, b, INDEX(T)...);
#else
    return __builtin_shuffle(a, b, ivec{INDEX(T)...});
#endif
}
template <int (*INDEX)(int)>
inline vec pick(vec a, vec b) {
    return pick<INDEX>(a, b, std::make_index_sequence<W>());
}

// The first and the second halves of all groups of 2 HALF lanes; groups of a and b take turns.
template <int HALF>
constexpr int first_half(int t) {
    return (t / HALF % 2 ? static_cast<int>(W) : 0) + t / (2 * HALF) * 2 * HALF + t % HALF;
}
template <int HALF>
constexpr int second_half(int t) {
    return first_half<HALF>(t) + HALF;
}

template <int HALF>
inline void fold(vec* x) {
#pragma GCC unroll 8
    for (int i = 0; i < HALF; i++)
        x[i] = pick<first_half<HALF>>(x[i], x[i + HALF]) + pick<second_half<HALF>>(x[i], x[i + HALF]);
    if constexpr (HALF > 1) fold<HALF / 2>(x);
}

// Returns the sums of W vectors, one in each lane; x is used up.
inline vec sums(vec* x) {
    fold<W / 2>(x);
    return x[0];
}

template <int HALF>
inline void swap_blocks(vec* x) {
#pragma GCC unroll 16
    for (int i = 0; i < W; i++)
        if (!(i & HALF)) {
            const vec a = x[i], b = x[i + HALF];
            x[i] = pick<first_half<HALF>>(a, b);
            x[i + HALF] = pick<second_half<HALF>>(a, b);
        }
    if constexpr (HALF > 1) swap_blocks<HALF / 2>(x);
}

// Exchanges rows and columns of W vectors.
inline void transpose(vec* x) { swap_blocks<W / 2>(x); }

// Numbers below 1e-38 count as zero while this lives: Adam's moments of unused weights decay into them.
class FlushDenormals {
#if defined(__SSE__)
    unsigned before = _mm_getcsr();

  public:
    FlushDenormals() { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }
#elif defined(__aarch64__)
    uint64_t before;

  public:
    FlushDenormals() {
        asm volatile("mrs %0, fpcr" : "=r"(before));
        asm volatile("msr fpcr, %0" : : "r"(before | (1ull << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(before)); }
#else
  public:
    FlushDenormals() {}
    ~FlushDenormals() {}
#endif
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace rewardsmith
