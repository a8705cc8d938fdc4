/* @NETWORK@: weights and parameters, all constant. See model.h. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include <stdint.h>

@DECLARATIONS@

#endif
