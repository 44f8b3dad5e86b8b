/* A VM: its memory, its coroutines, its garbage and its privileged modules. */
#include "script/vm.h"

#include <assert.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "script/bundle.h"
#include "script/inside.h"

const char KEY_LOCKED = 'l';

/* ---- memory */

bool vm_place(lua_State *co, char *out, size_t room, char *function, size_t function_room)
{
    lua_Debug ar;

    for (int level = 0; lua_getstack(co, level, &ar); level++) {
        lua_getinfo(co, "Sln", &ar);
        if (ar.currentline <= 0 || strncmp(ar.short_src, "lua/sluice/", 11) == 0)
            continue;
        snprintf(out, room, "%s:%d", ar.short_src, ar.currentline);
        snprintf(function, function_room, "%s", ar.name ? ar.name : "");
        return true;
    }
    return false;
}

/* Remembers where memory was short: when the error arrives, the stack may be gone. (Lua saves the line before it allocates.) */
static void *refuse(struct vm *vm)
{
    lua_State *running = atomic_load_explicit(&vm->running, memory_order_relaxed);
    char function[80];

    if (running)
        vm_place(running, vm->short_at, sizeof vm->short_at, function, sizeof function);
    return NULL;
}

/* Counts, and says no above the cap (Lua then collects everything and asks again) or when one call asked for too much in all. */
static void *allocate(void *ud, void *block, size_t old, size_t size)
{
    struct vm *vm = ud;
    bool object = !block && old != 0;                  /* then `old` is the kind of a new object; stacks and tables' parts have none */
    void *ret;

    if (!block)
        old = 0;
    if (size == 0) {
        free(block);
        vm->used -= old;
        return NULL;
    }
    if (size > old) {
        size_t more = size - old;

        if (more > vm->cap || vm->used > vm->cap - more)
            return refuse(vm);
        if (vm->allocated + more > vm->churn_limit) {
            vm->killed = KILL_MEMORY;
            return refuse(vm);
        }
        vm->allocated += more;
        if (!object && size > GROWN)
            vm->grew = true;
    }
    ret = realloc(block, size);
    if (!ret && size > old)
        return NULL;
    if (!ret)
        ret = block;                                   /* a block that would not shrink is good enough */
    vm->used = vm->used - old + size;
    return ret;
}

void vm_count_in(struct vm *vm, struct metrics *metrics) { vm->metrics = metrics; }
size_t vm_memory(const struct vm *vm) { return vm->used; }

/* Automatic collection is off, so no hook pays for it; the loop calls this once a turn. A cycle begins when memory grew by half since the last
 * one ended; a step does work for what was allocated since the step before, at least STEP_MIN, at most STEP_MAX (unless memory runs short). */
#define STEP_MIN (16 * 1024)
#define STEP_MAX (1024 * 1024)

/* When half as much again is in use as was left; but never beyond the cap, where it would never come: then at three quarters of it, or when a quarter of
 * what is still free is taken. */
static size_t next_cycle(const struct vm *vm)
{
    size_t at = vm->used + vm->used / 2, early = vm->cap / 4 * 3;

    if (early <= vm->used)
        early = vm->used + (vm->used < vm->cap ? (vm->cap - vm->used) / 4 : 0);
    return at < early ? at : early;
}

void vm_collect(struct vm *vm)
{
    uint64_t since = vm->allocated - vm->collected_until;
    bool short_of = vm->used > vm->cap / 4 * 3;

    if (!vm->collecting && vm->used < vm->collect_at) {
        vm->collected_until = vm->allocated;
        return;
    }
    if (since < STEP_MIN)
        since = STEP_MIN;
    if (since > STEP_MAX && !short_of)
        since = STEP_MAX;
    vm->collected_until = vm->allocated;
    vm->collecting = true;
    if (lua_gc(vm->L, LUA_GCSTEP, (int)(since / 1024))) {
        vm->collecting = false;
        vm->kept = vm->used;
        vm->collect_at = next_cycle(vm);
    }
}

