/* What the files of stream/ share and nobody else sees.
 *
 *     stream.c   the states, the clocks, the feeds            hooks.c    the hooks of a phase, one after another
 *     end.c      the one way to end
 *     attempt.c  one try after another, until a model answers: pick.c, which
 *     hedge.c    a second try beside one that is slow to begin
 *     source.c   upstream bytes or a Lua model -> pieces      event.c    what one event means     piece.c    pieces
 *     reply.c    a policy's answer in place of a model's
 *     sieve.c    pieces through the filters: stage.c, one filter
 *     answer.c   text, errors and the end, in the client's dialect: as events (told.c: fronts with functions), or gathered into one document (whole.c)
 *     continue.c a model that died behind text that was sent: another goes on (on_death = "continue")
 *     window.c   the beginning of an answer is held back for a while (prerelease)
 *     services.c calls of services for whatever runs        beside.c   calls beside the stream: gate.c (beside the model), check.c (beside the text)
 *     policies.c who takes part, who failed                 shadow.c   policies in monitor mode
 *     tools.c    tool calls, gathered until they are whole   logprobs.c what the model says of its tokens
 *     trace.c    the time line, for who looks
 *
 * Each feed does its work and ends with `settle`, which alone may let go of the stream.
 */
#ifndef SLUICE_STREAM_INSIDE_H
#define SLUICE_STREAM_INSIDE_H

#include "base/target.h"
#include "match/matcher.h"
#include "script/call.h"
#include "script/desk.h"
#include "stream/stream.h"
#include "wire/lines.h"
#include "wire/sse.h"
#include "wire/utf8.h"

enum state {
    ADMIT,                                             /* hooks look at the request */
    CONNECT,                                           /* a model was asked; nothing useful came yet */
    FLOW,                                              /* text passes */
    LOGGING,                                           /* the client's side is over; log hooks run */
    CLOSED,                                            /* told to the host */
    STATE_COUNT
};

enum { HELD_BY_CLIENT = 1, HELD_BY_POLICY = 2, HELD_BY_GATE = 4 };

enum clock { CLOCK_FIRST_TOKEN, CLOCK_GAP, CLOCK_HEDGE, CLOCK_TOTAL, CLOCK_HEARTBEAT, CLOCK_WINDOW, CLOCK_CALL, CLOCK_ANSWER, CLOCK_WAITS, CLOCK_TURN,
             CLOCK_SERVICE, CLOCK_NEWS, CLOCK_BESIDE, CLOCK_SHADOW, CLOCK_RETRY, CLOCK_COUNT };

/* Some text of one channel on its way to the client, or the end of that channel's block, or the end of all. */
struct piece {
    enum { PIECE_TEXT, PIECE_LAST, PIECE_TOOL, PIECE_PASS, PIECE_DONE } kind;   /* TOOL: the arguments of one tool call have passed; PASS: bytes as they came */
    enum channel channel;
    unsigned char choice;                              /* most answers have one, number 0 */
    bool useful;                                       /* PASS: more than a formality: from here on the answer is this try's */
    size_t off, len;                                   /* in stream.texts */
    size_t chars;                                      /* PASS: so many characters of text are in it */
    size_t signature, signature_len;                   /* LAST of reasoning, in stream.texts: what its model wants back with it, if ... */
    uint64_t print;                                    /* ... the block's text leaves as it came, which is known by this */
};

/* A choice's channel: filters hold the text of each apart. */
typedef unsigned lane_t;
#define LANE(choice, channel) ((lane_t)(choice) * CHANNEL_COUNT + (lane_t)(channel))
#define CHOICES_MAX 16

/* One of the answers that a model gives to one request (n = 3: three). */
struct choice {
    bool in_block;                                     /* text of `block` came and its end did not */
    enum channel block;
    struct utf8_mender mender[CHANNEL_COUNT];
    char finish[32];                                   /* the finish reason, as OpenAI says it; "": it was not told */
    char *stop_sequence;                               /* that ended it, where the model told; else NULL */
    bool called;                                       /* it called tools, which nobody here looks at */
    unsigned n_tools;                                  /* calls that left */
    uint64_t came, left;                               /* prints of the block of reasoning that comes, that leaves */
    /* On the client's side. */
    bool open;                                         /* a block of channel `told` was begun there */
    enum channel told;
    unsigned index;                                    /* of that block, among all of the answer */
    char *before, *after;                              /* what the front says around a delta of it; NULL: the front cannot tell this channel */
    char *after_logprobs;                              /* the same behind a delta that has logprobs; NULL: the front cannot tell them */
    struct buf said, said_logprobs;                    /* its text so far, for a front that gathers; and its logprobs, a comma between two ... */
    bool long_logprobs;                                /* ... unless they are too long for that */
    struct logprobs *logprobs;                         /* logprobs.c; NULL: none */
};

