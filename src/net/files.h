/* Static files below one root: types, ETag, conditional GET; nothing outside the root, no symlink out, regular files only. */
#ifndef SLUICE_NET_FILES_H
#define SLUICE_NET_FILES_H

#include "wire/http.h"

struct files;
struct conn;

/* root: a directory; prefix: the route's path ("/" or "/ui"), removed from the front of request paths. 0 or a negative uv code. */
int files_open(struct files **ret, const char *root, const char *prefix);
void files_close(struct files *f);
/* Answers GET and HEAD (200, 304, 404; 400 for NUL, backslash, bad encoding or ".."; 301 to the path with '/' for a directory; index.html within it), 405 otherwise.
 * `extra` headers go with every answer. Uses conn_reply, so the request is over. Files are read whole into memory up to 16 MiB and cached by mtime+size. */
void files_serve(struct files *f, struct conn *c, const struct http_request *r, const struct header *extra, size_t n_extra);

#endif
