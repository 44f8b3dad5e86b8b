/* Which lines of operators' files ran: for `sluice test --coverage`. Outlives the VMs that it watches, all on one thread.
 *
 * A VM that was opened with one (vm_options) has a line hook on every state; the watchdog's hook takes its place for as long as it is armed, and
 * notes lines too. Which lines there are is told by lua/sluice/sandbox.lua, before the file runs.
 */
#ifndef SLUICE_SCRIPT_COVERAGE_H
#define SLUICE_SCRIPT_COVERAGE_H

#include <lua.h>
#include <stdbool.h>

struct coverage;

struct coverage *coverage_open(void);
void coverage_close(struct coverage *c);
bool coverage_lacks(const struct coverage *c, const char *path);   /* nobody has told yet which lines this file has */
void coverage_know(struct coverage *c, const char *path, int line);   /* the file has this line; line 0: the file is there */
void coverage_note(struct coverage *c, lua_State *L, lua_Debug *ar);  /* from a line hook */
/* Pushes a list of { path =, lines = { [line] = whether it ran } }. Files that are gone by now, those that a spec wrote for itself, are left out. */
void coverage_push(const struct coverage *c, lua_State *L);

#endif
