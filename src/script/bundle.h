/* The Lua files of lua/, compiled in. Ends with a name of NULL. */
#ifndef SLUICE_SCRIPT_BUNDLE_H
#define SLUICE_SCRIPT_BUNDLE_H

#include <stddef.h>

struct bundled {
    const char *module;                                /* "sluice.config" */
    const char *path;                                  /* "lua/sluice/config.lua", for messages */
    const char *text;
    size_t len;
};

extern const struct bundled bundle[];

#endif
