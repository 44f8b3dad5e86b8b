#include "script/tool.h"

#include "base/secret.h"
#include "script/inside.h"

struct job { const char *name, *const *args; size_t n; struct buf *out, *err; int code; };

static void take(lua_State *L, int idx, struct buf *to)
{
    size_t len;
    const char *s = lua_tolstring(L, idx, &len);

    if (s)
        buf_append(to, s, len);
}

static int run_entry(lua_State *L)                     /* (job) */
{
    struct job *job = lua_touserdata(L, 1);

    vm_push_module(L, "sluice.tools");                 /* job tools */
    lua_getfield(L, -1, "run");
    lua_pushstring(L, job->name);                      /* job tools run name */
    luaL_checkstack(L, (int)job->n + 4, "too many words");
    for (size_t i = 0; i < job->n; i++)
        lua_pushstring(L, job->args[i]);
    lua_call(L, (int)job->n + 1, 3);                   /* job tools code out err */
    job->code = (int)lua_tointeger(L, -3);
    take(L, -2, job->out);
    take(L, -1, job->err);
    return 0;
}

static int keep_entry(lua_State *L)
{
    vm_push_module(L, "sluice.load");                  /* load */
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "keep");                       /* load */
    return 0;
}

static int traceback(lua_State *L)
{
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
}

static int protected_call(struct vm *vm, lua_CFunction entry, struct job *job)
{
    lua_State *L = vm->L;
    int status;

    lua_pushcfunction(L, traceback);
    lua_pushcfunction(L, entry);
    lua_pushlightuserdata(L, job);                     /* traceback entry job */
    status = lua_pcall(L, 1, 0, -3);
    if (status != LUA_OK) {                            /* traceback message */
        buf_printf(job->err, "sluice: %s: %s\n", job->name, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* */
    return status == LUA_OK ? job->code : 1;
}

void tool_keep(struct vm *vm)
{
    struct buf err = BUF_EMPTY;
    struct job job = { .name = "keep", .err = &err };

    protected_call(vm, keep_entry, &job);
    buf_free(&err);
}

static int files_entry(lua_State *L)                   /* (job) */
{
    struct job *job = lua_touserdata(L, 1);

    vm_push_module(L, "sluice.load");                  /* job load */
    lua_getfield(L, -1, "read");                       /* job load paths */
    for (lua_Integer i = 1; lua_geti(L, 3, i) == LUA_TSTRING; i++) {
        take(L, -1, job->out);
        buf_putc(job->out, '\n');
        lua_pop(L, 1);
    }
    return 0;
}

void tool_files(struct vm *vm, struct buf *out)
{
    struct buf err = BUF_EMPTY;
    struct job job = { .name = "files", .out = out, .err = &err };

    protected_call(vm, files_entry, &job);
    buf_free(&err);
}

int tool_run(struct vm *vm, const char *name, const char *const *args, size_t n, struct buf *out, struct buf *err)
{
    struct job job = { name, args, n, out, err, 0 };
    int code;

    vm->cap = SIZE_MAX / 2;                            /* the cap that the gateway file set is not meant for tools */
    code = protected_call(vm, run_entry, &job);

    secret_scrub(out);
    secret_scrub(err);
    return code;
}
