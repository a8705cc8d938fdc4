/* Runs the model: without arguments on the sample of test_vector.h, whose logits are known; or
 *
 *     model INPUTS          prints the logits of every sample, a line for each
 *
 * INPUTS holds the samples' inputs one after the other, each MODEL_INPUT_STEPS x (height, width, channels) integers of
 * the type model_input. Compiled with MODEL_TAPS it also takes a file for the messages of all populations.
 */
#include "model.h"
#include "test_vector.h"

#include <stdio.h>
#include <stdlib.h>

static model_state state;
static model_input sample[MODEL_INPUT_STEPS * MODEL_INPUT_SIZE];

/* A 64-bit integer in decimal: printf of small C libraries has no format for it. */
static void print_integer(int64_t value)
{
    char digits[24];
    int n = sizeof digits - 1;
    uint64_t rest = value < 0 ? (uint64_t)0 - (uint64_t)value : (uint64_t)value;
    digits[n] = '\0';
    do
        digits[--n] = (char)('0' + (int)(rest % 10));
    while ((rest /= 10) != 0);
    if (value < 0)
        digits[--n] = '-';
    fputs(digits + n, stdout);
}

static void print_logits(void)
{
    for (int k = 0; k < MODEL_CLASSES; ++k) {
        print_integer(state.logits[k]);
        putchar(k + 1 < MODEL_CLASSES ? ' ' : '\n');
    }
}

static int run_test_vector(void)
{
    int wrong = 0;
    const int class = model_run(&state, test_input);
    for (int k = 0; k < MODEL_CLASSES; ++k)
        wrong += state.logits[k] != test_logits[k];
    printf("arena %d bytes, neurons %d bytes, state in all %lu bytes, constants %lu bytes\n", MODEL_ARENA_BYTES,
           MODEL_NEURON_BYTES, (unsigned long)sizeof state, (unsigned long)MODEL_WEIGHT_BYTES);
    printf("logits: ");
    print_logits();
    printf("class %d, test vector: %s\n", class, wrong ? "DIFFERENT" : "the same");
    return wrong ? 1 : 0;
}

#ifdef MODEL_TAPS
static FILE *taps;

void model_tap(int population, const void *messages, unsigned long count, unsigned long bytes_each)
{
    (void)population;
    if (taps != NULL && fwrite(messages, bytes_each, count, taps) != count) {
        fprintf(stderr, "error: the messages cannot be written\n");
        exit(3);
    }
}
#endif

int main(int argc, char **argv)
{
    FILE *inputs;
    size_t got;
    if (argc < 2)
        return run_test_vector();
    inputs = fopen(argv[1], "rb");
    if (inputs == NULL) {
        fprintf(stderr, "error: %s cannot be opened\n", argv[1]);
        return 3;
    }
#ifdef MODEL_TAPS
    taps = argc > 2 ? fopen(argv[2], "wb") : NULL;
#endif
    while ((got = fread(sample, sizeof sample[0], sizeof sample / sizeof sample[0], inputs)) != 0) {
        if (got != sizeof sample / sizeof sample[0]) {
            fprintf(stderr, "error: %s ends within a sample\n", argv[1]);
            return 3;
        }
        model_run(&state, sample);
        print_logits();
    }
    fclose(inputs);
#ifdef MODEL_TAPS
    if (taps != NULL && fclose(taps) != 0) {
        fprintf(stderr, "error: the messages cannot be written\n");
        return 3;
    }
#endif
    return 0;
}
