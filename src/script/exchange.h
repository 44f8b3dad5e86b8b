/* The Lua side of one exchange (one client request with its answer): req, ctx, the calls of its hooks, and what they said.
 *
 * Opens cheap: tables are made when a hook first needs them. Everything here runs inside the VM's memory cap; when that is
 * reached the functions return -1 and the exchange fails, nothing else.
 */
#ifndef SLUICE_SCRIPT_EXCHANGE_H
#define SLUICE_SCRIPT_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "script/call.h"
#include "script/gateway.h"
#include "wire/http.h"

/* Why an exchange ends otherwise than well, as policies and clients are told. Owned strings. */
struct failure {
    int status;                                        /* what a client gets when nothing was sent yet */
    char *code;                                        /* "upstream_reset": a word for a program */
    char *message;                                     /* a sentence for a person */
    char *type;                                        /* NULL or a dialect's error type */
    const char *kind;                                  /* "client" "policy" "upstream" "gateway": constant */
    const char *policy, *hook;                         /* whose verdict or failure it is, or NULL; constants of the gateway */
    int64_t retry_after;                               /* seconds, -1: not told */
    int upstream_status;                               /* 0: none */
    char *upstream_code, *upstream_param;              /* the model service's own word and the field it names, when it found the request wrong; NULL: none */
    bool headers_sent;
};
void failure_free(struct failure *f);
/* The model service's own word for what it found wrong and the field that it names, where they are such; without secrets. NULL: not told. */
void failure_set_upstream(struct failure *f, const char *code, const char *param);
void failure_set(struct failure *f, int status, const char *code, const char *message);   /* frees what was there; the rest becomes neutral */

/* An answer in steps: what a rare event means, as the dialect's event(event, out) says it, or a reply of blocks. */
struct event_op {
    enum { OP_TEXT = 1, OP_TOOL, OP_FINISH, OP_USAGE, OP_MODEL, OP_ERROR, OP_DONE, OP_LOGPROBS, OP_SIGNATURE } kind;
    unsigned choice;
    enum channel channel;                              /* TEXT, LOGPROBS */
    struct buf text;                                   /* TEXT; TOOL: (a piece of) the arguments; FINISH: the word; MODEL: its name; ERROR: what it says; LOGPROBS: a JSON list; SIGNATURE: itself */
    struct buf signature;                              /* TOOL: what the model wants back with the call */
    struct buf name, id;                               /* TOOL; ERROR: name is its code; FINISH: name is the stop sequence that ended it */
    long index;                                        /* TOOL: the model's number for it; -1: a call of its own */
    int64_t usage[5];                                  /* USAGE: input, output, cached, reasoning, cache_written; -1: not told */
};
struct event_ops { struct event_op *ops; size_t n; };
void event_ops_free(struct event_ops *o);

enum verdict_kind { VERDICT_PASS, VERDICT_REJECT, VERDICT_REPLY, VERDICT_STOP, VERDICT_ROUTE, VERDICT_NEXT, VERDICT_RETRY, VERDICT_GIVE_UP, VERDICT_DROP, VERDICT_WRONG };
struct verdict {                                       /* owned; verdict_free */
    enum verdict_kind kind;
    struct failure failure;                            /* REJECT */
    int status;                                        /* REPLY: default 200 */
    struct buf text;                                   /* REPLY, STOP */
    char *finish;                                      /* REPLY, STOP: the finish reason, default "stop" */
    struct event_ops ops;                              /* REPLY: a whole answer in place of a model's; empty: text alone */
    const struct model *plan[PLAN_MAX];                /* ROUTE */
    size_t n_plan;
    char *wrong;                                       /* WRONG: the sentence: names the hook and lists what it may return */
};
void verdict_free(struct verdict *v);

struct slot;                                           /* of a semaphore (base/semaphore.h) */
struct reserved;

