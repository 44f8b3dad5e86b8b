/* The command line: sluice run FILE, sluice check FILE, sluice test DIR. */
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/named.h"
#include "base/log.h"
#include "process.h"
#include "script/gateway.h"
#include "script/vm.h"
#include "testing.h"

enum { EXIT_OK = 0, EXIT_BAD = 1, EXIT_USAGE = 2 };

static const char help[] =
    "Sluice, a Lua-scriptable streaming gateway for language models.\n"
    "\n"
    "  sluice run FILE      run the gateway that FILE (Lua) describes\n"
    "  sluice check FILE    load FILE and all it names; tell every mistake in the configuration; exit 0 or 1\n"
    "  sluice test DIR      run the specs in DIR (busted) on a virtual clock, with scripted upstreams\n"
    "\n"
    "Options\n"
    "  --log-level LEVEL    error, warn, info (default) or debug\n"
    "  --log-format FORMAT  text (default) or json; one line per request on stderr\n"
    "  --lua DIR            read the modules of lua/ from DIR instead of the built-in ones (development)\n"
    "  --help, --version\n"
    "\n"
    "Signals: SIGTERM or SIGINT finish the running streams and end (a second one ends at once); SIGHUP reads\n"
    "FILE again for new requests, running streams finish on what they began with; SIGUSR1 logs the counters.\n";

struct command {
    const char *name, *file, *lua_dir;
    int more;                                          /* words behind the file: busted's, for test */
    char **rest;
};

static int load(struct gateway **ret, struct vm **vm, const struct command *c)
{
    struct vm_options options = { .lua_dir = c->lua_dir };
    struct buf complaints = BUF_EMPTY;

    if (vm_open(vm, &options) != 0) {
        fprintf(stderr, "sluice: no memory for a Lua state\n");
        return -1;
    }
    if (gateway_load(ret, *vm, c->file, &complaints) == 0) {
        buf_free(&complaints);
        return 0;
    }
    fwrite(complaints.data, 1, complaints.len, stderr);
    if (complaints.len && complaints.data[complaints.len - 1] != '\n')
        fputc('\n', stderr);
    buf_free(&complaints);
    vm_close(*vm);
    return -1;
}

static int check(const struct command *c)
{
    struct gateway *g;
    struct vm *vm;

    if (load(&g, &vm, c) != 0)
        return EXIT_BAD;
    printf("%s: ok: %zu route%s, %zu model%s\n", c->file, g->n_routes, g->n_routes == 1 ? "" : "s", g->n_models, g->n_models == 1 ? "" : "s");
    gateway_close(g);
    vm_close(vm);
    return EXIT_OK;
}

static int run(const struct command *c)
{
    struct process_options options = { .file = c->file, .lua_dir = c->lua_dir };
    struct gateway *g;
    struct vm *vm;

    if (load(&g, &vm, c) != 0)
        return EXIT_BAD;
    int code = process_run(&options, g);
    gateway_close(g);
    vm_close(vm);
    return code;
}

static int test(const struct command *c)
{
    if (access(c->file, R_OK) != 0) {
        fprintf(stderr, "sluice: test: cannot read %s: %s; name a directory with files that end in _spec.lua, or one such file\n", c->file, strerror(errno));
        return EXIT_USAGE;
    }
    return testing_run(c->file, c->more, c->rest);
}

static int usage(const char *what, const char *word)
{
    fprintf(stderr, "sluice: %s%s\nTry: sluice --help\n", what, word);
    return EXIT_USAGE;
}

static const struct command_kind {
    const char *name, *needs, *usage;
    int (*run)(const struct command *c);
} commands[] = {
    { "run", "a gateway file", "sluice run FILE [--log-level LEVEL] [--log-format FORMAT]", run },
    { "check", "a gateway file", "sluice check FILE", check },
    { "test", "a directory of specs", "sluice test DIR [-- busted's options]", test },
};

static const struct command_kind *command_of(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static const struct option options[] = {
    { "log-level", required_argument, NULL, 'l' }, { "log-format", required_argument, NULL, 'f' }, { "lua", required_argument, NULL, 'u' },
    { "help", no_argument, NULL, 'h' },            { "version", no_argument, NULL, 'v' },          { NULL, 0, NULL, 0 },
};

int main(int argc, char **argv)
{
    enum log_level level = LOG_INFO;
    enum log_format format = LOG_TEXT;
    struct command c = { 0 };

    for (int o; (o = getopt_long(argc, argv, "hv", options, NULL)) != -1;) {
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
        default:
            return usage("see above", "");
        }
    }
    if (optind == argc)
        return usage("what shall I do?", "");
    c.name = argv[optind++];
    const struct command_kind *kind = command_of(c.name);
    if (!kind)
        return usage("unknown command ", c.name);
    if (optind == argc) {
        fprintf(stderr, "sluice: %s needs %s\nUsage: %s\n", c.name, kind->needs, kind->usage);
        return EXIT_USAGE;
    }
    c.more = argc - optind - 1;
    c.rest = argv + optind + 1;
    if (c.more > 0 && kind->run != test)
        return usage("one file is enough: ", argv[optind + 1]);
    c.file = argv[optind];

    log_setup(kind->run == test && level == LOG_INFO ? LOG_WARN : level, format, STDERR_FILENO);
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
