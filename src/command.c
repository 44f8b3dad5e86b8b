#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "control.h"
#include "knock.h"
#include "process.h"
#include "script/gateway.h"
#include "script/tool.h"
#include "script/vm.h"
#include "testing.h"

const struct said *command_said(const struct command *c, const char *option)
{
    for (size_t i = 0; i < c->n_said; i++)
        if (strcmp(c->said[i].option, option) == 0)
            return &c->said[i];
    return NULL;
}

static int open_vm(struct vm **ret, const struct command *c)
{
    struct vm_options options = { .lua_dir = c->lua_dir };

    if (vm_open(ret, &options) == 0)
        return 0;
    fprintf(stderr, "sluice: no memory for a Lua state\n");
    return -1;
}

static void print(FILE *to, struct buf *text)          /* and frees it */
{
    if (text->len > 0)
        fwrite(text->data, 1, text->len, to);
    buf_free(text);
}

static void print_lines(FILE *to, struct buf *text)
{
    if (text->len > 0 && text->data[text->len - 1] != '\n')
        buf_putc(text, '\n');
    print(to, text);
}

/* A tool that is written in Lua, with the words and options that the operator gave and one text of ours, or NULL. */
static int tool(struct vm *vm, const struct command *c, const char *text)
{
    const char *args[MAX_SAID + 3];
    struct buf out = BUF_EMPTY, err = BUF_EMPTY;
    size_t n = 0;
    int code;

    for (size_t i = 0; i < c->n_said; i++)
        args[n++] = c->said[i].option;
    if (c->file)
        args[n++] = c->file;
    if (c->more > 0)
        args[n++] = c->rest[0];
    if (text)
        args[n++] = text;
    code = tool_run(vm, c->name, args, n, &out, &err);
    print(stdout, &out);
    print(stderr, &err);
    return code;
}

static int tool_alone(const struct command *c)
{
    struct vm *vm;

    if (open_vm(&vm, c) != 0)
        return EXIT_BAD;
    int code = tool(vm, c, NULL);
    vm_close(vm);
    return code;
}

/* A whole number of at least `least`; or a sentence and -1. */
static int number_of(const struct command *c, const char *option, int64_t least, int64_t *ret)
{
    const struct said *given = command_said(c, option);
    char *end;

    if (!given)
        return 0;
    errno = 0;
    long long n = strtoll(given->value, &end, 10);
    if (errno == 0 && end != given->value && *end == '\0' && n >= least) {
        *ret = n;
        return 0;
    }
    fprintf(stderr, "sluice: %s: %s must be a whole number from %lld, is \"%s\"\n", c->name, option, (long long)least, given->value);
    return -1;
}

static int test(const struct command *c)
{
    struct testing_options want = { .dir = c->file, .argc = c->more, .argv = c->rest, .coverage = command_said(c, "--coverage"), .update = command_said(c, "--update") };

    if (access(c->file, R_OK) != 0) {
        fprintf(stderr, "sluice: test: cannot read %s: %s; name a directory with files that end in _spec.lua, or one such file\n", c->file, strerror(errno));
        return EXIT_USAGE;
    }
    if (command_said(c, "--seed") && !command_said(c, "--fuzz")) {
        fprintf(stderr, "sluice: test: --seed says where --fuzz begins: write --fuzz N --seed S\n");
        return EXIT_USAGE;
    }
    want.seed = (int64_t)(time(NULL) % 1000000);
    if (number_of(c, "--fuzz", 1, &want.fuzz) != 0 || number_of(c, "--seed", 0, &want.seed) != 0)
        return EXIT_USAGE;
    return testing_run(&want);
}

/* The specs in spec/ beside the gateway file. */
static int check_specs(const struct command *c)
{
    const char *slash = strrchr(c->file, '/');
    char *dir = slash ? mem_format("%.*s/spec", (int)(slash - c->file), c->file) : mem_string("spec");
    struct testing_options want = { .dir = dir };
    int code = EXIT_BAD;

    if (access(dir, R_OK) != 0)
        fprintf(stderr, "sluice: check: cannot read %s: %s; --spec runs the specs in spec/ beside the gateway file\n", dir, strerror(errno));
    else
        code = testing_run(&want);
    free(dir);
    return code;
}

static int check(const struct command *c)              /* the tool tells the mistakes, and, where there are none, what looks like one */
{
    struct buf complaints = BUF_EMPTY;
    struct gateway *g = NULL;
    struct vm *vm;

    if (command_said(c, "--spec") && command_said(c, "--json")) {
        fprintf(stderr, "sluice: check: --spec prints what busted prints, so --json cannot be had with it; run sluice test as well\n");
        return EXIT_USAGE;
    }
    if (open_vm(&vm, c) != 0)
        return EXIT_BAD;
    tool_keep(vm);
    gateway_load(&g, vm, c->file, &complaints);
    int code = tool(vm, c, buf_cstr(&complaints));
    buf_free(&complaints);
    if (g)
        gateway_close(g);
    vm_close(vm);
    if (command_said(c, "--spec")) {
        int specs = check_specs(c);

        code = specs > code ? specs : code;
    }
    return code;
}

static int load(struct gateway **ret, struct vm *vm, const struct command *c)
{
    struct buf complaints = BUF_EMPTY;
    int result = gateway_load(ret, vm, c->file, &complaints);

    print_lines(stderr, &complaints);
    return result;
}

static int tool_on_gateway(const struct command *c)    /* explain, config */
{
    struct gateway *g;
    struct vm *vm;
    int code = EXIT_BAD;

    if (open_vm(&vm, c) != 0)
        return EXIT_BAD;
    tool_keep(vm);
    if (load(&g, vm, c) == 0) {
        code = tool(vm, c, NULL);
        gateway_close(g);
    }
    vm_close(vm);
    return code;
}