void vm_collect_all(struct vm *vm)
{
    lua_gc(vm->L, LUA_GCCOLLECT);
    vm->collecting = false;
    vm->kept = vm->used;
    vm->collect_at = vm->used + vm->used / 2;
}

bool vm_is_full(const struct vm *vm) { return vm->kept > vm->cap / 5 * 4; }

/* ---- coroutines */

/* Base coroutines are told apart by bit 0 of the pointer that each lua_State carries. */
struct vm *vm_of(lua_State *L)
{
    uintptr_t p;

    memcpy(&p, lua_getextraspace(L), sizeof p);
    return (struct vm *)(p & ~(uintptr_t)1);           /* NOLINT */
}

bool vm_is_base(lua_State *co)
{
    uintptr_t p;

    memcpy(&p, lua_getextraspace(co), sizeof p);
    return p & 1;
}

static void mark(lua_State *L, struct vm *vm, bool base)
{
    uintptr_t p = (uintptr_t)vm | base;

    memcpy(lua_getextraspace(L), &p, sizeof p);
}

static int new_coroutine(lua_State *L)                 /* (pointer to the reference) */
{
    int *ref = lua_touserdata(L, 1);

    lua_newthread(L);                                  /* ref co */
    *ref = luaL_ref(L, LUA_REGISTRYINDEX);             /* ref */
    return 0;
}

lua_State *vm_take_coroutine(struct vm *vm, int *ref)
{
    lua_State *L = vm->L, *co;

    if (vm->n_pool > 0) {
        vm->n_pool--;
        *ref = vm->pool[vm->n_pool].ref;
        return vm->pool[vm->n_pool].co;
    }
    *ref = LUA_NOREF;
    lua_pushcfunction(L, new_coroutine);               /* f */
    lua_pushlightuserdata(L, ref);                     /* f ref */
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {             /* error */
        lua_pop(L, 1);                                 /* */
        return NULL;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, *ref);           /* co */
    co = lua_tothread(L, -1);
    lua_pop(L, 1);                                     /* */
    mark(co, vm, true);
    return co;
}

void vm_give_coroutine(struct vm *vm, lua_State *co, int ref, bool clean)
{
    if (!clean || vm->grew || vm->n_pool == POOL_SIZE) {
        luaL_unref(vm->L, LUA_REGISTRYINDEX, ref);
        return;
    }
    lua_settop(co, 0);
    vm->pool[vm->n_pool].co = co;
    vm->pool[vm->n_pool].ref = ref;
    vm->n_pool++;
}

/* ---- privileged modules */

static char *read_whole(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    struct buf text = BUF_EMPTY;
    size_t n;

    if (!f)
        return NULL;
    do {
        buf_reserve(&text, 8192);
        n = fread(text.data + text.len, 1, 8192, f);
        text.len += n;
    } while (n > 0);
    fclose(f);
    *len = text.len;
    buf_cstr(&text);
    return text.data;
}

const char *vm_module_text(struct vm *vm, const char *name, size_t *len, char path[256], char **owned)
{
    const struct bundled *b = bundle;

    *owned = NULL;
    while (b->module && strcmp(b->module, name) != 0)
        b++;
    if (!b->module)
        return NULL;
    snprintf(path, 256, "%s", b->path);
    if (vm->lua_dir) {
        char *file = mem_format("%s/%s", vm->lua_dir, b->path + strlen("lua/"));

        *owned = read_whole(file, len);
        free(file);
        if (*owned)
            return *owned;
    }
    *len = b->len;
    return b->text;
}