/* What one filter holds of one channel's block. */
struct held {
    struct scan scan;                                  /* scan.at: what is before has passed (kept as context) */
    bool asked, applies;                               /* when and unit were asked for this block */
    struct unit unit;
    size_t ahead;                                      /* bytes behind scan.at that have left before their check (optimistic) */
    bool moved;                                        /* text of this block went to the reasoning channel, and that block did not end */
    struct matcher *match;                             /* what this block looks for, when the filter had to be asked */
};
/* A call of Lua that runs beside the stream (beside.c). The first member of what it is of. */
struct beside {
    struct list link;
    struct call call;
    const struct beside_kind {
        void (*took)(struct stream *s, struct beside *b, enum call_state got);   /* it has returned or failed */
        void (*late)(struct stream *s, struct beside *b);                        /* it has waited longer than it may */
        void (*drop)(struct stream *s, struct beside *b);                        /* ends and frees it */
    } *kind;
    uint64_t began, due, until;                        /* when it began; is to be resumed (0: news only); when its time is up */
    bool over;
};

/* Which model is tried, where the plan names more than one or something is known of it (pick.c). */
struct pick {
    const struct model *pool;                          /* that the model was picked from; NULL: the plan names it itself */
    unsigned tried;                                    /* of the pool at plan_at: a bit for each member that was tried */
    unsigned retries;                                  /* of the model */
    struct target_place place;                         /* the model's, while it is tried or answers */
    bool full;                                         /* of those that were passed over one was only full ... */
    uint64_t wait_ms;                                  /* ... and the first of them may be free in so long */
    bool asked;                                        /* what the pool's affinity says: */
    struct buf affinity;
};

#define PIECES_MAX 12                                  /* one event gives at most two a channel and the end */

enum source_got { SOURCE_MORE, SOURCE_PIECES, SOURCE_FAILED };

/* An upstream's head, for the response hooks of a route that may hedge: they run for the try that answers. */
struct kept_head { int status; struct header *headers; size_t n; };   /* status 0: none */

/* The second try of a hedge (hedge.c). Of its bytes only one thing is read: whether it has begun to answer. */
struct rival {
    enum { RIVAL_NONE, RIVAL_ASKED, RIVAL_RUNS } state;   /* ASKED: the attempt hooks run for it */
    const struct model *model;
    size_t plan_at;
    struct pick pick;                                  /* its place */
    unsigned number, which;                            /* of the tries; of the upstreams */
    bool pass, document, logprobs, signs;
    unsigned n;                                        /* choices that were asked for */
    bool open, useful;                                 /* useful: text or a tool call came */
    enum reason ended_why;                             /* when it is not open any more */
    uint64_t began;
    struct kept_head head;
    struct buf bytes;                                  /* all that came */
    struct sse_reader reader;
    struct lines_reader lines;
};

struct shadow;
struct trace;

struct stream {
    const struct stream_host *host;
    void *owner;
    const struct route *route;
    const struct front *front;                         /* what the client speaks */
    unsigned generation;                               /* of the gateway file; for the log */
    struct metrics *metrics;
    char id[40];
    const struct http_request *request;                /* NULL once it may be gone */
    bool head_only, options_only;                      /* HEAD: checks but no model; OPTIONS: accept hooks only */

    enum state state;
    unsigned held;                                     /* HELD_BY_... */
    bool client_gone, head_sent, upstream_open, failed, logged;
    enum reason reason;                                /* set with LOGGING */
    char *code;                                        /* the end reason as logged, when a policy chose the word */
    int status;                                        /* what the client got; 0: nothing */

    uint64_t due[CLOCK_COUNT];                         /* 0: off */
    uint64_t alarm;                                    /* what the host was last asked to wake us at; 0: nothing */
    const char *by_policy, *by_hook;                   /* whose word ended it, or whose failure; NULL: nobody's */
    char *finish;                                      /* why a policy ended the answer, in its words; NULL: it gave none */
    uint64_t closed_at;                                /* when the client's side was over; 0: it is not */
    uint64_t began, first_sent, last_sent, waiting_since, waited_ms;

