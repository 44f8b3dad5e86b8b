/* libcurl's multi interface on the loop ("socket action"): curl says which sockets and which alarm it wants, libuv tells it when.
 *
 * News never comes from inside a call that the owner made: curl_multi_socket_action is only called from loop callbacks, and so is what waits in
 * `later`. Easy handles go back to a free list; connections are kept by the multi handle.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "net/fetch_inside.h"

struct watch {                                         /* one socket of curl's */
    uv_poll_t poll;
    struct fetch_pool *pool;
    curl_socket_t socket;
};

/* After curl did something: whose transfer is over? */
static void reap(struct fetch_pool *p)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(p->multi, &left))) {
        struct fetch *f;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&f);
        fetch_over(f, code);
    }
}

/* --- curl's sockets and alarm ----------------------------------------------------------------------------------- */

static void act(struct fetch_pool *p, curl_socket_t socket, int flags)
{
    int running;

    p->in_curl++;
    curl_multi_socket_action(p->multi, socket, flags, &running);
    p->in_curl--;
    reap(p);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;

    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(w->pool, w->socket, flags);
}

static void on_alarm(uv_timer_t *t)
{
    act(t->data, CURL_SOCKET_TIMEOUT, 0);
}

static void handle_closed(struct fetch_pool *p)
{
    if (--p->handles == 0 && p->closing)
        free(p);
}

static void on_handle_closed(uv_handle_t *h) { handle_closed(h->data); }

static void on_watch_closed(uv_handle_t *h)
{
    struct watch *w = list_of(h, struct watch, poll);
    struct fetch_pool *p = w->pool;

    free(w);
    handle_closed(p);
}

static int on_want_socket(CURL *easy, curl_socket_t socket, int what, void *arg, void *socket_arg)
{
    struct fetch_pool *p = arg;
    struct watch *w = socket_arg;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (!w)
            return 0;
        curl_multi_assign(p->multi, socket, NULL);
        uv_poll_stop(&w->poll);
        uv_close((uv_handle_t *)&w->poll, on_watch_closed);
        return 0;
    }
    if (!w) {
        w = mem_alloc(sizeof *w);
        w->pool = p;
        w->socket = socket;
        if (uv_poll_init_socket(p->loop, &w->poll, socket) != 0) {
            free(w);
            return -1;
        }
        w->poll.data = w;
        p->handles++;
        curl_multi_assign(p->multi, socket, w);
    }
    uv_poll_start(&w->poll, events, on_socket);
    return 0;
}

static int on_want_alarm(CURLM *multi, long ms, void *arg)
{
    struct fetch_pool *p = arg;

    (void)multi;
    if (p->closing)
        return 0;
    if (ms < 0)
        uv_timer_stop(&p->alarm);
    else
        uv_timer_start(&p->alarm, on_alarm, (uint64_t)ms, 0);   /* 0 means soon: the loop's next turn, not now */
    return 0;
}

/* --- what must wait for the next turn --------------------------------------------------------------------------- */

static void on_busy(uv_idle_t *h) { (void)h; }

void fetch_pool_later(struct fetch *f)
{
    list_remove(&f->later_link);
    list_append(&f->pool->later, &f->later_link);
    uv_idle_start(&f->pool->busy, on_busy);
}

static void on_turn(uv_prepare_t *h)
{
    struct fetch_pool *p = h->data;
    struct list now;

    if (list_empty(&p->later))
        return;
    list_init(&now);
    while (!list_empty(&p->later)) {                   /* what these start anew waits for the next turn */
        struct list *it = p->later.next;
        list_remove(it);
        list_append(&now, it);
    }
    uv_idle_stop(&p->busy);
    while (!list_empty(&now)) {
        struct list *it = now.next;
        list_remove(it);
        fetch_do_now(list_of(it, struct fetch, later_link));
    }
    reap(p);
}

/* --- the pool --------------------------------------------------------------------------------------------------- */

int fetch_pool_open(struct fetch_pool **ret, uv_loop_t *loop)
{
    struct fetch_pool *p = mem_alloc(sizeof *p);

    p->loop = loop;
    p->multi = curl_multi_init();
    if (!p->multi) {
        free(p);
        return UV_ENOMEM;
    }
    list_init(&p->running);
    list_init(&p->later);
    uv_timer_init(loop, &p->alarm);
    uv_prepare_init(loop, &p->turn);
    uv_idle_init(loop, &p->busy);
    p->alarm.data = p->turn.data = p->busy.data = p;
    p->handles = 3;
    uv_prepare_start(&p->turn, on_turn);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_want_socket);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_want_alarm);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
    curl_multi_setopt(p->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    *ret = p;
    return 0;
}

void fetch_pool_close(struct fetch_pool *p)
{
    list_each_safe(it, &p->running) {
        struct fetch *f = list_of(it, struct fetch, link);
        f->cancelled = true;
        fetch_destroy(f);
    }
    p->closing = true;
    for (int i = 0; i < p->n_spare; i++)
        curl_easy_cleanup(p->spare[i]);
    curl_multi_cleanup(p->multi);                      /* its sockets' watches close by on_want_socket */
    uv_close((uv_handle_t *)&p->alarm, on_handle_closed);
    uv_close((uv_handle_t *)&p->turn, on_handle_closed);
    uv_close((uv_handle_t *)&p->busy, on_handle_closed);
}
