/* The commands of the program: what each does with the words and options that it was given. */
#ifndef SLUICE_COMMAND_H
#define SLUICE_COMMAND_H

#include <stddef.h>

enum { EXIT_OK = 0, EXIT_BAD = 1, EXIT_USAGE = 2, MAX_SAID = 8 };

struct command {
    const char *name, *file, *lua_dir;
    int more;                                          /* words behind the file: busted's for test, a route for explain */
    char **rest;
    struct said {
        const char *option, *value;                    /* "--json", NULL; "--canary", "5%" */
    } said[MAX_SAID];                                  /* options that only some commands know */
    size_t n_said;
};

struct command_kind {
    const char *name, *needs, *usage, *knows;          /* needs: NULL when it can do without; knows: its own options */
    int most;                                          /* words it takes; -1: what follows is not ours */
    int (*run)(const struct command *c);               /* gives the exit code */
    enum { SHOWS_NOTHING, SHOWS_LOG, RUNS_SPECS } shows;   /* what it makes of the log on its terminal */
};

const struct command_kind *command_of(const char *name);                  /* NULL: there is none */
const char *command_name(size_t i);                                       /* NULL: there are not so many */
const struct said *command_said(const struct command *c, const char *option);   /* NULL: it was not said */

#endif
