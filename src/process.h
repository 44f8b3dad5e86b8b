/* The process as a server: N workers, signals, the end. */
#ifndef SLUICE_PROCESS_H
#define SLUICE_PROCESS_H

#include <stdbool.h>

struct gateway;

struct process_options {
    const char *file;
    const char *lua_dir;
    bool dev;                                          /* watch the files, see dev.h */
};

/* Runs until SIGTERM or SIGINT; then drains (a second signal ends the process at once with 130). `checked` says what the file wants of the
 * process (workers, address). Returns the exit code. */
int process_run(const struct process_options *options, const struct gateway *checked);

#endif
