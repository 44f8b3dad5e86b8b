/* The operator's tools that are written in Lua (lua/sluice/tools/): explain, types, help and the lints of check. A tool takes texts and returns what to
 * print; it runs outside of the sandbox, without a CPU budget.
 */
#ifndef SLUICE_SCRIPT_TOOL_H
#define SLUICE_SCRIPT_TOOL_H

#include <stddef.h>

#include "base/buf.h"

struct vm;

/* From now on a gateway that is loaded in this VM leaves behind what the tools look at. */
void tool_keep(struct vm *vm);
/* The tool's exit code. What it says is appended to `out` and `err`, without secrets. */
int tool_run(struct vm *vm, const char *name, const char *const *args, size_t n, struct buf *out, struct buf *err);
/* The paths of what the last gateway_load in this VM read, a line each, also if it failed: the file, its modules, the files of options. */
void tool_files(struct vm *vm, struct buf *out);

#endif