    uint64_t tripped, ran, broke;                      /* policies.c: a bit a policy: its breaker is open; it ran; it failed */
    struct shadow *shadow;                             /* this stream is one: a policy in monitor mode; else NULL */
    struct stream *shadow_of;                          /* ... of this stream */
    struct shadow *shadows;                            /* [route->n_shadows]; NULL: none */
    struct trace *trace;                               /* its time line; NULL: nobody looks */
    struct exchange exchange;
    bool exchange_ok;
    struct call call;                                  /* the hook or filter that runs or waits */
    enum hook hook;                                    /* which phase ADMIT is in, or HOOK_LOG */
    bool giving_back;                                  /* behind the log hooks: what was reserved and never settled */
    size_t hook_at;

    const struct model *plan[PLAN_MAX];                /* to be tried, best first */
    size_t n_plan, plan_at;
    unsigned tries, number;                            /* begun so far; which of them answers or is tried */
    unsigned which;                                    /* its upstream's number at the host */
    bool trying;                                       /* a source runs */
    enum { AGAIN_UNSAID, AGAIN_NEXT, AGAIN_SAME, AGAIN_NOT } again;   /* what a fallback hook said */
    enum reason failed_why;                            /* of the try before */
    const struct model *model;                         /* that is tried, or answers */
    struct pick pick;
    bool streams;                                      /* the client gets events; else one document at the end */
    bool pass, document;                               /* the upstream's bytes go on as they come; they are one document, not events */
    struct sse_reader reader;
    struct lines_reader lines;
    struct choice one, *choices;                       /* [n_choices]; &one when there is one */
    unsigned n_choices;
    struct { bool on; int policy; const char *hook; } reply;   /* a policy answers in place of a model; whose word that was */
    struct event_ops ops;                              /* steps of a rare event, or of a reply ... */
    size_t op_at;                                      /* ... and the first that was not taken yet */
    bool ops_end;                                      /* the stream is over with them */
    unsigned ended_choices;                            /* at the end: those whose blocks have ended */
    const char *event_name;                            /* of the event that is being read; "": none */
    bool usage_wanted;                                 /* passing: the client asked for events that tell only usage, or need not ask */
    bool logprobs;                                     /* the client and the policies want them */
    bool logprobs_held;                                /* policies look at what they tell of */
    size_t logprobs_waiting;                           /* bytes of them */
    bool signs;                                        /* front and provider speak the same, so that signatures of reasoning are told */
    struct kept_head head;                             /* the response hooks have not seen it */
    bool unexpected;                                   /* the answer is of another type than asked for */
    int refused;                                       /* the upstream's status that is no 200: its body is being read; 0: none */
    struct buf body;                                   /* of that answer, or the document */
    struct upstream_error said;                        /* what it said of itself */
    struct call answer;                                /* a Lua model's answer */
    bool answer_started, answer_woken;
    struct desk desk;                                  /* calls of services under way */
    struct list beside;                                /* calls that run beside the stream: gates and checks, in the order they began */
    size_t n_gates, n_checks;
    bool checks_ready, checks_awaited;                 /* a check may be there to be collected; the sieve (or the end) waits for one */
    bool source_done, finish_seen, upstream_ended, useful;   /* useful: text or a tool call came */
    enum reason upstream_reason;
    char *detail;                                      /* for the log: what the network said */
    int upstream_status;
    int64_t retry_after;

    bool tools_wanted;                                 /* anybody looks at tool calls */
    struct tool *tools;                                /* gathered so far */
    size_t n_tools, tool_at, tools_size;               /* tool_at: the first that has not left; tools_size: bytes */
    bool tools_due, ending, tool_dropped;              /* due: what was gathered is whole; ending: then comes the end */
    struct buf tool_args, deferred;                    /* of the call that passes; an event that waits for the calls before it */

    struct buf texts;                                  /* the pieces' bytes */
    struct piece pieces[PIECES_MAX];
    unsigned n_pieces, piece_at;
    const struct piece *piece;                         /* on its way: one of `pieces`, or: */
    struct piece collected, moved;                     /* what checks let go; what a filter moved to another channel */
    struct buf moved_text;
    struct { bool on; const struct piece *piece; size_t stage; struct buf text; } later;   /* the piece that goes on behind the moved one */
    size_t stage;                                      /* the filter at work */
    bool sieving, flushing;                            /* flushing: decide as if the block ended here (overflow = "release") */
    struct buf sieve_text;                             /* on its way from one filter to the next */
    struct held *stages;                               /* [n_filters * choices * CHANNEL_COUNT]; NULL: nothing passed a filter yet */
    size_t n_stages;                                   /* the choices may be gone before them */
    bool *skipped;                                     /* [n_filters] stages taken out of this stream (on_error = "open") */
    size_t held_max;                                   /* the most bytes that one filter held back */
    size_t shown_from, shown_to;                       /* of the stage's text: what the running call was shown or asked about */
    struct verdict stop;                               /* sluice.stop was said (kind STOP): what is before it still passes the later filters */

