/* A 3x3 convolution of CMSIS-NN, int8, of which cortex.py counts the instructions: HEIGHT, WIDTH, INPUTS and OUTPUTS are
 * given to the compiler. Weights are -1, 0 and 1, messages 0 .. 15; neither matters to its time. */
#include "arm_nnfunctions.h"

#include <stdio.h>
#include <stdlib.h>

#define SYST ((volatile uint32_t *)0xE000E010)

extern void initialise_monitor_handles(void);

static int8_t in[HEIGHT * WIDTH * INPUTS], out[HEIGHT * WIDTH * OUTPUTS], weights[OUTPUTS * 9 * INPUTS];
static int32_t bias[OUTPUTS], multiplier[OUTPUTS], shift[OUTPUTS];
static int8_t buffer[1 << 18];

int main(void)
{
    initialise_monitor_handles();
    for (unsigned i = 0; i < sizeof in; ++i)
        in[i] = (int8_t)(i % 7 < 2 ? i % 16 : 0);
    for (unsigned i = 0; i < sizeof weights; ++i)
        weights[i] = (int8_t)(i * 37 % 11 % 3) - 1;
    for (int i = 0; i < OUTPUTS; ++i)
        multiplier[i] = 1 << 30, shift[i] = -4;
    const cmsis_nn_conv_params layer = {0, 0, {1, 1}, {1, 1}, {1, 1}, {0, 15}};
    const cmsis_nn_per_channel_quant_params scale = {multiplier, shift};
    const cmsis_nn_dims input = {1, HEIGHT, WIDTH, INPUTS}, filter = {OUTPUTS, 3, 3, INPUTS},
                        biases = {1, 1, 1, OUTPUTS}, output = {1, HEIGHT, WIDTH, OUTPUTS};
    const cmsis_nn_context context = {buffer, sizeof buffer};
    if (arm_convolve_wrapper_s8_get_buffer_size(&layer, &input, &filter, &output) > (int)sizeof buffer)
        exit(1);
    SYST[1] = 0xFFFFFF, SYST[2] = 0, SYST[0] = 5;
    const uint32_t before = SYST[2];
    const int failed = arm_convolve_wrapper_s8(&context, &layer, &scale, &input, in, &filter, weights, &biases, bias,
                                               &output, out);
    printf("%lu\n", (unsigned long)((before - SYST[2]) & 0xFFFFFF));
    exit(failed != 0);
}

void _init(void)
{
}

void _fini(void)
{
}
