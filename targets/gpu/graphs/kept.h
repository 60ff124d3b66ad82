/* Objects of TVM's that a graph refers to by their addresses, so that they must live as long. */
#pragma once
#include <stddef.h>

#include "tvm/ffi/c_api.h"

typedef struct {
  TVMFFIAny *values;
  size_t count, room;
} dsc_kept;

/* Keep what `value` refers to, if it does. -1, with an error raised, where memory is short. */
int dsc_keep(dsc_kept *kept, const TVMFFIAny *value);

/* Let go of all. */
void dsc_let_go(dsc_kept *kept);
