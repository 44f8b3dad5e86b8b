/* The command line: words and options in, a command and its exit code out. */
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/named.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/nearest.h"
#include "control.h"
#include "dev.h"
#include "knock.h"
#include "process.h"
#include "script/gateway.h"
#include "script/tool.h"
#include "script/vm.h"
#include "testing.h"

enum { EXIT_OK = 0, EXIT_BAD = 1, EXIT_USAGE = 2, MAX_SAID = 8 };

static const char help[] =
    "Sluice, a Lua-scriptable streaming gateway for language models.\n"
    "\n"
    "  sluice run FILE              run the gateway that FILE (Lua) describes\n"
    "  sluice dev FILE              run it, and read it again whenever it or a file it reads changes; run the specs beside it (spec/); one plain line per exchange\n"
    "  sluice check FILE            load FILE and all it names, but run no init; tell every mistake, and what looks like one; exit 0 or 1\n"
    "  sluice explain FILE [ROUTE]  tell what FILE does with a request: hooks in their order, filters, options, limits\n"
    "  sluice reload FILE           have the running gateway of FILE read it again; --canary 5%: for that share of new requests\n"
    "  sluice promote FILE          the canary serves all new requests; sluice rollback FILE: none\n"
    "  sluice status FILE           what the running gateway of FILE serves\n"
    "  sluice state FILE [NAME]     the limiters, counters, semaphores and caches of the running gateway of FILE; NAME: the keys that count most in it\n"
    "  sluice trace FILE            wait for the next exchange of the running gateway of FILE and tell what each hook, filter and model did, and when\n"
    "  sluice config FILE           print the configuration as it was understood, for review and diffs\n"
    "  sluice test DIR              run the specs in DIR (busted) on a virtual clock, with scripted upstreams\n"
    "  sluice help [NAME]           tell about one name of the Lua API (sluice.reject, ctx:header, filter.max_hold), or list all\n"
    "  sluice key NAME              make an API key, shown once, and its line for the file of sluice.parts.api_keys\n"
    "  sluice types [DIR]           write sluice.d.lua, .luarc.json and .luacheckrc for editors and luacheck\n"
    "\n"
    "Options\n"
    "  --log-level LEVEL    error, warn, info (default) or debug\n"
    "  --log-format FORMAT  text (default) or json; one line per request on stderr\n"
    "  --canary SHARE       reload: 0.1% to 99.9%\n"
    "  --route R, --key K   trace: only exchanges of this route, of the client whom policies call K (ctx.key)\n"
    "  --count N            trace: so many exchanges instead of one\n"
    "  --strict             check: a warning is a failure\n"
    "  --json               check, explain, config, state: for programs\n"
    "  --spec               check: run the specs in spec/ beside FILE as well\n"
    "  --coverage           test: tell which lines of the policies did not run\n"
    "  --fuzz N             test: ask again N times each, with random cuttings and failing services; --seed S: from there\n"
    "  --update             test: write the golden answers of t.golden instead of comparing\n"
    "  --markdown           help: the whole reference as a page\n"
    "  --force              types: write over files that differ; reload: end the streams of the oldest generation instead of waiting for them\n"
    "  --lua DIR            read the modules of lua/ from DIR instead of the built-in ones (development)\n"
    "  --help, --version\n"
    "\n"
    "Signals: SIGTERM or SIGINT finish the running streams and end (a second one ends at once); SIGHUP reads\n"
    "FILE again for new requests, running streams finish on what they began with; SIGUSR1 logs\n"
    "the metrics, and how much each limiter, counter, semaphore and cache holds.\n";

struct command {
    const char *name, *file, *lua_dir;
    int more;                                          /* words behind the file: busted's for test, a route for explain */
    char **rest;
    struct said {
        const char *option, *value;                    /* "--json", NULL; "--canary", "5%" */
    } said[MAX_SAID];                                  /* options that only some commands know */
    size_t n_said;
};

