/* The watchdog: ends Lua calls that outlast their CPU budget, at no cost to those that do not.
 *
 *     worker                                 watchdog thread, each millisecond
 *     vm_enter: running = co, seq odd        sees seq odd: remembers it and the worker's CPU time
 *     ... Lua runs, and runs ...             sees the same seq, budget spent: kill_seq = seq, SIGURG to the worker
 *     handler: kill_seq == seq? arms a       (looks on; the signal is sent again while the call lives)
 *     (at a tenth of the budget the same way with slow_seq: the hook only notes where the call stands, for the log)
 *     count hook of 1 on `running`
 *     hook: yields for good, or raises; our pcall passes it on
 *     vm_leave: seq even, hook off
 *
 * The budget is CPU time of the worker's thread, so a worker that the kernel did not run is not blamed. A signal that comes late finds
 * another seq and does nothing. The handler touches only atomics of its own thread's VM and lua_sethook, as lua.c does.
 *
 * Where lines are noted (coverage.h) each state has a line hook. Lua knows one hook a state, so the one that is armed here notes lines too, and what
 * is put back is that line hook. A line costs more then, so budgets are COVERED times as long; and CHECKED times in a build with a sanitizer, which makes
 * every access cost more, and the kernel's count of processor time uneven.
 */
#include <assert.h>
#include <pthread.h>
#include <time.h>

#include "base/list.h"
#include "script/coverage.h"
#include "script/inside.h"

#define COVERED 10
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CHECKED 4
#else
#define CHECKED 1
#endif
#define SOFT 10                                        /* this part of a budget is told, all of it ends the call */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list vms = { &vms, &vms };
static pthread_t thread;
static bool started;
static _Atomic bool stopping;
static _Thread_local struct vm *volatile current;      /* the VM whose call runs on this thread */

static void line_hook(lua_State *L, lua_Debug *ar) { coverage_note(vm_of(L)->coverage, L, ar); }

void vm_rest(struct vm *vm, lua_State *L) { lua_sethook(L, vm->coverage ? line_hook : NULL, vm->coverage ? LUA_MASKLINE : 0, 0); }

static void kill_hook(lua_State *L, lua_Debug *ar)
{
    struct vm *vm = vm_of(L);

    if (ar->event == LUA_HOOKLINE) {
        line_hook(L, ar);
        return;
    }
    if (vm->killed != KILL_NOT) {
        vm_end_killed(L);                              /* in a hook a yield returns here first */
        return;
    }
    if (vm->slow == SLOW_FOUND && vm_place(L, vm->slow_at, sizeof vm->slow_at, vm->slow_in, sizeof vm->slow_in))
        vm->slow = SLOW_SEEN;
    if (vm->slow == SLOW_FOUND)
        return;                                        /* within one of our own functions: look again at the next instruction */
    vm_rest(vm, L);                                    /* noted, or left over from a call that is gone */
    vm->armed = NULL;
}

__attribute__((no_sanitize("thread"))) static void on_signal(int sig)
{
    struct vm *vm = current;
    lua_State *running;

    (void)sig;
    if (!vm)
        return;
    running = atomic_load(&vm->running);
    if (atomic_load(&vm->kill_seq) == atomic_load(&vm->seq)) {
        if (vm->killed == KILL_NOT)
            vm->killed = KILL_CPU;
    } else if (atomic_load(&vm->slow_seq) == atomic_load(&vm->seq) && vm->slow == SLOW_NOT) {
        vm->slow = SLOW_FOUND;
    } else {
        return;
    }
    if (vm->armed == running)
        return;                                        /* arming walks the whole call stack: not twice */
    vm->armed = running;
    lua_sethook(running, kill_hook, LUA_MASKCOUNT | (vm->coverage ? LUA_MASKLINE : 0), 1);
}

