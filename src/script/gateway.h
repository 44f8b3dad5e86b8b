/* What an operator's file says, checked and frozen: listeners, models, routes, policies. One per VM.
 *
 * lua/sluice/config.lua does the checking (schema, file:line, did-you-mean); gateway.c only reads its normalised result into these structs,
 * so that the hot path asks no Lua table. All strings live as long as the gateway. Refs are in the VM's registry.
 */
#ifndef SLUICE_SCRIPT_GATEWAY_H
#define SLUICE_SCRIPT_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/balance.h"
#include "base/breaker.h"
#include "base/buf.h"
#include "match/unit.h"
#include "script/service.h"
#include "wire/http.h"
#include "wire/ip.h"
#include "wire/json.h"

struct vm;
struct matcher;
struct target;

enum hook {                                            /* in the order of lua/sluice/policy.lua's M.hooks */
    HOOK_ACCEPT, HOOK_VALIDATE, HOOK_ROUTE, HOOK_PROMPT, HOOK_ATTEMPT, HOOK_FALLBACK, HOOK_RESPONSE, HOOK_TOOL_CALL, HOOK_FINISH, HOOK_ERROR,
    HOOK_LOG, HOOK_COUNT
};
extern const char *const hook_names[HOOK_COUNT];

enum channel { CHANNEL_CONTENT, CHANNEL_REASONING, CHANNEL_REFUSAL, CHANNEL_TOOL_ARGS, CHANNEL_COUNT };
extern const char *const channel_names[CHANNEL_COUNT];

/* Places that a dialect declares in its events, in the order of lua/sluice/dialect.lua's M.places. */
enum place {
    PLACE_CONTENT, PLACE_REASONING, PLACE_REFUSAL, PLACE_FINISH, PLACE_ERROR, PLACE_USAGE_IN, PLACE_USAGE_OUT, PLACE_USAGE_CACHED, PLACE_USAGE_REASONING,
    PLACE_TOOLS, PLACE_MODEL, PLACE_CHOICE, PLACE_TOOL_INDEX, PLACE_TOOL_ARGUMENTS, PLACE_LOGPROBS, PLACE_REFUSAL_LOGPROBS,
    PLACE_SIGNATURE, PLACE_USAGE_CACHE_WRITTEN, PLACE_DONE, PLACE_COUNT
};
enum tool_place { TOOL_INDEX, TOOL_ID, TOOL_NAME, TOOL_ARGUMENTS, TOOL_PLACE_COUNT };   /* in one item of PLACE_TOOLS */
#define PLACES_MAX 96                                  /* of all kinds of a dialect's events together */

struct clocks {                                        /* milliseconds; 0: no such clock */
    uint64_t connect, first_token, gap, total;
};

struct event_kind {                                    /* where one kind of event holds what */
    const char *name;                                  /* the word at dialect.kind_at; "" when all events are alike */
    size_t name_len;
    unsigned char at[PLACE_COUNT];                     /* 1 + the index among dialect.places; 0: this kind has no such place */
    bool rare, ends;                                   /* Lua reads it; the stream is over with it */
};

struct dialect {                                       /* what an upstream speaks: lua/sluice/dialects/NAME.lua */
    const char *name;
    bool ndjson;                                       /* a line is an event; else server-sent events */
    struct json_places *places;                        /* n_places of them: those of all kinds, the kind itself, the rare ones */
    size_t n_places;
    unsigned kind_at;                                  /* 1 + the index of the place that tells the kind; 0: all events are alike */
    struct event_kind *kinds;
    size_t n_kinds;
    size_t rare_from, n_rare;                          /* places whose presence makes an event rare */
    struct json_places *whole;                         /* PLACE_COUNT of them: in an answer that is one document */
    struct json_places *tool_places;                   /* TOOL_PLACE_COUNT of them */
    bool ends_said;                                    /* it has an event that ends the stream, which may not be missing */
    bool tools_numbered;                               /* the items tell which call they are of; else each is a call */
    const char *done;                                  /* data of the event that ends the stream: "[DONE]"; "" when there is none */
    const char **finish_words;                         /* the dialect's word, OpenAI's word, ... */
    size_t n_finish_words;                             /* pairs */
    int request_ref;                                   /* function(req, model) -> { path, headers, body } */
    int event_ref, error_ref;                          /* function(event, out), function(status, body); LUA_NOREF: none */
    int embed_request_ref, embed_answer_ref;           /* the same for embeddings; LUA_NOREF: it makes none; its document is OpenAI's */
};

enum operation { OPERATION_CHAT, OPERATION_EMBED };

