/* Directories are watched, not files: editors put a new file in the place of the old one. What changes together is taken together (QUIET_MS without news).
 *
 *     an event -> on_quiet: look: read the file and all that it names in a VM of our own: broken: say so. Else, where the digest differs, reload
 *              -> the specs run as a child (`sluice test`); what they say is shown when they have ended
 */
#include "dev.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/mem.h"
#include "script/gateway.h"
#include "script/tool.h"
#include "script/vm.h"

#define QUIET_MS 100
#define DIRS_MAX 64
#define SAID_MAX ((size_t)64 << 10)                    /* bytes of the specs' output that are kept */

struct dir {
    struct list link;
    uv_fs_event_t event;
    struct dev *dev;
    bool specs;                                        /* holds specs: a change there is no reload */
    uint64_t device, inode;
    char path[];
};

struct specs {                                         /* a run of them */
    uv_process_t process;
    uv_pipe_t out;
    struct dev *dev;
    struct buf said;
    char room[4096];
    bool running, stopped;                             /* stopped: by us, its result is not wanted */
    int open;                                          /* handles that are not closed, and the exit that did not come */
    int64_t code;
};

struct dev {
    uv_loop_t *loop;
    char *file, *lua_dir, *root, *spec_dir, *digest;
    void (*reload)(void *owner);
    void *owner;
    struct list dirs;
    size_t n_dirs;
    struct buf files;                                  /* what was read last, a path a line */
    uv_timer_t quiet;
    struct specs *specs;                               /* that run; NULL: none */
    bool changed, again, specs_wanted, closing;        /* again: it was just read, and only a directory more is watched */
    int handles;                                       /* of the timer, the directories and the specs */
};

static void let_go(struct dev *d)
{
    if (--d->handles > 0)
        return;
    buf_free(&d->files);
    free(d->file);
    free(d->lua_dir);
    free(d->root);
    free(d->spec_dir);
    free(d->digest);
    free(d);
}

/* ---- the specs */

static void run_specs(struct dev *d);

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool has_specs(const struct dev *d)
{
    uv_fs_t req;
    uv_dirent_t entry;
    bool found = false;

    if (uv_fs_scandir(NULL, &req, d->spec_dir, 0, NULL) >= 0)
        while (uv_fs_scandir_next(&req, &entry) == 0)
            found |= ends_with(entry.name, "_spec.lua");
    uv_fs_req_cleanup(&req);
    return found;
}

/* Passed: the line that sums it up; else all of it. */
static void tell_specs(const struct specs *p)
{
    struct buf text = p->said;
    char *all = (char *)buf_cstr(&text), *sum = strstr(all, " success");
    int failed = p->code != 0;

    if (!failed && sum) {
        while (sum > all && sum[-1] != '\n')
            sum--;
        sum[strcspn(sum, "\n")] = '\0';
        dev_say(DEV_GOOD, "specs passed: %s", sum);
    } else {
        dev_say(failed ? DEV_BAD : DEV_GOOD, "specs %s\n%s", failed ? "failed" : "ended", all);
    }
    buf_free(&text);
}

static void specs_part(struct specs *p)
{
    struct dev *d = p->dev;

    if (--p->open > 0)
        return;
    d->specs = NULL;
    if (p->stopped || d->closing)
        buf_free(&p->said);
    else
        tell_specs(p);
    free(p);
    if (!d->closing && d->specs_wanted)
        run_specs(d);
    let_go(d);
}

static void on_part_closed(uv_handle_t *h) { specs_part(h->data); }

static void on_exit_of_specs(uv_process_t *process, int64_t code, int signal)
{
    struct specs *p = process->data;

    p->code = code || signal;
    p->running = false;
    uv_close((uv_handle_t *)process, on_part_closed);
}

static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct specs *p = h->data;

    (void)suggested;
    *ret = uv_buf_init(p->room, sizeof p->room);
}

static void on_said(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct specs *p = s->data;

    if (n < 0)
        uv_close((uv_handle_t *)s, on_part_closed);
    else if (p->said.len + (size_t)n <= SAID_MAX)
        buf_append(&p->said, b->base, (size_t)n);
}

static int spawn(struct specs *p, char *program, int out)
{
    static char test[] = "test";
    char *args[] = { program, test, p->dev->spec_dir, NULL };
    uv_stdio_container_t io[3] = { { .flags = UV_IGNORE }, { .flags = UV_INHERIT_FD, .data.fd = out }, { .flags = UV_INHERIT_FD, .data.fd = out } };
    uv_process_options_t options = { .exit_cb = on_exit_of_specs, .file = program, .args = args, .stdio_count = 3, .stdio = io };

    return uv_spawn(p->dev->loop, &p->process, &options);
}

