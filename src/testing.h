/* `sluice test DIR`: busted, embedded, with a virtual world for streams: the second host of stream/ (the first is serve/).
 *
 * Specs run in a Lua state of their own with the full libraries; policies run in the real sandbox on the real stream machine. Time stands still
 * until a spec moves it.
 */
#ifndef SLUICE_TESTING_H
#define SLUICE_TESTING_H

int testing_run(const char *dir, int argc, char **argv);   /* exit code of busted's runner */

#endif