    struct buf out;                                    /* gathered for one host.write */
    struct buf early;                                  /* passing: formalities before the first useful event */
    struct rival rival;
    bool hedged, hedging, hedge_won;                   /* there was one; this try is one; it was the first to answer */
    struct buf so_far;                                 /* continue.c: the text of the answer as its models gave it */
    bool text_alone;                                   /* nothing but such text came, and not too much of it */
    bool continuing;                                     /* this try goes on with it, and nothing came of it yet */
    struct buf trimmed;                                /* white space at its end, which the model was not shown and may say again */
    unsigned continued;                                /* tries that went on so */
    uint64_t tokens_before;                            /* of the tries before this one */
    bool begun, released;                              /* something of this try's answer was told; what is told may leave (window.c) */
    size_t window_chars, unreleased;                   /* told since then; told by tries that failed, and never sent */
    uint64_t sequence;                                 /* of events, for fronts that number them */
    unsigned n_blocks;                                 /* blocks and tool calls that were told */
    struct gathered *gathered;                         /* an answer that becomes one document */
    size_t n_gathered, gathered_bytes;
    uint64_t tokens, bytes_sent;
    struct usage usage;
};

/* stream.c */
void stream_move(struct stream *s, enum state to);
void stream_wait(struct stream *s, unsigned bit);                      /* hold ... */
void stream_go(struct stream *s, unsigned bit);                        /* ... and release */
void stream_clock(struct stream *s, enum clock c, uint64_t after_ms);  /* from now; 0: off */
/* The reason that a policy gave for the end (sluice.stop, sluice.reply) is kept for the log. */
void stream_finish_word(struct stream *s, const struct verdict *v);
void stream_record(struct stream *s);                                   /* record.c: writes the log line, counts the end */
void stream_ended_by(struct stream *s, const char *policy, const char *hook);   /* constants of the gateway */
const char *stream_end_word(const struct stream *s);                   /* how it ended, in one word */
void stream_resume_call(struct stream *s);                             /* the hook or filter that waits goes on */

void stream_drop_call(struct stream *s);                               /* ... is given up */

/* end.c */
void stream_close(struct stream *s, enum reason why);                  /* the client's side is over: cancel what runs, go to LOGGING */
void stream_fail(struct stream *s, enum reason why);
void stream_fail_with(struct stream *s, enum reason why, struct failure *f);   /* takes f's strings */
void stream_fail_of(struct stream *s, enum reason why, const char *policy, const char *hook);
enum reason stream_reason_of(const struct call *c);                    /* of a call that failed */
void stream_call_failed(struct stream *s, const char *policy, const char *hook);   /* s->call failed and the policy is closed */

/* hooks.c */
void hooks_start(struct stream *s);
void hooks_begin(struct stream *s, enum hook h);       /* the hooks of an answer, once what they are shown is made */
void hooks_next(struct stream *s);                     /* after the body came */
void hooks_resume(struct stream *s, enum call_state got);
void hooks_log(struct stream *s);                      /* starts the log hooks */

/* policies.c */
bool policies_admit(struct stream *s);                 /* before the first hook; false: the stream has failed */
enum policy_turn { POLICY_RUNS, POLICY_PASSES, POLICY_REFUSES };
/* May this policy's hook or filter run? PASSES: it takes no part. REFUSES: its breaker is open and so closed to clients; the stream has failed. */
enum policy_turn policy_turn(struct stream *s, int policy, unsigned open_bit, const char *hook);
void policy_failed(struct stream *s, int policy, const char *hook, const char *what);
void policies_settle(struct stream *s);                /* at the end: the breakers are told */

