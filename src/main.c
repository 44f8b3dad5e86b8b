/* The command line: words and options in, a command and its exit code out. */
#include <curl/curl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/named.h"
#include "base/nearest.h"
#include "command.h"
#include "dev.h"
#include "script/vm.h"

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
    "FILE again for new requests, running streams finish on what they began with (in dev it is the terminal's end, and dev's); SIGUSR1 logs\n"
    "the metrics, and how much each limiter, counter, semaphore and cache holds.\n";

static int usage(const char *what, const char *word)
{
    fprintf(stderr, "sluice: %s%s\nTry: sluice --help\n", what, word);
    return EXIT_USAGE;
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

    bool specs = kind->shows == RUNS_SPECS || command_said(&c, "--spec");
    log_setup(specs && level == LOG_INFO ? LOG_WARN : level, format, STDERR_FILENO);
    if (kind->shows == SHOWS_LOG)
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
