/* A sample with its logits, as the simulator gives them. */
#ifndef MODEL_TEST_VECTOR_H
#define MODEL_TEST_VECTOR_H

#include "model.h"

static const model_input test_input[MODEL_INPUT_STEPS * MODEL_INPUT_SIZE] = {
@TEST_INPUT@
};

static const int64_t test_logits[MODEL_CLASSES] = {
@TEST_LOGITS@
};

#endif
