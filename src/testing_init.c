/* world:init(): the policies' inits, on the virtual clock. What they ask of services is written down as a stream's calls are, and answered in the same way. */
#include <lauxlib.h>
#include <stdlib.h>

#include "base/mem.h"
#include "script/service.h"
#include "testing_world.h"

static void over(struct play *p)
{
    inits_end(p->inits);
    free(p->inits);
    p->inits = NULL;
    p->alarm = 0;
    testing_say_loaded(p);
    buf_free(&p->complaints);
}

void testing_init_go(struct play *p)
{
    p->alarm = inits_go(p->inits);
    if (p->alarm == 0)
        over(p);
}

/* They go on with the alarm, which rings at once. */
void testing_init_answered(struct play *p, struct service_call *w)
{
    inits_answered(p->inits, w);
    p->alarm = p->world->now;
}

void testing_init_give_up(struct play *p)
{
    if (p->inits)
        over(p);
}

int testing_init(lua_State *L, struct world *w)
{
    struct play *p = testing_play(w, 0);

    p->inits = mem_alloc(sizeof *p->inits);
    inits_begin(p->inits, w->gateway, &testing_desk, p, &p->complaints);
    testing_enter(p, L);
    testing_init_go(p);
    testing_leave(p, L);
    lua_pushinteger(L, p->id);
    return 2;
}
