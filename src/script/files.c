/* What lies on the disk, for the privileged Lua files, while a gateway file loads: nothing is read while requests are served. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "script/inside.h"

int files_directory(lua_State *L)                /* directory(path) -> absolute path | nil, why */
{
    char *real = realpath(luaL_checkstring(L, 1), NULL);
    struct stat st;

    if (real && (stat(real, &st) != 0 || !S_ISDIR(st.st_mode))) {
        free(real);
        real = NULL;
        errno = ENOTDIR;
    }
    if (!real) {
        lua_pushnil(L);
        lua_pushstring(L, strerror(errno));            /* nil why */
        return 2;
    }
    if (strlen(real) < 4096)
        lua_pushstring(L, real);                       /* path */
    free(real);
    return 1;
}

/* All of a regular file (a pipe would be waited for, a device has no end), appended to *ret. NULL, or why not. */
static const char *read_whole(const char *path, size_t most, struct buf *ret)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    const char *wrong = NULL;
    struct stat st;
    ssize_t n = 1;

    if (fd < 0)
        return strerror(errno);
    if (fstat(fd, &st) != 0)
        wrong = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        wrong = S_ISDIR(st.st_mode) ? "it is a directory" : "it is no regular file";
    while (!wrong && n > 0) {
        buf_reserve(ret, GROWN);
        n = read(fd, ret->data + ret->len, GROWN);
        if (n < 0)
            wrong = strerror(errno);
        else
            ret->len += (size_t)n;
        if (ret->len > most)
            wrong = "it is too large";
    }
    close(fd);
    return wrong;
}

int files_read(lua_State *L)                           /* read_file(path, most bytes) -> text | nil, why */
{
    const char *path = luaL_checkstring(L, 1), *wrong;
    size_t most = (size_t)luaL_checkinteger(L, 2);
    struct buf *text = &vm_of(L)->scratch;

    text->len = 0;
    wrong = read_whole(path, most, text);
    if (wrong) {
        lua_pushnil(L);
        lua_pushstring(L, wrong);                      /* nil why */
    } else {
        lua_pushlstring(L, text->data ? text->data : "", text->len);   /* text */
    }
    if (text->cap > GROWN)
        buf_free(text);
    return wrong ? 2 : 1;
}
