/* The operator's side of control.h: a command goes to the running gateway of a file, its answer to the terminal. */
#ifndef SLUICE_KNOCK_H
#define SLUICE_KNOCK_H

/* Sends the command and prints its answer, "+ " on stdout, "- " on stderr; asks again while it says "= ". Returns the exit code: 0, or 1. */
int knock_ask(const char *file, const char *command);
/* The same for a command whose answer comes bit by bit until the gateway says that it is all. SIGINT and SIGTERM end it: 130. The gateway went away: a sentence
 * and 1. */
int knock_listen(const char *file, const char *command, const char *what);

#endif
