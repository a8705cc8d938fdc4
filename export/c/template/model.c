/* @NETWORK@: the layers. See model.h.
 *
 * Every integer is that of the program: rshift(x, n) is x / 2^n with halves rounded up, clamp limits. Registers have
 * 32 bits where it is proven that every value fits for any input, and 64 bits elsewhere. No operation overflows.
 */
#include "model.h"
#include "weights.h"

#include <stddef.h>
#include <string.h>

/* What C leaves to the compiler, checked when it compiles: two's complement, arithmetic shifts, 32-bit int. */
typedef char model_needs_twos_complement[(-1 & 3) == 3 ? 1 : -1];
typedef char model_needs_arithmetic_shifts[(-5 >> 1) == -3 ? 1 : -1];
typedef char model_needs_an_int_of_32_bits[sizeof(int) >= 4 ? 1 : -1];
typedef char model_arena_is_as_planned[sizeof(model_arena) <= MODEL_ARENA_BYTES ? 1 : -1];

/* Bytes of a vector: rows of weights that are a multiple of it are added up in vectors, others in 32-bit registers (all
 * for 0). The integers are the same. */
#ifndef MODEL_VECTORS
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#define MODEL_VECTORS 0
#elif defined(__SSE2__) || defined(__ARM_NEON)
#define MODEL_VECTORS 16
#else
#define MODEL_VECTORS 0
#endif
#endif
#if defined(__ARM_FEATURE_MVE) && !defined(__ARM_BIG_ENDIAN)
#include <arm_mve.h>
#define MODEL_HELIUM 1
#ifdef __clang__
#define MODEL_APART __attribute__((noinline))
#else
#define MODEL_APART __attribute__((noinline, noclone))  /* for every layer: loops that are not unrolled, with few pointers */
#endif
#define DENSE_TILE @DENSE_TILE@
#define DENSE_ROWS @DENSE_ROWS@
#else
#define MODEL_HELIUM 0
#endif
#ifndef MODEL_VNNI
#if defined(__AVX512VNNI__) && defined(__AVX512VBMI__)
#define MODEL_VNNI MODEL_VECTORS
#else
#define MODEL_VNNI 0
#endif
#endif
#if MODEL_VNNI
#include <immintrin.h>
#endif
#if MODEL_VECTORS && defined(__GNUC__)
typedef uint16_t lanes16 __attribute__((vector_size(32)));
typedef uint64_t lanes64 __attribute__((vector_size(32)));
#endif
#define MODEL_WIDEST_ROW @WIDEST_ROW@
#define MODEL_LIST_ROOM @LIST_ROOM@
#if MODEL_VECTORS && defined(__GNUC__)
#define MODEL_INLINE inline __attribute__((always_inline))
#else
#define MODEL_INLINE inline
#endif

#ifdef MODEL_TAPS
#define TAP(population, messages) \
    model_tap(population, messages, sizeof(messages) / sizeof((messages)[0]), sizeof((messages)[0]))
#else
#define TAP(population, messages)
#endif

@KERNELS@
@LAYERS@
void model_reset(model_state *state)
{
    state->t = 0;
    memset(state->logits, 0, sizeof state->logits);
@RESETS@}

int model_step(model_state *state, const model_input *input)
{
    if (state->t >= MODEL_TIME_STEPS)
        return -1;
@CALLS@
    ++state->t;
    return MODEL_TIME_STEPS - state->t;
}

int model_class(const model_state *state)
{
    int best = 0;
    for (int k = 1; k < MODEL_CLASSES; ++k)
        if (state->logits[k] > state->logits[best])
            best = k;
    return best;
}

int model_run(model_state *state, const model_input *input)
{
    model_reset(state);
    for (int t = 0; t < MODEL_TIME_STEPS; ++t)
        model_step(state, input + t % MODEL_INPUT_STEPS * MODEL_INPUT_SIZE);
    return model_class(state);
}