struct exchange {
    const struct gateway *gateway;
    const struct route *route;
    const struct front *front;                         /* what this client speaks */
    const char *id;                                    /* of the stream; lives as long */
    bool metered;                                      /* its calls note what they cost (call.meter) */
    uint64_t random;                                   /* where math.random goes on: it begins at what the id says, so the same id draws the same */
    size_t body_len;                                   /* of the request: what walks all of it has time for that */
    uint64_t off;                                      /* a bit for each policy that takes no part */
    int ref;                                           /* registry: a table with req, the ctx per policy, shared fields; LUA_NOREF when closed */
    struct slot *slots;                                /* that its hooks took; given back by exchange_release */
    unsigned n_slots;
    struct reserved *reserved;                         /* in counters (state_value.c), by its hooks; what is left is given back by exchange_close */
};

struct exchange_facts {
    const char *id;
    const struct http_request *request;                /* must live as long as the exchange may run accept; copied into req on open */
    const char *ip;                                    /* the client's, behind trusted proxies */
};

int exchange_open(struct exchange *x, const struct gateway *g, const struct route *r, const struct front *f, const struct exchange_facts *facts);
/* Asks each policy's only_if, once, before accept. 0 and x->off; or -1: one of them failed, told in the log; *policy is its index. */
int exchange_only_if(struct exchange *x, size_t *policy);
/* For a policy in monitor mode: the same exchange with a copy of the request, and of what policies shared so far. 0 or -1. */
int exchange_copy(struct exchange *ret, const struct exchange *x, const struct route *r);
int exchange_copy_shared(struct exchange *copy, const struct exchange *x);
void exchange_release(struct exchange *x);             /* the answer is over: gives back the slots that were taken for it */
void exchange_close(struct exchange *x);               /* releases as well, and what is reserved; a ctx that a script kept says "this exchange is over" from now on */

/* After accept: the query decoded into req.query, the body (may be NULL) into req.body, the front's read(req). 0; or -1 and *f says what was wrong
 * with the request (400 bad_query ...) or with us (500). */
struct asked {                                         /* what C needs of it */
    bool stream;                                       /* the client wants events, not one document */
    const struct model *plan[PLAN_MAX];                /* by the model that it named, when the route offers models; n_plan 0: the route's target */
    size_t n_plan;
};
int exchange_read(struct exchange *x, const char *body, size_t len, struct asked *ret, struct failure *f);

/* What the pool's affinity says of this request, appended; nothing: no member is preferred. One that fails is told in the log and says nothing. */
void exchange_affinity(struct exchange *x, const struct model *pool, struct buf *out);

/* What the hooks of the answer are shown, made before the first of a phase runs. Each 0, or -1: no memory. The model is the one that is tried. */
struct tried { const struct model *model; unsigned number; bool continues; const char *code, *message; int status; int64_t retry_after; };
int exchange_try(struct exchange *x, const struct tried *t, bool copy);             /* attempt: with `copy` a fresh copy of the request; ctx.target */
int exchange_failed(struct exchange *x, const struct tried *t);                     /* fallback: why the try failed (code, message, status) */
int exchange_response(struct exchange *x, const struct tried *t, const struct header *headers, size_t n);   /* response */
struct usage { int64_t input, output, cached, reasoning, cache_written; };   /* tokens; -1: not told; of the input some came out of a cache, some were put into it */
int exchange_finish(struct exchange *x, const char *reason, uint64_t tokens, const struct usage *u);   /* finish; reason NULL: not told */

int exchange_tool(struct exchange *x, const struct buf *id, const struct buf *name, const struct buf *args);   /* tool_call: one whole call */
/* After the tool_call hooks: what they made of its arguments, as JSON, in place of *args if they changed. 0; or -1: it is no JSON any more, told in the log. */
int exchange_tool_args(struct exchange *x, struct buf *args);

/* Opens call `c` for hook entry i of kind h with its arguments pushed, and runs it. For HOOK_LOG call exchange_summary before. */
enum call_state exchange_hook(struct exchange *x, struct call *c, enum hook h, size_t i);
/* What the finished call said; checks that this hook may say it. The call stays open (call_finish it). */
void exchange_verdict(struct exchange *x, struct call *c, enum hook h, size_t i, struct verdict *ret);

/* A gate: runs fn (a reference of struct gate_want) with no arguments; its verdict; and when it is over, the reference is given back. */
enum call_state exchange_gate(struct exchange *x, struct call *c, int policy, enum hook hook, int fn_ref);
void exchange_gate_verdict(struct exchange *x, struct call *c, int policy, enum hook hook, int fn_ref, struct verdict *ret);
void exchange_gate_over(struct exchange *x, int fn_ref);

