/* @NETWORK@: weights and parameters, all constant, @WEIGHTS@ bytes. See model.h. */
#include "weights.h"

@DEFINITIONS@