/* shadow.c */
void shadows_open(struct stream *s);
void shadows_start(struct stream *s);
void shadow_text(struct stream *s, size_t i, const struct piece *p, const char *text, size_t len, bool last);
void shadows_again(struct stream *s);                   /* the try failed: what they were shown of it is not the answer */
void shadows_end(struct stream *s, bool complete);     /* the answer is over */
void shadows_shutdown(struct stream *s, enum reason why);
bool shadows_run(struct stream *s);                    /* they get their turn; true: some are not over */
void shadows_tell(const struct stream *s, struct buf *out);   /* "pii:would_change,judge:would_reject:topic" */
void shadows_free(struct stream *s);
enum source_got shadow_next(struct stream *s);         /* of a shadow: its pieces */
void shadow_said(struct stream *s, const char *text, size_t len);   /* of a shadow: text that would leave */
void shadow_closes(struct stream *s, enum reason why);
/* stream.c, for them: a stream that nobody hears; its first hook; its turn. NULL: no memory in Lua. */
struct stream *stream_shadow(struct stream *parent, const struct route *r, const struct stream_host *host, struct shadow *w);
void stream_shadow_begin(struct stream *s);
void stream_shadow_turn(struct stream *s);

/* attempt.c */
void attempts_begin(struct stream *s);                 /* an answer is under way: from now on the client is shown that we live */
void attempts_start(struct stream *s);                 /* after the request hooks */
void attempt_ready(struct stream *s);                  /* after the attempt hooks */
void attempt_answers(struct stream *s, int status, const struct header *headers, size_t n);   /* the model has begun: response hooks */
void attempt_failed(struct stream *s, enum reason why);   /* the next try, or the stream fails */
void attempt_again(struct stream *s);                  /* after the fallback hooks */
void attempt_began(struct stream *s);                  /* text of the model has come, or its end: from now on there is one try */
void attempt_forget(struct stream *s);                 /* nothing is left of the try */
struct tried attempt_tried(const struct stream *s);    /* what hooks are told of it */
#define TRIES_MAX 10                                   /* upstream requests for one client request */

/* hedge.c */
void hedge_count(struct stream *s);                    /* a request came: its share of a hedge is earned */
void hedge_await(struct stream *s);                    /* starts the clock */
void hedge_begin(struct stream *s);                    /* it rang: attempt hooks for a second try ... */
void hedge_ready(struct stream *s);                    /* ... which is asked */
void hedge_refused(struct stream *s);                  /* ... or not */
void hedge_head(struct stream *s, int status, const struct header *headers, size_t n);
void hedge_feed(struct stream *s, const char *bytes, size_t len);
void hedge_end(struct stream *s, enum reason why);
bool hedge_wins(const struct stream *s);
void hedge_takes_over(struct stream *s, enum reason why);   /* it is the try now; the one before failed, or (DONE) was slower, and is forgotten */
void hedge_useful(struct stream *s);                   /* the try has begun to answer */
void hedge_hold(struct stream *s);
void hedge_release(struct stream *s);
void hedge_drop(struct stream *s);                     /* there is none any more */
void head_keep(struct kept_head *h, int status, const struct header *headers, size_t n);
void head_free(struct kept_head *h);

/* continue.c */
bool continue_possible(const struct stream *s, size_t *at);   /* can a model of the plan go on with what was sent? at: which */
void continue_prepare(struct stream *s);               /* the try has died: nothing of it is left but what came of it */
void continue_begin(struct stream *s);                 /* the next one is about to be asked */
bool continue_text(const struct stream *s, struct buf *view);   /* what it is to go on with, a view of it; false: it begins */
void continue_note(struct stream *s, enum channel c, size_t *off);   /* text of this try stands in s->texts from *off on; it may begin later */
void continue_not(struct stream *s);                   /* something came that nobody can go on with */
void continue_useful(struct stream *s);                /* the try has begun to answer */

void attempt_retry(struct stream *s);                  /* the wait before another try of the same model is over */
#define TRIES_MAX 10                                   /* upstream requests for one client request */

/* pick.c. The three set s->model, its place taken; false: none is left that is free. */
bool pick_first(struct stream *s);
bool pick_next(struct stream *s);                      /* the next member of the pool, or of the plan */
bool pick_again(struct stream *s);                     /* the same */
bool pick_more(const struct stream *s, enum reason why);   /* might pick_next find one? */
enum reason pick_none(struct stream *s);               /* why pick_first found none; sets s->retry_after */
int64_t pick_retry(const struct stream *s, enum reason why);   /* how long to wait for another try of this model, ms; -1: there is none */
void pick_answers(struct stream *s);                   /* its first text came */
void pick_leave(struct stream *s, enum reason why);    /* the try is over */
bool pick_at(struct stream *s, size_t at);             /* what the plan names there; where it is already: another member, or the same again */
bool pick_rival(struct stream *s, struct rival *ret);  /* another than the one that is tried, or the same once more: sets its model and its place */
void pick_rival_leave(struct stream *s, struct rival *r, enum reason why);
void pick_behind(struct stream *s, const struct rival *r);             /* it failed: the plan goes on behind it */
void pick_rival_takes_over(struct stream *s, struct rival *r);         /* s->model is the rival's, and its place (the first one's was left) */