static int64_t cpu_of(struct vm *vm)
{
    struct timespec t;

    if (clock_gettime((clockid_t)atomic_load(&vm->clock), &t) != 0)
        return -1;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* One look at one VM. True: a call runs there or ran since the last look. */
static bool look(struct vm *vm)
{
    uint64_t seq = atomic_load_explicit(&vm->seq, memory_order_acquire);
    bool news = seq != vm->seen_seq;
    bool stop = vm->stop && atomic_load(vm->stop);
    unsigned budget = stop ? 1 : atomic_load_explicit(&vm->budget_ms, memory_order_relaxed);
    int64_t cpu;

    if ((seq & 1) == 0 || budget == 0) {
        vm->seen_seq = seq;
        return news;
    }
    cpu = cpu_of(vm);
    if (news) {
        vm->seen_seq = seq;
        vm->seen_cpu_ns = cpu;
        return true;
    }
    int64_t spent = cpu >= 0 ? cpu - vm->seen_cpu_ns : 0;
    if (spent >= (int64_t)budget * 1000000)
        atomic_store(&vm->kill_seq, seq);
    else if (spent >= (int64_t)budget * 1000000 / SOFT && atomic_load(&vm->slow_seq) != seq)
        atomic_store(&vm->slow_seq, seq);
    else
        return true;
    pthread_kill((pthread_t)atomic_load(&vm->thread), SIGURG);
    return true;
}

/* A busy process is looked at each millisecond; one where nothing ran for a while each fifth, to let the machine sleep. */
static void *watch(void *arg)
{
    unsigned idle = 0;

    while (!atomic_load(&stopping)) {
        struct timespec pause = { 0, idle < 100 ? 1000000 : 5000000 };
        bool news = false;

        nanosleep(&pause, NULL);
        pthread_mutex_lock(&lock);
        list_each(link, &vms) {
            if (look(list_of(link, struct vm, link)))
                news = true;
        }
        pthread_mutex_unlock(&lock);
        idle = news ? 0 : idle + 1;
    }
    return arg;
}

/* ThreadSanitizer holds signals back until the thread calls into libc, which a Lua loop never does: there the handler is set behind its back. */
#if defined(__SANITIZE_THREAD__)
extern int __sigaction(int, const struct sigaction *, struct sigaction *);
#define set_handler __sigaction
#else
#define set_handler sigaction
#endif

int watchdog_start(void)
{
    struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigset_t all, old;
    int failed;

    assert(!started);
    sigemptyset(&act.sa_mask);
    if (set_handler(SIGURG, &act, NULL) != 0)
        return -1;
    atomic_store(&stopping, false);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);          /* signals of the process are for others */
    failed = pthread_create(&thread, NULL, watch, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    started = !failed;
    return failed ? -1 : 0;
}

void watchdog_stop(void)
{
    if (!started)
        return;
    atomic_store(&stopping, true);
    pthread_join(thread, NULL);
    started = false;
}

void watchdog_add(struct vm *vm)
{
    pthread_mutex_lock(&lock);
    list_append(&vms, &vm->link);
    pthread_mutex_unlock(&lock);
}

void watchdog_remove(struct vm *vm)
{
    pthread_mutex_lock(&lock);
    list_remove(&vm->link);
    pthread_mutex_unlock(&lock);
}

/* Under the lock: the watchdog does not look at it meanwhile, so no signal is on its way to this thread once it is given. And its next thread may, when
 * this one has ended, have the same pthread_t, but another clock. */
void vm_give(struct vm *vm)
{
    pthread_mutex_lock(&lock);
    vm->stop = NULL;
    atomic_store(&vm->thread, 0);
    pthread_mutex_unlock(&lock);
}

void vm_enter(struct vm *vm, lua_State *co, unsigned budget_ms)
{
    unsigned long self = (unsigned long)pthread_self();

    assert(!current);                                  /* a call never starts inside a call */
    vm->killed = KILL_NOT;
    vm->slow = SLOW_NOT;
    vm->slow_at[0] = '\0';
    vm->killed_at[0] = vm->short_at[0] = '\0';
    vm->armed = NULL;
    vm->wait = WAIT_NOTHING;
    vm->churn_limit = vm->allocated + vm->churn_cap;
    vm->grew = false;
    if (atomic_load_explicit(&vm->thread, memory_order_relaxed) != self) {
        clockid_t clock;
        int failed = pthread_getcpuclockid(pthread_self(), &clock);

        assert(!failed);
        atomic_store(&vm->clock, (int)clock);
        atomic_store(&vm->thread, self);
    }
    atomic_store_explicit(&vm->running, co, memory_order_relaxed);
    atomic_store_explicit(&vm->budget_ms, budget_ms * CHECKED * (vm->coverage ? COVERED : 1), memory_order_relaxed);
    current = vm;
    atomic_store_explicit(&vm->seq, atomic_load_explicit(&vm->seq, memory_order_relaxed) + 1, memory_order_release);
    if (vm->metrics)
        metrics_add(vm->metrics, METRIC_lua_calls, 1);
}

void vm_leave(struct vm *vm)
{
    atomic_store_explicit(&vm->seq, atomic_load_explicit(&vm->seq, memory_order_relaxed) + 1, memory_order_release);
    current = NULL;
    if (vm->slow != SLOW_NOT && vm->metrics)
        metrics_add(vm->metrics, METRIC_lua_slow, 1);
    if (vm->killed != KILL_NOT || vm->armed) {
        vm_rest(vm, atomic_load(&vm->running));
        if (vm->metrics && vm->killed != KILL_NOT)
            metrics_add(vm->metrics, METRIC_lua_killed, 1);
    }
    atomic_store_explicit(&vm->running, NULL, memory_order_relaxed);
    vm->churn_limit = UINT64_MAX;
    vm->no_wait = 0;
    vm->no_wait_why = NULL;
}
