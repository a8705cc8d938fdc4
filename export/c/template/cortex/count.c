/* Classifies the samples of the file "inputs" on the host, and prints of each the logits, in hexadecimal, and the ticks
 * of SysTick that model_reset and model_step took: QEMU with -icount shift=0 lets a nanosecond pass with each
 * instruction. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

#define SYST_CSR (*(volatile uint32_t *)0xE000E010)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018)
#define LARGEST 0xFFFFFFu

extern void initialise_monitor_handles(void);
void _init(void);
void _fini(void);
void fault(void);

static model_state state;
static model_input sample[MODEL_INPUT_STEPS * MODEL_INPUT_SIZE];

static uint32_t since(uint32_t before)
{
    return (before - SYST_CVR) & LARGEST;
}

int main(void)
{
    initialise_monitor_handles();
    FILE *inputs = fopen("inputs", "rb");
    if (inputs == NULL)
        exit(3);
    SYST_RVR = LARGEST;
    SYST_CVR = 0;
    SYST_CSR = 5;  /* the processor's clock, no interrupt */
    while (fread(sample, sizeof sample, 1, inputs) == 1) {
        uint32_t before = SYST_CVR;
        model_reset(&state);
        unsigned long ticks = since(before);
        for (int t = 0; t < MODEL_TIME_STEPS; ++t) {
            before = SYST_CVR;
            model_step(&state, sample + t % MODEL_INPUT_STEPS * MODEL_INPUT_SIZE);
            ticks += since(before);
        }
        for (int k = 0; k < MODEL_CLASSES; ++k) {
            const uint64_t logit = (uint64_t)state.logits[k];
            printf("%08lx%08lx ", (unsigned long)(logit >> 32), (unsigned long)(logit & 0xFFFFFFFFu));
        }
        printf("%lu\n", ticks);
    }
    exit(0);
}

/* What the C library calls before and after main. */
void _init(void)
{
}

void _fini(void)
{
}

void fault(void)
{
    _Exit(99);
}
