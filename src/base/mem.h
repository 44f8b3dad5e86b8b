/* Memory that cannot fail.
 *
 * Out of memory in C stops the process with one line on stderr: no caller checks, no half-made object lives on.
 * (Lua has its own allocator with a cap, see script/vm.h; there it ends one call only.)
 */
#ifndef SLUICE_BASE_MEM_H
#define SLUICE_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);                          /* zeroed; free() it */
void *mem_resize(void *old, size_t size);              /* not zeroed beyond the old size */
char *mem_copy(const char *bytes, size_t len);         /* NUL-terminated copy */
char *mem_string(const char *s);                       /* strdup; NULL gives NULL */
char *mem_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