/* Asked once a block, before its first text: does filter i apply, to what units, what does it look for? It may not wait; the call stays open. */
struct matcher;
struct filter_block { bool applies; struct unit unit; struct matcher *match; };   /* match: to be dropped (matcher_drop); NULL: the filter's own */
enum call_state exchange_block(struct exchange *x, struct call *c, size_t i, struct filter_block *ret);
/* One call of replace(m, ctx). `gone`: bytes of the block before text[0]. */
struct match;
enum call_state exchange_replace(struct exchange *x, struct call *c, size_t i, const char *text, const struct match *hit, size_t gone);
/* One call of text or check: on held + new text (raw), or on one unit. */
enum call_state exchange_filter(struct exchange *x, struct call *c, size_t i, const char *text, size_t len, enum channel channel, bool last);
struct filter_result {
    enum { FILTER_PASS, FILTER_TEXT, FILTER_VERDICT } kind;   /* PASS: the text as it was, nothing held */
    const char *released; size_t released_len;         /* TEXT: strings of the call's coroutine: valid until call_finish */
    const char *held; size_t held_len;
    const char *moved; size_t moved_len;               /* for the reasoning channel */
    struct verdict verdict;                            /* VERDICT: REJECT, STOP or WRONG */
};
/* `text`: what the filter was shown (a match's text for replace). */
void exchange_filter_result(struct exchange *x, struct call *c, size_t i, const char *text, size_t len, struct filter_result *ret);

/* A Lua model's answer(req, out): runs until it waits. WAIT_OUTPUT: take the text with exchange_output, then call_resume(c, 0). */
enum call_state exchange_answer(struct exchange *x, struct call *c, const struct model *m);
/* What a model that has returned said: PASS, REJECT or WRONG. The call stays open. */
void exchange_answer_verdict(struct exchange *x, struct call *c, const struct model *m, struct verdict *ret);
const char *exchange_output(struct call *c, size_t *len);

/* The upstream request that the model's dialect makes of req. Owned. 0; or -1 and *f: what the dialect cannot say (400), or our mistake. */
struct ask {
    bool may_pass;                                     /* nobody here needs to understand the answer: when front and provider speak the same its bytes may pass (then ret->pass) */
    const struct buf *so_far;                          /* the model is to go on with this text; NULL: it begins */
    const char *changed_by;                            /* the policy whose filter may change the answer's text, so that logprobs cannot be told; NULL: none */
};
struct upstream_request {
    const char *target;                                /* the model's name in the gateway file; constant */
    char *url;
    struct header *headers;                            /* names and values owned */
    size_t n_headers;
    struct buf body;
    bool pass;                                         /* the answer's bytes go to the client as they come */
    bool stream;                                       /* the answer is a stream of events; else one document */
    unsigned n;                                        /* choices that were asked for, at least 1 */
    bool same;                                         /* front and provider speak the same */
    bool logprobs;                                     /* the client is to be told them */
};
int exchange_request(struct exchange *x, const struct model *m, const struct ask *ask, struct upstream_request *ret, struct failure *f);
void upstream_request_free(struct upstream_request *r);

/* What a rare event means, in order. 0; or -1: the dialect failed, told in the log. */
int exchange_event(struct exchange *x, const struct model *m, const char *bytes, size_t len, struct event_ops *ret);

/* What an error answer says of itself; each may be NULL. */
struct upstream_error { char *message, *code, *type, *param; };
void exchange_upstream_error(struct exchange *x, const struct model *m, int status, const char *body, size_t len, struct upstream_error *ret);
void upstream_error_free(struct upstream_error *e);
/* The embeddings in a provider's document as OpenAI's document, appended. 0 or -1. */
int exchange_embedded(struct exchange *x, const struct model *m, const char *body, size_t len, struct buf *out);

/* What a front with functions says at the edges of an answer's blocks (see struct front); each appends to `out`. `sequence` runs through one answer.
 * 0; or -1: the front failed, told in the log. */
