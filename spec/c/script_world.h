/* A small world for the specs of the script floor: files in a directory of their own, a VM with the gateway they make, one exchange. */
#ifndef SPEC_SCRIPT_WORLD_H
#define SPEC_SCRIPT_WORLD_H

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "check.h"
#include "script/exchange.h"
#include "script/gateway.h"
#include "script/vm.h"

struct world {
    char dir[64];
    struct vm *vm;
    struct gateway *g;
    struct exchange x;
    struct buf complaints;                             /* with the directory left out */
    int n_files;
    char files[16][160];
};

static inline void world_file(struct world *w, const char *name, const char *text)
{
    char *path = w->files[w->n_files++];
    FILE *f;

    if (!w->dir[0]) {
        snprintf(w->dir, sizeof w->dir, "/tmp/sluice-spec-XXXXXX");
        CHECK(mkdtemp(w->dir) != NULL);
    }
    char full[sizeof w->files[0]];
    snprintf(full, sizeof full, "%s/%s", w->dir, name);
    memcpy(path, full, sizeof full);
    for (char *slash = path + strlen(w->dir) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    f = fopen(path, "w");
    CHECK(f != NULL);
    fputs(text, f);
    fclose(f);
}

static inline void world_forget_dir(struct world *w)
{
    char prefix[80];
    struct buf out = BUF_EMPTY;
    const char *s = buf_cstr(&w->complaints), *hit;
    size_t n = (size_t)snprintf(prefix, sizeof prefix, "%s/", w->dir);

    while ((hit = strstr(s, prefix)) != NULL) {
        buf_append(&out, s, (size_t)(hit - s));
        s = hit + n;
    }
    buf_puts(&out, s);
    buf_free(&w->complaints);
    w->complaints = out;
    buf_cstr(&w->complaints);
}

/* Loads gateway.lua (written before with world_file). 0 or -1 with complaints. */
static inline int world_load(struct world *w, const struct vm_options *options)
{
    char path[160];
    int result;

    snprintf(path, sizeof path, "%s/gateway.lua", w->dir);
    CHECK_INT(0, vm_open(&w->vm, options));
    vm_set_now(w->vm, 1000, 1700000000000);
    result = gateway_load(&w->g, w->vm, path, &w->complaints);
    world_forget_dir(w);
    return result;
}

static inline void world_open(struct world *w, const char *text)
{
    world_file(w, "gateway.lua", text);
    if (world_load(w, NULL) != 0)
        CHECK_FAIL("not loaded: %s", w->complaints.data);
    w->x.ref = LUA_NOREF;
}

static inline void world_close(struct world *w)
{
    char path[160];

    if (w->g) {
        if (w->x.gateway)
            exchange_close(&w->x);
        gateway_close(w->g);
    }
    if (w->vm)
        vm_close(w->vm);
    for (int i = w->n_files - 1; i >= 0; i--)
        unlink(w->files[i]);
    for (int i = 0; i < w->n_files; i++) {
        snprintf(path, sizeof path, "%s", w->files[i]);
        for (char *slash = strrchr(path, '/'); slash && slash > path + strlen(w->dir); slash = strrchr(path, '/')) {
            *slash = '\0';
            rmdir(path);
        }
    }
    rmdir(w->dir);
    buf_free(&w->complaints);
    memset(w, 0, sizeof *w);
}

/* A gateway with one Lua model and one route whose policies are what `lua` defines as P (and more, in `policies`). */
static inline void world_policy(struct world *w, const char *lua)
{
    struct buf text = BUF_EMPTY;

    buf_printf(&text,
               "local sluice = require \"sluice\" local P = sluice.policy { name = \"p\" }\n%s\n"
               "return sluice.config { api = 1, listen = \":0\", models = { m = { answer = answer_fn or function(req, out) out:text(\"hi\") end } },\n"
               "  routes = { r = { path = \"/\", front = \"token\", target = \"m\", policies = policies or { P } } } }\n", lua);
    {
        /* names that the text may define as locals */
        struct buf head = BUF_EMPTY;

        buf_puts(&head, "local answer_fn, policies ");
        buf_move(&head, &text);
        world_open(w, buf_cstr(&head));
        buf_free(&head);
    }
}

static inline void world_exchange(struct world *w, const char *method, const char *query, const struct header *headers, size_t n)
{
    struct http_request r = { .method = method, .path = "/", .query = query, .headers = headers, .n_headers = n, .minor = 1, .ip = "192.0.2.7" };
    struct exchange_facts facts = { "x1", &r, "192.0.2.7" };

    CHECK_INT(0, exchange_open(&w->x, w->g, &w->g->routes[0], w->g->routes[0].fronts[0], &facts));
}

/* Opens an exchange and reads its request. */
static inline void world_ask(struct world *w, const char *query)
{
    struct failure f = { 0 };
    struct asked asked;

    world_exchange(w, "GET", query, NULL, 0);
    CHECK_INT(0, exchange_read(&w->x, NULL, 0, &asked, &f));
}

/* Runs hook i of kind h to its end and gives its verdict; a failed call gives its message in `failed` (to be freed) instead. */
static inline struct verdict world_hook(struct world *w, enum hook h, size_t i, char **failed)
{
    struct verdict v = { 0 };
    struct call c;
    enum call_state state = exchange_hook(&w->x, &c, h, i);

    if (failed)
        *failed = NULL;
    while (state == CALL_WAITS)
        state = call_resume(&c, 0);
    if (state == CALL_FAILED) {
        if (!failed)
            CHECK_FAIL("the hook failed: %s", c.message);
        *failed = strdup(c.message);
    } else {
        exchange_verdict(&w->x, &c, h, i, &v);
    }
    call_finish(&c);
    return v;
}

static inline double world_clock(void)                 /* ms of this thread's CPU */
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

#endif
