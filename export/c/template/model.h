/* @NETWORK@ as integers: written by hmdf @VERSION@, do not edit.
 *
 * Program sha256 @SHA256@.
 *
 * A sample is shown for MODEL_TIME_STEPS time-steps. Its input is @INPUT_NOTE@, in the order
 * (height, width, channels): integers @INPUT_LOW@..@INPUT_HIGH@, one unit worth @INPUT_SCALE@ of the normalised input.
 *
 *     model_reset(&state);                        a sample begins
 *     while (model_step(&state, input) > 0) {}    a time-step, as its events arrive
 *     class = model_class(&state);                the largest of state.logits
 *
 * or all at once: class = model_run(&state, input). All that is written is in the model_state that the caller provides,
 * of static storage or on a stack: several may be in use at a time. No memory is allocated, no floating point is used.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#define MODEL_TIME_STEPS @STEPS@
#define MODEL_INPUT_STEPS @INPUT_STEPS@  /* arrays of input in a sample: 1 if the same is shown at every time-step */
#define MODEL_INPUT_HEIGHT @HEIGHT@
#define MODEL_INPUT_WIDTH @WIDTH@
#define MODEL_INPUT_CHANNELS @CHANNELS@
#define MODEL_INPUT_SIZE (MODEL_INPUT_HEIGHT * MODEL_INPUT_WIDTH * MODEL_INPUT_CHANNELS)
#define MODEL_CLASSES @CLASSES@
#define MODEL_POPULATIONS @POPULATIONS@
#define MODEL_ARENA_BYTES @ARENA@  /* messages and scratch, which share memory by the time at which they are needed */
#define MODEL_NEURON_BYTES @NEURONS@  /* membranes */
#define MODEL_WEIGHT_BYTES @WEIGHTS@  /* constants: weights and parameters */

typedef @INPUT_TYPE@ model_input;

typedef union {
@ARENA_MEMBERS@
} model_arena;

typedef struct {
    int t;                           /* time-steps done of this sample */
    int64_t logits[MODEL_CLASSES];   /* sums over these */
@STATES@
    model_arena arena;
} model_state;

/* Prepares for a new sample. */
void model_reset(model_state *state);

/* Computes a time-step from input[MODEL_INPUT_SIZE]; returns how many are left of the sample.
 * After the last it does nothing and returns -1 until model_reset. */
int model_step(model_state *state, const model_input *input);

/* The class with the largest logit, the first of several. */
int model_class(const model_state *state);

/* Computes a sample from input[MODEL_INPUT_STEPS * MODEL_INPUT_SIZE]; returns its class. */
int model_run(model_state *state, const model_input *input);

#ifdef MODEL_TAPS
/* Provided by who wants to see every message: called after each population of each time-step with its number in the
 * order of the program, and its messages (height, width, channels). */
void model_tap(int population, const void *messages, unsigned long count, unsigned long bytes_each);
#endif

#endif