struct front_block {
    unsigned choice;
    enum channel channel;
    unsigned index;                                    /* of all blocks and tool calls of the answer */
    const struct buf *text, *logprobs;                 /* all of it, where a front that gathers closes it: logprobs with a comma between two */
    const struct buf *signature;                       /* of a block of reasoning: what its model wants back with it; NULL: nothing */
};
int exchange_front_begin(struct exchange *x, const struct usage *u, uint64_t *sequence, struct buf *out);   /* u: what was told of it by now */
int exchange_front_again(struct exchange *x);          /* nothing of what was told has left: as if nothing were told */
int exchange_front_open(struct exchange *x, const struct front_block *b, uint64_t *sequence, struct buf *out, char **before, char **after, char **after_logprobs);   /* before NULL: it cannot tell this channel */
int exchange_front_logprobs(struct exchange *x, const struct front_block *b, struct buf *list);   /* a delta's: the list becomes what the front says instead */
int exchange_front_close(struct exchange *x, const struct front_block *b, uint64_t *sequence, struct buf *out);
struct front_call { unsigned choice, index; const struct buf *id, *name, *arguments, *signature; };   /* signature: what the model wants back with it, or empty */
int exchange_front_tool(struct exchange *x, const struct front_call *t, uint64_t *sequence, struct buf *out);
struct front_end { const struct ended { const char *finish, *stop_sequence; } *choices; unsigned n; struct usage usage; uint64_t tokens; size_t bytes; };   /* stop_sequence: that ended it; NULL: not told; bytes: of what was told */
int exchange_front_finish(struct exchange *x, const struct front_end *end, uint64_t *sequence, struct buf *out);
int exchange_front_fault(struct exchange *x, const struct failure *f, uint64_t *sequence, struct buf *out);
/* The whole answer as one document. */
struct gathered { unsigned choice; enum channel channel; struct buf text, id, name, logprobs, signature; bool over; };   /* channel TOOL_ARGS: a tool call, text its arguments */
int exchange_front_whole(struct exchange *x, const struct front_end *end, const struct gathered *blocks, size_t n, struct buf *out);
int exchange_front_respond(struct exchange *x, struct buf *out, struct failure *f);   /* 0, or -1: *f tells why not */
/* The model's name as the client knows it; lives until the next call into Lua. */
const char *exchange_public_model(struct exchange *x);
bool exchange_wants_usage(struct exchange *x);         /* the client asked for usage, or gets it without asking */

/* Runs all error hooks of the route (they may not wait) and lets them change *f; tells `ran` of each (NULL: nobody). Then exchange_error_body appends the front's JSON for it. Never fails: falls back to the built-in shape. */
void exchange_shape_error(struct exchange *x, struct failure *f, void (*ran)(void *arg, int policy, const struct call *c, bool failed), void *arg);
void exchange_error_body(struct exchange *x, const struct failure *f, struct buf *out);

/* The headers that ctx:header set so far, in order. Strings live until the next call into Lua. Returns how many of at most `max`. */
size_t exchange_headers(struct exchange *x, struct header *ret, size_t max);

/* Whether something was reserved in a store elsewhere (lua/sluice/store.lua) and not settled; and the call that gives it back, which may wait. */
bool exchange_owes(const struct exchange *x);
enum call_state exchange_give_back(struct exchange *x, struct call *c);

struct summary {                                       /* what log(sum, ctx) sees and what the log line says */
    const char *finish;                                /* "done" "client_closed" or the error's code */
    int status;
    bool complete;                                     /* the model's answer was told whole */
    uint64_t tokens, bytes;                            /* pieces of text received, bytes of text sent */
    int64_t first_token_ms, total_ms, held_ms;         /* -1: never */
    struct usage usage;
};
void exchange_summary(struct exchange *x, const struct summary *s);
/* Whom policies say that the client is: ctx.key where it is a text, else ctx.key.id. False: nobody. */
bool exchange_key(struct exchange *x, struct buf *ret);
/* Calls fn for each ctx:tag(name, value) so far, values as text. */
void exchange_tags(struct exchange *x, void (*fn)(void *arg, const char *name, const char *value), void *arg);

#endif