struct front {                                         /* what clients of a route speak */
    const char *name;
    const char *methods;                               /* "GET, HEAD, OPTIONS": for Allow */
    enum operation operation;
    const char *speaks;                                /* the provider dialect that says the same: then untouched bytes may pass; NULL: none */
    const char *request_id;                            /* the header in which its clients look for the request's id, beside X-Request-Id; NULL: none */
    struct header *headers;                            /* of each answer */
    size_t n_headers;
    /* What a simple front says: constants around a JSON string. */
    const char *content_before, *content_after;        /* `data: {"token":` and `}\n\n`; NULL: open_ref says it */
    const char *reasoning_before, *reasoning_after;    /* NULL: this front does not tell reasoning */
    const char *tool_before, *tool_after;              /* around { id, name, arguments } of a tool call; NULL: this front does not tell them */
    const char *finish_before, *finish_after;          /* around the finish reason, before `done`; NULL: this front does not tell it */
    const char *done;                                  /* `data: [DONE]\n\n` */
    /* What others say: functions, called at the edges of blocks only (lua/sluice/answer.lua). LUA_NOREF: not needed. */
    int begin_ref, open_ref, close_ref, tool_ref, finish_ref, fault_ref, logprobs_ref;
    bool gather;                                       /* close_ref wants the whole text of its block */
    int whole_ref;                                     /* function(answer) -> the document for who does not stream; LUA_NOREF: all stream */
    int respond_ref;                                   /* function(req, names) -> a document; no model is asked */
    size_t beside;                                     /* bytes that it may read beside a body: what is kept of a conversation */
    int read_ref;                                      /* function(req): fills req.messages */
    int error_ref;                                     /* function(err) -> table (JSON body and in-band event data) */
};

struct retry {                                         /* the same model again, when it failed in a way that may pass */
    unsigned times;
    uint64_t backoff_ms, max_ms;                       /* the longest first wait, twice that the second ...; no wait is longer than max_ms */
};

struct probe {                                         /* asked for at times: does the upstream live? */
    const char *url, *ca;
    uint64_t every_ms, timeout_ms;
};

struct pool {                                          /* a model that stands for several */
    const struct model *members[BALANCE_MAX];
    const char *names[BALANCE_MAX];                    /* of the members */
    unsigned weights[BALANCE_MAX];
    unsigned n;
    bool least_busy;                                   /* else by turns */
    int affinity_ref;                                  /* function(req, caller) -> a text: who says the same gets the same member; LUA_NOREF: nobody asks */
    struct balance *balance;                           /* all workers' */
};

struct model {
    const char *name;                                  /* as policies say it */
    const struct pool *pool;                           /* it stands for others, and all below is empty; NULL: it is one itself */
    struct target *target;                             /* what all workers know of it; NULL: nobody asks */
    const struct retry *retry;                         /* NULL: the route's */
    const struct probe *probe;                         /* NULL: none */
    const struct dialect *dialect;                     /* NULL for a Lua model */
    const char *url;                                   /* base URL without trailing '/' */
    const char *ca;                                    /* PEM file or NULL */
    struct clocks clocks;                              /* 0: the route's */
    bool prefill;                                      /* goes on with a last message of the assistant ... */
    int prefill_ref;                                   /* ... when this stands in the body of its request; LUA_NOREF: nothing */
    int answer_ref;                                    /* function(req, out) of a Lua model, else LUA_NOREF */
    int table_ref;                                     /* the whole normalised table: model, key, ... (for request_ref) */
};

struct policy {
    const char *name;
    unsigned open_hooks;                               /* bit per enum hook, plus FILTER_OPEN: on_error = "open" */
    int only_if_ref;                                   /* function(ctx, head) -> does it take part in this exchange?; LUA_NOREF: always */
    struct breaker breaker;                            /* on exchanges in which it failed; of this VM's thread */
};
#define POLICIES_MAX 64                                /* of a route: they are bits */
#define FILTER_OPEN (1u << 31)

struct hook_entry {
    int fn_ref;
    int policy;                                        /* index into route->policies */
};

struct init_entry {                                    /* a policy's init(): once a VM, before its first request */
    int fn_ref;
    const char *policy;
};

#define PLAN_MAX 8                                     /* models that one request may be tried on, one after another */