static void run_specs(struct dev *d)
{
    char program[4096];
    size_t len = sizeof program;
    struct specs *p;
    uv_file ends[2];

    d->specs_wanted = false;
    if (!has_specs(d) || uv_exepath(program, &len) != 0 || uv_pipe(ends, UV_NONBLOCK_PIPE, 0) != 0)
        return;
    p = mem_alloc(sizeof *p);
    p->dev = d;
    p->process.data = p->out.data = p;
    p->open = 2;
    d->specs = p;
    d->handles++;
    int failed = spawn(p, program, ends[1]);
    close(ends[1]);
    uv_pipe_init(d->loop, &p->out, 0);
    uv_pipe_open(&p->out, ends[0]);
    uv_read_start((uv_stream_t *)&p->out, on_room, on_said);
    p->running = !failed;
    if (!failed)
        return;
    p->stopped = true;
    dev_say(DEV_BAD, "cannot run the specs: %s", uv_strerror(failed));
    uv_close((uv_handle_t *)&p->process, on_part_closed);
}

static void stop_specs(struct dev *d)
{
    if (!d->specs)
        return;
    d->specs->stopped = true;
    if (d->specs->running)
        uv_process_kill(&d->specs->process, SIGKILL);
}

/* ---- directories */

static void on_dir_closed(uv_handle_t *h)
{
    struct dir *w = h->data;
    struct dev *d = w->dev;

    free(w);
    let_go(d);
}

static bool is_read(struct dev *d, const char *dir, const char *name)
{
    struct buf path = BUF_EMPTY;
    bool found;

    buf_printf(&path, "\n%s/%s\n", dir, name);
    found = strstr(buf_cstr(&d->files), buf_cstr(&path)) != NULL;
    buf_free(&path);
    return found;
}

/* A file of Lua, or one that was read; what editors leave beside it is none of ours. */
static void on_event(uv_fs_event_t *e, const char *name, int events, int status)
{
    struct dir *w = e->data;
    struct dev *d = w->dev;

    (void)events;
    if (name && (name[0] == '.' || !(ends_with(name, ".lua") || is_read(d, w->path, name))))
        return;
    if (status == 0 && name && w->specs && !is_read(d, w->path, name))
        d->specs_wanted = true;
    else
        d->changed = true;
    uv_timer_start(&d->quiet, d->quiet.timer_cb, QUIET_MS, 0);
}

static bool is_there(const char *path, uint64_t *device, uint64_t *inode)
{
    uv_fs_t req;
    bool there = uv_fs_stat(NULL, &req, path, NULL) == 0;

    *device = there ? req.statbuf.st_dev : 0;
    *inode = there ? req.statbuf.st_ino : 0;
    uv_fs_req_cleanup(&req);
    return there;
}

/* True: it is watched now and was not before. */
static bool watch(struct dev *d, const char *path, size_t len, bool specs)
{
    struct dir *w;

    list_each(it, &d->dirs) {
        const struct dir *old = list_of(it, struct dir, link);
        if (strlen(old->path) == len && memcmp(old->path, path, len) == 0)
            return false;
    }
    if (d->n_dirs == DIRS_MAX)
        return false;
    w = mem_alloc(sizeof *w + len + 1);
    memcpy(w->path, path, len);
    w->dev = d;
    w->specs = specs;
    w->event.data = w;
    is_there(w->path, &w->device, &w->inode);
    uv_fs_event_init(d->loop, &w->event);
    d->handles++;
    if (uv_fs_event_start(&w->event, on_event, w->path, 0) != 0) {   /* there is none */
        uv_close((uv_handle_t *)&w->event, on_dir_closed);
        return false;
    }
    list_append(&d->dirs, &w->link);
    d->n_dirs++;
    return true;
}

static void unwatch(struct dev *d, struct dir *w)
{
    list_remove(&w->link);
    d->n_dirs--;
    uv_close((uv_handle_t *)&w->event, on_dir_closed);
}

/* Directories that went, or came anew under an old name. The others stay watched: no event is lost. */
static void unwatch_gone(struct dev *d)
{
    list_each_safe(it, &d->dirs) {
        struct dir *w = list_of(it, struct dir, link);
        uint64_t device, inode;

        if (!is_there(w->path, &device, &inode) || device != w->device || inode != w->inode)
            unwatch(d, w);
    }
}