/* reply.c. May end the stream. */
void reply_start(struct stream *s, struct verdict *v, int policy, const char *hook);   /* takes v's steps */
bool reply_is_nearer(const struct stream *s, int policy);   /* does this policy take part in the answer? All do in a model's */

/* services.c */
void services_init(struct stream *s);
void stream_call_waits(struct stream *s, struct call *c, enum clock clock);   /* after CALL_WAITS: has made what it wants, sets the clock of its wait */
void services_drop(struct stream *s, const struct call *c);            /* what that call asked for is not wanted any more; NULL: any call */
void services_answered(struct stream *s, struct service_call *w);
void services_expire(struct stream *s);
void services_wake_all(struct stream *s);

/* beside.c. begin: it is the stream's from now on; started: what its call did at once; end: it is nobody's. wake and ring may close the stream. */
void beside_begin(struct stream *s, struct beside *b, const struct beside_kind *kind, uint64_t may_take_ms);
void beside_started(struct stream *s, struct beside *b, enum call_state got);
void beside_end(struct stream *s, struct beside *b);
void beside_wake(struct stream *s, struct call *c);
void beside_wake_news(struct stream *s);
void beside_ring(struct stream *s);
void beside_close(struct stream *s);

/* gate.c. May close the stream. */
void gates_open(struct stream *s, struct gate_want *wants, enum hook hook);   /* takes the list */

/* check.c: checks of the filter at s->stage. The last `own` bytes of the text are what it judges; those before were shown to the check before, too. */
void check_start(struct stream *s, lane_t lane, const char *text, size_t len, size_t own, bool last);
enum check_got { CHECK_PASSED, CHECK_FAILED, CHECK_JUDGED };
struct check_failure { enum reason why; char *message; };   /* message: to be freed */
/* Appends to `text` what those let go that are over, in order, up to the first that runs, that failed (then all they judged is in `text`) or gave a verdict. */
enum check_got check_collect(struct stream *s, size_t stage, lane_t lane, struct buf *text, struct check_failure *failure, struct verdict *verdict);
void check_release(struct stream *s, size_t stage, lane_t lane, struct buf *text);   /* all end; what they judged, to `text` */
size_t check_count(const struct stream *s, size_t stage, lane_t lane, size_t *held);  /* held: bytes that they judge */
size_t check_held(const struct stream *s, size_t stage, lane_t lane);                    /* characters */
bool check_find_ready(struct stream *s, size_t *stage, lane_t *lane);                 /* where there is something to collect */
void check_await(struct stream *s);                    /* holds the stream until sieve_checked lets it go on */
void checks_close(struct stream *s);

/* tools.c */
struct json_token;
bool tools_wanted(const struct stream *s);
int tools_read(struct stream *s, unsigned choice, const struct json_token *list);   /* of one event; -1: not JSON, or too much */
int tools_piece(struct stream *s, unsigned choice, long index, const struct json_token *arguments);   /* a fragment of the arguments of that call */
int tools_add(struct stream *s, const struct event_op *op);
bool tools_waiting(const struct stream *s);
bool tools_next(struct stream *s);
void tool_whole(struct stream *s);                     /* its arguments have passed the filters */
void tool_leaves(struct stream *s);                    /* ... and the hooks */
void tools_free(struct stream *s);

/* logprobs.c: they do nothing where s->logprobs is off. */
int logprobs_add(struct stream *s, unsigned choice, enum channel channel, const char *list, size_t len);   /* of the text that came just before, a JSON list; -1: too much waits */
void logprobs_event(struct stream *s);                 /* another event is read */
void logprobs_text(struct stream *s, unsigned choice, enum channel channel, const char *text, size_t len);   /* that text came */
const struct buf *logprobs_leave(struct stream *s, const struct piece *p, size_t len);   /* ... and leaves: what leaves with it, a comma between two; NULL: nothing */
void logprobs_renew(struct stream *s);                 /* the try is over: tokens whose text did not come are not told */
bool logprobs_are_held(const struct stream *s);        /* whether policies look at anything that they may tell of */
void logprobs_free(struct choice *c);
const char *logprobs_changed_by(const struct stream *s);               /* the policy whose filter may change the text that they tell of; NULL: none */

