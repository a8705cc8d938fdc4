/* Runs the sample of test_vector.h and counts instructions: QEMU with -icount shift=0 advances its clock by a
 * nanosecond for each instruction, and SysTick counts down at TICK_NS nanoseconds. */
#include "model.h"
#include "test_vector.h"

#include <stdio.h>

#define SYST_CSR (*(volatile uint32_t *)0xE000E010)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018)

static model_state state;

int main(void)
{
    unsigned long ticks = 0;
    int wrong = 0;
    SYST_RVR = 0xFFFFFF;
    SYST_CVR = 0;
    SYST_CSR = 5;
    model_reset(&state);
    for (int t = 0; t < MODEL_TIME_STEPS; ++t) {
        const uint32_t before = SYST_CVR;
        model_step(&state, test_input + t % MODEL_INPUT_STEPS * MODEL_INPUT_SIZE);
        ticks += (before - SYST_CVR) & 0xFFFFFF;
    }
    for (int k = 0; k < MODEL_CLASSES; ++k)
        wrong += state.logits[k] != test_logits[k];
    printf("ticks %lu\nwrong %d\nclass %d\n", ticks, wrong, model_class(&state));
    return wrong != 0;
}