static int load_module(lua_State *L)                   /* (name) -> module; require of lua/sluice/ */
{
    const char *name = luaL_checkstring(L, 1), *text;
    struct vm *vm = vm_of(L);
    char path[256], chunk[260], *owned;
    size_t len;
    int status;

    lua_settop(L, 1);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);   /* name loaded */
    if (lua_getfield(L, 2, name) != LUA_TNIL)          /* name loaded module? */
        return 1;
    text = vm_module_text(vm, name, &len, path, &owned);
    if (!text)
        return luaL_error(L, "no module \"%s\" in Sluice", name);
    snprintf(chunk, sizeof chunk, "@%s", path);
    status = luaL_loadbufferx(L, text, len, chunk, "t");
    free(owned);
    if (status != LUA_OK)
        return lua_error(L);
    lua_pushvalue(L, 1);                               /* name loaded nil chunk name */
    lua_call(L, 1, 1);                                 /* name loaded nil module */
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, -1);                              /* name loaded nil module module */
    lua_setfield(L, 2, name);                          /* name loaded nil module */
    return 1;
}

void vm_push_module(lua_State *L, const char *name)
{
    lua_pushcfunction(L, load_module);                 /* require */
    lua_pushstring(L, name);                           /* require name */
    lua_call(L, 1, 1);                                 /* module */
}

/* ---- open, close */

static void preload(lua_State *L, const char *name, lua_CFunction open)
{
    luaL_requiref(L, name, open, 0);                   /* module */
    lua_pop(L, 1);                                     /* */
}

static int open_all(lua_State *L)                      /* () */
{
    luaL_openlibs(L);
    lua_pushcfunction(L, load_module);                 /* require */
    lua_setglobal(L, "require");                       /* */
    preload(L, "sluice.host", host_open);
    vm_push_module(L, "sluice.sandbox");               /* sandbox: locks the string metatable */
    lua_pop(L, 1);                                     /* */
    return 0;
}

static int panic(lua_State *L)
{
    const char *what = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error that is no string";

    log_say(LOG_ERROR, "lua.panic", "%s", what);
    abort();
}

int vm_open(struct vm **ret, const struct vm_options *options)
{
    struct vm *vm = mem_alloc(sizeof *vm);

    vm->cap = options && options->memory_cap ? options->memory_cap : (size_t)64 << 20;
    vm->churn_cap = vm->cap > ((size_t)64 << 20) ? vm->cap : (size_t)64 << 20;
    vm->churn_limit = UINT64_MAX;
    vm->metrics = options ? options->metrics : NULL;
    vm->coverage = options ? options->coverage : NULL;
    vm->lua_dir = options ? mem_string(options->lua_dir) : NULL;
    vm->stop = options ? options->stop : NULL;
    list_init(&vm->link);
    vm->L = lua_newstate(allocate, vm);
    if (!vm->L) {
        free(vm->lua_dir);
        free(vm);
        return -1;
    }
    mark(vm->L, vm, false);
    lua_atpanic(vm->L, panic);
    lua_gc(vm->L, LUA_GCINC, 150, 200, 0);
    lua_gc(vm->L, LUA_GCSTOP);
    lua_pushcfunction(vm->L, open_all);                /* f */
    if (lua_pcall(vm->L, 0, 0, 0) != LUA_OK) {         /* error */
        if (lua_type(vm->L, -1) == LUA_TSTRING)
            log_say(LOG_ERROR, "lua.open", "%s", lua_tostring(vm->L, -1));
        lua_close(vm->L);
        free(vm->lua_dir);
        free(vm);
        return -1;
    }
    vm_rest(vm, vm->L);
    lua_gc(vm->L, LUA_GCCOLLECT);
    vm->collect_at = vm->used + vm->used / 2;
    vm->collected_until = vm->allocated;
    watchdog_add(vm);
    *ret = vm;
    return 0;
}

void vm_close(struct vm *vm)
{
    watchdog_remove(vm);
    lua_close(vm->L);
    assert(vm->used == 0);
    buf_free(&vm->scratch);
    buf_free(&vm->scratch2);
    free(vm->lua_dir);
    free(vm);
}

lua_State *vm_lua(struct vm *vm) { return vm->L; }

void vm_set_now(struct vm *vm, uint64_t now_ms, int64_t unix_ms)
{
    vm->now_ms = now_ms;
    vm->unix_ms = unix_ms;
}

uint64_t vm_now(const struct vm *vm) { return vm->now_ms; }