static const struct said *said(const struct command *c, const char *option)   /* NULL: not said */
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
    const struct said *given = said(c, option);
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
    struct testing_options want = { .dir = c->file, .argc = c->more, .argv = c->rest, .coverage = said(c, "--coverage"), .update = said(c, "--update") };

    if (access(c->file, R_OK) != 0) {
        fprintf(stderr, "sluice: test: cannot read %s: %s; name a directory with files that end in _spec.lua, or one such file\n", c->file, strerror(errno));
        return EXIT_USAGE;
    }
    if (said(c, "--seed") && !said(c, "--fuzz")) {
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

    if (said(c, "--spec") && said(c, "--json")) {
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
    if (said(c, "--spec")) {
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
    const struct said *canary = said(c, "--canary");
    bool force = said(c, "--force");
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

    buf_puts(&command, said(c, "--json") ? "state json" : "state text");
    if (c->more > 0)
        buf_printf(&command, " %s", c->rest[0]);
    return send_command(c, &command, knock_ask);
}

static int listen_for_trace(const char *file, const char *line) { return knock_listen(file, line, "trace"); }

static int trace(const struct command *c)
{
    const struct said *route = said(c, "--route"), *key = said(c, "--key");
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

static int usage(const char *what, const char *word)
{
    fprintf(stderr, "sluice: %s%s\nTry: sluice --help\n", what, word);
    return EXIT_USAGE;
}

static const struct command_kind {
    const char *name, *needs, *usage, *knows;          /* needs: NULL when it can do without; knows: its own options */
    int most;                                          /* words it takes; -1: what follows is not ours */
    int (*run)(const struct command *c);
} commands[] = {
    { "run", "a gateway file", "sluice run FILE [--log-level LEVEL] [--log-format FORMAT]", "", 1, run },
    { "dev", "a gateway file", "sluice dev FILE [--log-level LEVEL]", "", 1, dev },
    { "check", "a gateway file", "sluice check FILE [--strict] [--json] [--spec]", "--strict --json --spec", 1, check },
    { "explain", "a gateway file", "sluice explain FILE [ROUTE] [--json]", "--json", 2, tool_on_gateway },
    { "config", "a gateway file", "sluice config FILE [--json]", "--json", 1, tool_on_gateway },
    { "reload", "a gateway file", "sluice reload FILE [--canary SHARE] [--force]", "--canary --force", 1, ask },
    { "promote", "a gateway file", "sluice promote FILE", "", 1, ask },
    { "rollback", "a gateway file", "sluice rollback FILE", "", 1, ask },
    { "status", "a gateway file", "sluice status FILE", "", 1, ask },
    { "state", "a gateway file", "sluice state FILE [NAME] [--json]", "--json", 2, state },
    { "trace", "a gateway file", "sluice trace FILE [--route ROUTE] [--key KEY] [--count N]", "--route --key --count", 1, trace },
    { "test", "a directory of specs", "sluice test DIR [--coverage] [--fuzz N] [--seed S] [--update] [-- busted's options]", "--coverage --fuzz --seed --update", -1, test },
    { "help", NULL, "sluice help [NAME] [--markdown]", "--markdown --audit", 1, tool_alone },
    { "key", "a name", "sluice key NAME", "", 1, tool_alone },
    { "types", NULL, "sluice types [DIR] [--force]", "--force", 1, tool_alone },
};

static const struct command_kind *command_of(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int misused(const struct command_kind *kind, const char *what, const char *word)
{
    fprintf(stderr, "sluice: %s %s%s\nUsage: %s\n", kind->name, what, word, kind->usage);
    return EXIT_USAGE;
}

/* Options that only some commands know stand from OWN on. */
enum { OWN = 256 };
static const struct option options[] = {
    { "log-level", required_argument, NULL, 'l' }, { "log-format", required_argument, NULL, 'f' }, { "lua", required_argument, NULL, 'u' },
    { "help", no_argument, NULL, 'h' },            { "version", no_argument, NULL, 'v' },
    { "strict", no_argument, NULL, OWN },          { "json", no_argument, NULL, OWN },             { "spec", no_argument, NULL, OWN },
    { "markdown", no_argument, NULL, OWN },        { "audit", no_argument, NULL, OWN },            { "force", no_argument, NULL, OWN },
    { "canary", required_argument, NULL, OWN },    { "coverage", no_argument, NULL, OWN },         { "fuzz", required_argument, NULL, OWN },
    { "seed", required_argument, NULL, OWN },      { "update", no_argument, NULL, OWN },           { "route", required_argument, NULL, OWN },
    { "key", required_argument, NULL, OWN },       { "count", required_argument, NULL, OWN },      { NULL, 0, NULL, 0 },
};

static const char *option_name(size_t i) { return options[i].name; }
static const char *command_name(size_t i) { return i < sizeof commands / sizeof commands[0] ? commands[i].name : NULL; }

/* What is said of a word that is none of ours: which one is near. */
static int unknown(const char *what, const char *dashes, const char *word, const char *(*known)(size_t i))
{
    const char *near = nearest(word, known);

    fprintf(stderr, "sluice: unknown %s %s%s", what, dashes, word);
    if (near)
        fprintf(stderr, "; did you mean %s%s?", dashes, near);
    fprintf(stderr, "\nTry: sluice --help\n");
    return EXIT_USAGE;
}

static int unknown_option(const char *word)            /* as it was written */
{
    size_t n = strcspn(word, "=");

    if (strncmp(word, "--", 2) != 0)
        return usage("unknown option ", word);
    char *name = mem_copy(word + 2, n - 2);
    int code = unknown("option", "--", name, option_name);
    free(name);
    return code;
}

/* Every option has its full name here, however it was abbreviated. */
static bool remember(struct command *c, const char *option, const char *value)
{
    static char names[MAX_SAID][16];

    if (c->n_said == MAX_SAID)
        return false;
    snprintf(names[c->n_said], sizeof names[0], "--%s", option);
    c->said[c->n_said] = (struct said){ names[c->n_said], value };
    c->n_said++;
    return true;
}

int main(int argc, char **argv)
{
    enum log_level level = LOG_INFO;
    enum log_format format = LOG_TEXT;
    struct command c = { 0 };

    opterr = 0;
    for (int o, at = 0; (o = getopt_long(argc, argv, ":hv", options, &at)) != -1;) {
        switch (o) {
        case 'l':
            if (log_level_parse(optarg, &level) != 0)
                return usage("unknown log level ", optarg);
            break;
        case 'f':
            if (log_format_parse(optarg, &format) != 0)
                return usage("unknown log format ", optarg);
            break;
        case 'u':
            c.lua_dir = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_OK;
        case 'v':
            printf("sluice %s\n", SLUICE_VERSION);
            return EXIT_OK;
        case OWN:
            if (!remember(&c, options[at].name, optarg))
                return usage("too many options: --", options[at].name);
            break;
        case ':':
            return usage("a value is missing behind ", argv[optind - 1]);
        default:
            return unknown_option(argv[optind - 1]);
        }
    }
    if (optind == argc)
        return usage("what shall I do?", "");
    c.name = argv[optind++];
    const struct command_kind *kind = command_of(c.name);
    if (!kind)
        return unknown("command", "", c.name, command_name);
    for (size_t i = 0; i < c.n_said; i++)
        if (!strstr(kind->knows, c.said[i].option))
            return misused(kind, "has no option ", c.said[i].option);
    if (optind == argc && kind->needs)
        return misused(kind, "needs ", kind->needs);
    if (kind->most >= 0 && argc - optind > kind->most)
        return misused(kind, "takes no more words: ", argv[optind + kind->most]);
    if (optind < argc) {
        c.file = argv[optind];
        c.more = argc - optind - 1;
        c.rest = argv + optind + 1;
    }

    bool specs = kind->run == test || said(&c, "--spec");
    log_setup(specs && level == LOG_INFO ? LOG_WARN : level, format, STDERR_FILENO);
    if (kind->run == dev)
        dev_show_log(level);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (watchdog_start() != 0) {
        fprintf(stderr, "sluice: cannot start the watchdog thread\n");
        return EXIT_BAD;
    }
    int code = kind->run(&c);
    watchdog_stop();
    named_forget_idle();
    curl_global_cleanup();
    return code;
}