/* piece.c */
void pieces_begin(struct stream *s);                   /* none yet */
void piece_add(struct stream *s, int kind, unsigned choice, enum channel c, size_t off, size_t len);
void piece_block_end(struct stream *s, unsigned choice);   /* the block that it is in, if any */
void piece_text(struct stream *s, unsigned choice, enum channel c, size_t off);   /* text stands in s->texts from `off` on */
void piece_signature(struct stream *s, unsigned choice, size_t off);   /* the block of reasoning ends; its signature stands in s->texts from `off` on */
uint64_t print_of(uint64_t so_far, const char *text, size_t len);
enum source_got pieces_complete(struct stream *s);     /* the answer is whole */
void piece_useful(struct stream *s);                   /* more than a formality came ... */
void piece_of_text(struct stream *s);                  /* ... text ... */
void piece_of_call(struct stream *s);                  /* ... a tool call */

/* event.c: one event of an upstream, or the step of a rare one, as pieces. */
enum source_got event_read(struct stream *s, const char *data, size_t len, enum reason *why);
int event_peek(struct stream *s, const struct model *m, const char *data, size_t len);   /* 1: text or a tool call; 0: neither; -1: it is broken, or an error */
enum source_got event_step(struct stream *s, enum reason *why);        /* the next steps of s->ops */
enum source_got event_document(struct stream *s, enum reason *why);    /* s->body is the whole answer */

/* source.c */
void source_start(struct stream *s);                   /* asks the upstream; may fail the try or the stream. (A Lua model starts when it is first pulled.) */
void source_head(struct stream *s, int status, const struct header *headers, size_t n);
void source_feed(struct stream *s, const char *bytes, size_t len);
void source_end(struct stream *s, enum reason why, const char *text);
bool source_may_pass(const struct stream *s);          /* nobody here needs to understand the answer */
bool source_expects(const struct model *m, bool document, const struct header *headers, size_t n);   /* is that the type that was asked for? */
void source_reset(struct stream *s);                   /* as before source_start */
void source_renew(struct stream *s);                   /* the same, but what came of it before stays */
void source_free(struct stream *s);
void source_choices(struct stream *s, unsigned n);     /* so many answers to one request, before the first text */
enum source_got source_next(struct stream *s, enum reason *why);
void source_await(struct stream *s);                   /* starts the first-token clock, if nothing useful came yet */
void source_gap(struct stream *s);                     /* starts the gap clock anew */
void source_stop(struct stream *s);                    /* cancels the upstream or the Lua model */

/* stage.c: the filter at s->stage. After NEXT_STAGE, what it let go is in s->sieve_text. */
enum pass { NEXT_STAGE, WORK_ON, OVER };               /* it is done; it has more to do; the stream waits or has ended */
const struct filter *stage_filter(const struct stream *s);
struct held *stage_held(struct stream *s, const struct piece *p);
bool stage_is_last(const struct stream *s, const struct piece *p);
enum pass stage_enter(struct stream *s, const struct piece *p, struct held *h);   /* takes s->sieve_text; never WORK_ON, as stage_work */
enum pass stage_work(struct stream *s, const struct piece *p, struct held *h);
enum pass stage_took(struct stream *s, const struct piece *p, struct held *h, enum call_state got);   /* the call that waited is over or waits again */
void stages_free(struct stream *s);

/* sieve.c */
void sieve_piece(struct stream *s);                    /* takes pieces[piece_at] as far as it goes */
void sieve_resume(struct stream *s, enum call_state got);
void sieve_collect(struct stream *s, size_t stage, lane_t lane);   /* between two pieces: what checks there let go passes the filters behind */
void sieve_checked(struct stream *s, size_t stage, lane_t lane);   /* a check there is over: goes on if it waits for that */
void sieve_reset(struct stream *s);                    /* nothing is held */
void sieve_free(struct stream *s);

