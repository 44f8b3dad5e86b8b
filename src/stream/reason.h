/* Why a stream ended: one table for logs, status codes, error codes and the sentence that a person reads. */
#ifndef SLUICE_STREAM_REASON_H
#define SLUICE_STREAM_REASON_H

/*    name                 code for programs            status  whose      sentence */
#define REASONS(X)                                                                                                                          \
    X(DONE,                "done",                      200, "gateway",  "")                                                                \
    X(REPLIED,             "replied",                   200, "policy",   "")                                                                \
    X(STOPPED,             "stopped",                   200, "policy",   "")                                                                \
    X(REJECTED,            "rejected",                  400, "policy",   "The request was refused.")                                        \
    X(CLIENT_CLOSED,       "client_closed",             499, "client",   "The client left.")                                                \
    X(CONNECT_FAILED,      "upstream_connect_failed",   502, "upstream", "The model service could not be reached.")                         \
    X(CONNECT_TIMEOUT,     "upstream_connect_timeout",  504, "upstream", "The model service did not accept the connection in time.")        \
    X(RESOLVE_FAILED,      "upstream_resolve_failed",   502, "upstream", "The model service's host name was not found.")                    \
    X(TLS_FAILED,          "upstream_tls_failed",       502, "upstream", "The model service could not prove its identity.")                 \
    X(RESET,               "upstream_reset",            502, "upstream", "The connection to the model service broke before the answer was complete.") \
    X(TRUNCATED,           "upstream_truncated",        502, "upstream", "The model service ended before the answer was complete.")         \
    X(PROTOCOL,            "upstream_protocol",         502, "upstream", "The model service did not speak proper HTTP.")                    \
    X(DECODE_FAILED,       "upstream_decode_failed",    502, "upstream", "The model service sent compressed data that could not be read.")  \
    X(BAD_JSON,            "upstream_bad_json",         502, "upstream", "The model service sent something that could not be read.")        \
    X(UPSTREAM_ERROR,      "upstream_error",            502, "upstream", "The model service reported an error.")                            \
    X(BAD_STATUS,          "upstream_status",           502, "upstream", "The model service refused the request.")                          \
    X(REFUSED,             "upstream_refused",          400, "upstream", "The model service found the request wrong.")                      \
    X(RATE_LIMITED,        "upstream_rate_limited",     429, "upstream", "The model service is busy; try again later.")                     \
    X(MODEL_BUSY,          "model_busy",                429, "upstream", "All models for this request have as much to do as they may; try again later.") \
    X(MODEL_DOWN,          "model_unavailable",         503, "upstream", "No model for this request can be asked at the moment; try again later.") \
    X(NOT_STREAM,          "upstream_not_stream",       502, "upstream", "The model service did not answer with a stream.")                 \
    X(EVENT_TOO_LARGE,     "upstream_event_too_large",  502, "upstream", "The model service sent an event that is too large.")              \
    X(FIRST_TOKEN_TIMEOUT, "first_token_timeout",       504, "upstream", "The model did not begin to answer in time.")                      \
    X(GAP_TIMEOUT,         "gap_timeout",               504, "upstream", "The model stopped in the middle of its answer.")                  \
    X(TOTAL_TIMEOUT,       "total_timeout",             504, "gateway",  "The answer took longer than is allowed here.")                    \
    X(POLICY_ERROR,        "policy_error",              500, "policy",   "A policy of this gateway failed; the answer was ended.")          \
    X(POLICY_TIMEOUT,      "policy_timeout",            500, "policy",   "A policy of this gateway took too long; the answer was ended.")   \
    X(POLICY_MEMORY,       "policy_memory",             500, "policy",   "A policy of this gateway needed too much memory; the answer was ended.") \
    X(DEPENDENCY_FAILED,   "dependency_failed",         503, "policy",   "A service that this gateway needs did not answer; ask again.")   \
    X(MODEL_ERROR,         "model_error",               500, "gateway",  "The model of this gateway failed; the answer was ended.")         \
    X(REPLACED,            "replaced",                  503, "gateway",  "What answered you here was replaced before it was done; ask again.") \
    X(SHUTTING_DOWN,       "shutting_down",             503, "gateway",  "The gateway is shutting down; ask again.")                        \
    X(INTERNAL,            "internal_error",            500, "gateway",  "The gateway failed.")

enum reason {
#define X(name, code, status, kind, sentence) REASON_##name,
    REASONS(X)
#undef X
    REASON_COUNT
};

struct reason_text {
    const char *code;
    int status;                                        /* what a client gets when nothing was sent yet */
    const char *kind;                                  /* whose doing: "client" "policy" "upstream" "gateway" */
    const char *sentence;
};

const struct reason_text *reason_text(enum reason r);

#endif