struct filter {
    enum { FILTER_RAW, FILTER_MATCH, FILTER_UNITS, FILTER_SHADOW } kind;   /* SHADOW: the place of a policy in monitor mode */
    int shadow;                                        /* SHADOW: index into route->shadows */
    int fn_ref;                                        /* text or check(text, ctx, part), or replace(m, ctx); LUA_NOREF: replace is a text */
    int policy;
    unsigned channels;                                 /* bit per enum channel */
    const struct matcher *match;                       /* MATCH: what is looked for; lives with the gateway. NULL: match_ref says it */
    int match_ref;                                     /* MATCH: function(ctx) -> matcher, asked once a block; else LUA_NOREF */
    const char *replace;                               /* MATCH without fn_ref */
    struct unit unit;                                  /* UNITS */
    int unit_ref;                                      /* UNITS: function(ctx) -> unit, asked once a block; else LUA_NOREF */
    int when_ref;                                      /* function(ctx) -> whether it applies, asked once a block; else LUA_NOREF */
    bool judges;                                       /* UNITS: check, which returns nothing or a verdict */
    bool keeps;                                        /* RAW, UNITS: text, which says that it never changes the text */
    size_t parallel;                                   /* judges: so many checks at a time [1] */
    bool optimistic;                                   /* judges: text leaves while its check runs */
    size_t max_hold;                                   /* bytes; default 64 KiB */
    bool overflow_release;                             /* else: stop with policy_error */
};

struct window {                                        /* text is held until it is so long, or so old; both 0: it leaves at once */
    size_t chars;
    uint64_t ms;
};

struct hedge {                                         /* a second try beside one that gave no text in time */
    uint64_t after;                                    /* ms */
    unsigned budget;                                   /* of 10000 requests, so many may be hedged */
    unsigned credit;                                   /* earned by requests, 10000 for one hedge; of this VM's thread */
};

struct route {
    const char *name;
    const char **paths;                                /* exact paths; for a files route its prefix */
    size_t n_paths;
    const char *files;                                 /* directory of a files route (absolute), else NULL */
    const struct front **fronts;                       /* [n_paths]: what is spoken at each path */
    const struct model *plan[PLAN_MAX];                /* when no policy routes: these, best first */
    size_t n_plan;
    struct clocks clocks;                              /* defaults: connect 10 s, first_token 60 s, gap 60 s, total 0 */
    uint64_t heartbeat;                                /* ms [15 s] */
    const struct retry *retry;                         /* NULL: none */
    struct window prerelease;
    struct hedge *hedge;                               /* NULL: none */
    bool continues;                                    /* a model that dies behind text that was sent: another goes on with it */
    struct policy *policies;
    size_t n_policies;
    bool conditional;                                  /* one of them has an only_if */
    struct hook_entry *hooks[HOOK_COUNT];              /* in the order they run */
    size_t n_hooks[HOOK_COUNT];
    int table_ref;                                     /* what ctx reads of it: name, total, policies; LUA_NOREF for a files route */
    struct route *shadows;                             /* one for each policy in monitor mode: this route with the hooks and filters of that policy alone */
    size_t n_shadows;
    int watches;                                       /* in a shadow: its policy */
    struct filter *filters;                            /* in the order text passes: from the model to the client (last policy first) */
    size_t n_filters;
};

struct gateway {
    struct vm *vm;
    unsigned generation;                               /* which reading of the file this is: 1 at the start, one more with each reload */
    const char *file;                                  /* as given */
    const char *host;                                  /* listen address without brackets */
    int port;
    struct cidr *trusted;
    size_t n_trusted;
    int workers;                                       /* 0: cores */
    size_t memory;                                     /* the VM's cap, already set by gateway_load; 0: as it was opened */
    unsigned generations;                              /* so many readings of the file may be in use at a time */
    const char *digest;                                /* of every file that was read: the same text gives the same */
    const char *snapshot;                              /* the file that counters outlive the process in, or NULL ... */
    uint64_t snapshot_ms;                              /* ... and how often it is written */
    uint64_t drain;                                    /* ms to finish streams after SIGTERM [30 s] */
    struct {                                           /* 0: net's default */
        size_t head_bytes, body_bytes;
        unsigned connections;
        uint64_t head_ms, body_ms, idle_ms, stall_ms;
    } limits;
    struct model *models;
    size_t n_models;
    struct route *routes;
    size_t n_routes;
    struct service *services;
    size_t n_services;
    struct init_entry *inits;
    size_t n_inits;
};

/* Loads and checks the file in this VM. 0; or -1 and every mistake found, a line each ("gateway.lua:14: unknown dialect ..."), in `complaints`. */
int gateway_load(struct gateway **ret, struct vm *vm, const char *file, struct buf *complaints);
/* The same for a gateway that is no file: a text, whose mistakes are told as those of `file`; it requires modules beside the directory `root`, and services
 * that its policies ask for need not be declared. For specs. */
int gateway_load_text(struct gateway **ret, struct vm *vm, const char *file, const char *text, const char *root, struct buf *complaints);
void gateway_close(struct gateway *g);                 /* before vm_close */
/* The route that is asked at this path and what is spoken there; NULL: none, but perhaps one with files. */
const struct route *gateway_route(const struct gateway *g, const char *path, const struct front **front);
/* The model of that name or NULL. */
const struct model *gateway_model(const struct gateway *g, const char *name);

#endif