/* True: some are new. */
static bool watch_all(struct dev *d)
{
    static const char *const usual[] = { "policies", "lua" };   /* where `require` looks */
    bool news = watch(d, d->root, strlen(d->root), false);

    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++) {
        char *path = mem_format("%s/%s", d->root, usual[i]);
        news |= watch(d, path, strlen(path), false);
        free(path);
    }
    for (const char *p = buf_cstr(&d->files); *p; p += strcspn(p, "\n")) {
        p += strspn(p, "\n");
        const char *slash = memrchr(p, '/', strcspn(p, "\n"));
        if (slash)
            news |= watch(d, p, (size_t)(slash - p), false);
    }
    news |= watch(d, d->spec_dir, strlen(d->spec_dir), true);
    return news;
}

/* ---- looking */

static void tell_broken(struct buf *complaints)
{
    char *save = NULL;

    for (char *line = strtok_r((char *)buf_cstr(complaints), "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        dev_say(DEV_BAD, "%s", line);
    dev_say(DEV_BAD, "nothing was taken over: what was read before serves on");
}

/* Paths without a directory get "./": so is_read and watch find them. */
static void take_files(struct dev *d, struct vm *vm)
{
    struct buf read = BUF_EMPTY;
    char *save = NULL;

    tool_files(vm, &read);
    if (read.len)
        d->files.len = 0;
    for (char *line = strtok_r((char *)buf_cstr(&read), "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        buf_printf(&d->files, "\n%s%s\n", strchr(line, '/') ? "" : "./", line);
    buf_free(&read);
}

/* True: it can be read, and is not what it was. */
static bool look(struct dev *d)
{
    struct vm_options options = { .lua_dir = d->lua_dir };
    struct buf complaints = BUF_EMPTY;
    struct gateway *g = NULL;
    struct vm *vm;
    bool news = false;

    if (vm_open(&vm, &options) != 0)
        return false;
    if (gateway_load(&g, vm, d->file, &complaints) == 0) {
        news = !d->digest || strcmp(d->digest, g->digest) != 0;
        free(d->digest);
        d->digest = mem_string(g->digest);
    } else if (!d->again) {
        free(d->digest);
        d->digest = NULL;                              /* when it is whole again, it is news, and the specs run */
        tell_broken(&complaints);
    }
    take_files(d, vm);
    buf_free(&complaints);
    if (g)
        gateway_close(g);
    vm_close(vm);
    return news;
}

static void on_quiet(uv_timer_t *t)
{
    struct dev *d = t->data;

    unwatch_gone(d);
    watch_all(d);                                      /* before they are read, so that no change is missed */
    if (d->changed && look(d)) {
        d->reload(d->owner);
        d->specs_wanted = true;
    }
    d->changed = d->again = watch_all(d) && d->changed;   /* those that were named newly: look once more */
    if (d->changed)
        uv_timer_start(&d->quiet, on_quiet, 0, 0);
    if (!d->specs_wanted || !d->digest)
        return;
    if (d->specs)
        stop_specs(d);                                 /* they run again when these have ended */
    else
        run_specs(d);
}

void dev_open(struct dev **ret, uv_loop_t *loop, const char *file, const char *lua_dir, const char *digest, void (*reload)(void *owner), void *owner)
{
    struct dev *d = mem_alloc(sizeof *d);
    const char *slash = strrchr(file, '/');

    d->loop = loop;
    d->file = mem_string(file);
    d->lua_dir = lua_dir ? mem_string(lua_dir) : NULL;
    d->root = slash ? mem_copy(file, (size_t)(slash - file)) : mem_string(".");
    d->spec_dir = mem_format("%s/spec", d->root);
    d->reload = reload;
    d->owner = owner;
    list_init(&d->dirs);
    uv_timer_init(loop, &d->quiet);
    d->quiet.data = d;
    d->handles = 1;
    d->digest = mem_string(digest);
    d->changed = d->specs_wanted = true;
    uv_timer_start(&d->quiet, on_quiet, 0, 0);
    *ret = d;
}

static void on_timer_closed(uv_handle_t *h) { let_go(h->data); }

void dev_close(struct dev *d)
{
    if (!d || d->closing)
        return;
    d->closing = true;
    stop_specs(d);
    list_each_safe(it, &d->dirs)
        unwatch(d, list_of(it, struct dir, link));
    uv_close((uv_handle_t *)&d->quiet, on_timer_closed);
}
