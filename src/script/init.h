/* The policies' init(): one after another, once a VM, before its first request. One that fails refuses the whole generation.
 *
 * Without I/O, as a stream is: the owner has calls of services made (desk_host), tells answers, and comes again when it is asked to.
 *
 *     inits_begin(&in, gateway, &host, owner, complaints);
 *     while ((at = inits_go(&in)) != 0)
 *         wait until `at`, or until an answer was told by inits_answered;
 *     failed = inits_end(&in);                        also in the middle: what runs is given up
 */
#ifndef SLUICE_SCRIPT_INIT_H
#define SLUICE_SCRIPT_INIT_H

#include "script/call.h"
#include "script/desk.h"

struct buf;
struct gateway;

struct inits {
    struct gateway *gateway;
    struct buf *complaints;
    struct desk desk;
    size_t at;                                         /* the one that runs, of gateway->inits */
    struct call call;                                  /* open while that one waits ... */
    uint64_t since;                                    /* ... from then on, ms; */
    uint64_t waited;                                   /* what it waited before, in all */
    bool failed;                                       /* one did */
};

void inits_begin(struct inits *in, struct gateway *g, const struct desk_host *host, void *owner, struct buf *complaints);
uint64_t inits_go(struct inits *in);                   /* as far as it can now. 0: all are over; else when to come again, sooner or later does no harm */
void inits_answered(struct inits *in, struct service_call *w);   /* the host has filled it in; inits_go then goes on */
int inits_end(struct inits *in);                       /* 0; or -1: one failed or was given up, and why is in the complaints, a line each */

#endif