/* trace.c: only where s->trace is there. Each of a call is told before call_finish. */
void trace_open(struct stream *s);
void trace_free(struct stream *s);
void trace_begins(struct stream *s);                   /* a hook's call is about to run in s->call */
uint64_t trace_began(const struct stream *s);
void trace_returned(struct stream *s, const char *what, int policy, const struct call *c, uint64_t began, const struct verdict *v);
void trace_failed(struct stream *s, const char *what, int policy, const struct call *c, uint64_t began);
void trace_given_up(struct stream *s, const char *what, int policy, const struct call *c, uint64_t began);
void trace_dropped(struct stream *s);                  /* s->call is about to be cancelled */
void trace_error_hook(void *stream, int policy, const struct call *c, bool failed);   /* does nothing where nobody looks */
void trace_service(struct stream *s, const struct service_call *w, bool given_up);
void trace_try(struct stream *s);
void trace_first(struct stream *s);                    /* its first piece of text came */
void trace_model_called(struct stream *s, const struct call *c);
void trace_try_over(struct stream *s, enum reason why);
void trace_rival_over(struct stream *s, const char *how);              /* s->rival is about to be dropped */
void trace_rival_takes_over(struct stream *s, const struct rival *r, enum reason why);   /* why: as hedge_takes_over */
void trace_filter_in(struct stream *s);                /* s->sieve_text comes to the filter at s->stage ... */
void trace_filter_out(struct stream *s, const struct held *h, lane_t lane);   /* ... and leaves it */
void trace_filter_matched(struct stream *s);
void trace_filter_waits(struct stream *s);
void trace_filter_called(struct stream *s, size_t stage, const struct call *c);
void trace_filter_checked(struct stream *s, size_t stage, const struct call *c, uint64_t began);
void trace_filter_did(struct stream *s, size_t stage, const char *what);
void trace_filter_judged(struct stream *s, const struct verdict *v);

/* answer.c */
void answer_piece(struct stream *s, const struct piece *p, const char *text, size_t len);   /* TEXT or LAST: that text of its channel left the filters */
void answer_text(struct stream *s, unsigned choice, enum channel channel, const char *text, size_t len);
void answer_tool(struct stream *s, struct front_call *call);   /* sets its index */
void answer_pass(struct stream *s, const char *bytes, const struct piece *p);
bool answer_begin(struct stream *s);                   /* text or a tool call is about to be told; true: the first of this try */
void answer_head(struct stream *s);                    /* the streamed answer begins, if it has not */
#define HEADERS_MAX 48
bool answer_respond(struct stream *s);                 /* a front that needs no model: true, it has answered (or failed) */
void answer_comment(struct stream *s, const char *text);
void answer_heartbeat(struct stream *s);
void answer_done(struct stream *s, enum reason why);   /* the answer is over, and with it the stream */
void answer_complete(struct stream *s);                /* the model is done */
void answer_document(struct stream *s, struct buf *body);              /* a whole answer, JSON */
void answer_failure(struct stream *s, struct failure *f);
void answer_head_only(struct stream *s);
void answer_options(struct stream *s);
void answer_reply(struct stream *s, const struct verdict *v);
void answer_stop(struct stream *s, const struct verdict *v);
void answer_flush(struct stream *s);
void answer_free(struct stream *s);
void answer_reset(struct stream *s);                   /* nothing was told; what a try before gathered is forgotten */

/* window.c: what is told stays in s->out while the window is open. */
bool window_holds(const struct stream *s);
void window_begin(struct stream *s);                   /* the first text is about to be told */
void window_told(struct stream *s, size_t chars);      /* so much more was told: may release it */
void window_release(struct stream *s);                 /* it leaves now, and what follows at once */
void window_drop(struct stream *s);                    /* what is held is forgotten */

/* told.c: fronts with functions. Each may fail the stream. */
struct said { unsigned choice; enum channel channel; const char *text; size_t len; const struct buf *logprobs; };   /* a delta; logprobs: NULL: none */
void told_text(struct stream *s, const struct said *said);
void told_block_end(struct stream *s, unsigned choice);
void told_signature(struct stream *s, const struct said *said, const struct buf *signature);   /* the block of reasoning ends with it; a block without text is begun for it */
void told_tool(struct stream *s, const struct front_call *call);
bool told_finish(struct stream *s);                    /* false: it failed the stream */

/* whole.c: an answer that becomes one document. */
void whole_text(struct stream *s, const struct said *said);
void whole_block_end(struct stream *s, const struct said *said, const struct buf *signature);   /* of reasoning; signature: "": none */
void whole_tool(struct stream *s, const struct front_call *call);
bool whole_send(struct stream *s);                     /* the answer is complete: a reply; false: it failed the stream */
void whole_free(struct stream *s);
const char *choice_finish(const struct stream *s, unsigned choice);   /* why it ended, in OpenAI's words; NULL: not told */
struct front_end whole_end(const struct stream *s, struct ended choices[CHOICES_MAX]);   /* how it ended, for fronts; `choices` is filled for it */

#endif
