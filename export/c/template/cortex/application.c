/* The least that classifies: its memory is what a program takes of a microcontroller. `frame` is where the input of a
 * time-step arrives. */
#include "model.h"

model_input frame[MODEL_INPUT_SIZE];
volatile int class;
static model_state state;

int main(void)
{
    for (;;) {
        model_reset(&state);
        while (model_step(&state, frame) > 0) {}
        class = model_class(&state);
    }
}
