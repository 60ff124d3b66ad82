#include "kept.h"

#include <stdlib.h>

int dsc_keep(dsc_kept *kept, const TVMFFIAny *value) {
  if (value->type_index < kTVMFFIStaticObjectBegin) return 0;
  if (kept->count == kept->room) {
    size_t room = kept->room ? 2 * kept->room : 64;
    TVMFFIAny *values = realloc(kept->values, room * sizeof(*values));
    if (!values) {
      TVMFFIErrorSetRaisedFromCStr("MemoryError", "no memory for what a graph refers to");
      return -1;
    }
    kept->values = values;
    kept->room = room;
  }
  TVMFFIObjectIncRef(value->v_obj);
  kept->values[kept->count++] = *value;
  return 0;
}

void dsc_let_go(dsc_kept *kept) {
  while (kept->count) TVMFFIObjectDecRef(kept->values[--kept->count].v_obj);
  free(kept->values);
  *kept = (dsc_kept){NULL, 0, 0};
}