static int serve(const struct command *c, bool watched)
{
    struct process_options options = { .file = c->file, .lua_dir = c->lua_dir, .dev = watched };
    struct gateway *g;
    struct vm *vm;

    if (open_vm(&vm, c) != 0)
        return EXIT_BAD;
    if (load(&g, vm, c) != 0) {
        vm_close(vm);
        return EXIT_BAD;
    }
    int code = process_run(&options, g);
    gateway_close(g);
    vm_close(vm);
    return code;
}

static int run(const struct command *c) { return serve(c, false); }
static int dev(const struct command *c) { return serve(c, true); }

/* "5%", "0.5%" -> of a thousand; 0: neither. */
static unsigned share_of(const char *text)
{
    char *end;
    double percent = strtod(text, &end);
    unsigned share = percent > 0 && percent < 100 ? (unsigned)(percent * 10 + 0.5) : 0;

    return strcmp(end, "%") == 0 && share <= 999 ? share : 0;
}

static int ask(const struct command *c)                /* the running gateway of this file */
{
    const struct said *canary = command_said(c, "--canary");
    bool force = command_said(c, "--force");
    char command[40];

    snprintf(command, sizeof command, "%s%s", c->name, force ? " force" : "");
    if (canary) {
        unsigned share = share_of(canary->value);

        if (share == 0) {
            fprintf(stderr, "sluice: reload: --canary must be a share such as 5%% (0.1%% to 99.9%%), is %s\n", canary->value);
            return EXIT_USAGE;
        }
        snprintf(command, sizeof command, "canary %u%s", share, force ? " force" : "");
    }
    return knock_ask(c->file, command);
}

/* Sends `command` unless it cannot be one line of the control socket. */
static int send_command(const struct command *c, struct buf *command, int (*send)(const char *file, const char *line))
{
    int code;

    if (strpbrk(buf_cstr(command), "\n\r") || command->len > CONTROL_LINE_MAX) {
        fprintf(stderr, "sluice: %s: a name has one line, and at most about %d bytes\n", c->name, CONTROL_LINE_MAX - 20);
        code = EXIT_USAGE;
    } else {
        code = send(c->file, buf_cstr(command));
    }
    buf_free(command);
    return code;
}

static int state(const struct command *c)
{
    struct buf command = BUF_EMPTY;

    buf_puts(&command, command_said(c, "--json") ? "state json" : "state text");
    if (c->more > 0)
        buf_printf(&command, " %s", c->rest[0]);
    return send_command(c, &command, knock_ask);
}

static int listen_for_trace(const char *file, const char *line) { return knock_listen(file, line, "trace"); }

static int trace(const struct command *c)
{
    const struct said *route = command_said(c, "--route"), *key = command_said(c, "--key");
    struct buf command = BUF_EMPTY;
    int64_t count = 1;

    if (number_of(c, "--count", 1, &count) != 0)
        return EXIT_USAGE;
    if ((route && strchr(route->value, '\t')) || (key && strchr(key->value, '\t'))) {
        fprintf(stderr, "sluice: trace: a route or key has no tab in it\n");
        return EXIT_USAGE;
    }
    buf_printf(&command, "trace %lld\t%s\t%s", (long long)count, route ? route->value : "", key ? key->value : "");
    return send_command(c, &command, listen_for_trace);
}

static const struct command_kind commands[] = {
    { "run", "a gateway file", "sluice run FILE [--log-level LEVEL] [--log-format FORMAT]", "", 1, run, SHOWS_NOTHING },
    { "dev", "a gateway file", "sluice dev FILE [--log-level LEVEL]", "", 1, dev, SHOWS_LOG },
    { "check", "a gateway file", "sluice check FILE [--strict] [--json] [--spec]", "--strict --json --spec", 1, check, SHOWS_NOTHING },
    { "explain", "a gateway file", "sluice explain FILE [ROUTE] [--json]", "--json", 2, tool_on_gateway, SHOWS_NOTHING },
    { "config", "a gateway file", "sluice config FILE [--json]", "--json", 1, tool_on_gateway, SHOWS_NOTHING },
    { "reload", "a gateway file", "sluice reload FILE [--canary SHARE] [--force]", "--canary --force", 1, ask, SHOWS_NOTHING },
    { "promote", "a gateway file", "sluice promote FILE", "", 1, ask, SHOWS_NOTHING },
    { "rollback", "a gateway file", "sluice rollback FILE", "", 1, ask, SHOWS_NOTHING },
    { "status", "a gateway file", "sluice status FILE", "", 1, ask, SHOWS_NOTHING },
    { "state", "a gateway file", "sluice state FILE [NAME] [--json]", "--json", 2, state, SHOWS_NOTHING },
    { "trace", "a gateway file", "sluice trace FILE [--route ROUTE] [--key KEY] [--count N]", "--route --key --count", 1, trace, SHOWS_NOTHING },
    { "test", "a directory of specs", "sluice test DIR [--coverage] [--fuzz N] [--seed S] [--update] [-- busted's options]", "--coverage --fuzz --seed --update", -1, test, RUNS_SPECS },
    { "help", NULL, "sluice help [NAME] [--markdown]", "--markdown --audit", 1, tool_alone, SHOWS_NOTHING },
    { "key", "a name", "sluice key NAME", "", 1, tool_alone, SHOWS_NOTHING },
    { "types", NULL, "sluice types [DIR] [--force]", "--force", 1, tool_alone, SHOWS_NOTHING },
};

const struct command_kind *command_of(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

const char *command_name(size_t i) { return i < sizeof commands / sizeof commands[0] ? commands[i].name : NULL; }
