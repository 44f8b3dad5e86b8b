/* What fetch.c (one transfer) and fetch_pool.c (all of a worker's, on the loop) share. */
#ifndef SLUICE_NET_FETCH_INSIDE_H
#define SLUICE_NET_FETCH_INSIDE_H

#include <curl/curl.h>

#include "base/list.h"
#include "net/fetch.h"

#define FREE_EASY_MAX 64
#define IDLE_CONNECTIONS 256

struct fetch_pool {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t alarm;                                  /* curl's */
    uv_prepare_t turn;                                 /* does what `later` holds */
    uv_idle_t busy;                                    /* active while `later` holds something: the loop must not block */
    struct list running;
    struct list later;                                 /* what must not happen inside one of curl's calls, or inside the owner's */
    unsigned in_curl;                                  /* depth of curl calls that may bring news */
    CURL *spare[FREE_EASY_MAX];
    int n_spare;
    unsigned idle;                                     /* at most so many connections wait to be used again */
    int handles;                                       /* open uv handles, sockets' too */
    bool closing;
};

struct fetch {
    struct list link;                                  /* in pool->running */
    struct list later_link;                            /* in pool->later */
    struct fetch_pool *pool;
    struct fetch_events events;
    void *owner;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body;
    struct buf head;                                   /* name NUL value NUL ... of the response head */
    int n_head;
    bool head_told, held, paused, cancelled, added;
    char error[CURL_ERROR_SIZE];
};

/* fetch_pool.c */
void fetch_pool_later(struct fetch *f);                /* fetch_do_now comes in the loop's next turn */
/* fetch.c */
void fetch_do_now(struct fetch *f);                    /* what had to wait: a start, a release or a cancel */
void fetch_over(struct fetch *f, CURLcode code);       /* curl is done with it: tells its owner; frees it */
void fetch_destroy(struct fetch *f);                   /* tells nobody */

#endif
