#include "base/list.h"

#include "check.h"

struct item { int n; struct list link; };

static int joined(struct list *head)
{
    int n = 0;

    list_each(it, head)
        n = n * 10 + list_of(it, struct item, link)->n;
    return n;
}

static void members_stay_in_order(void)
{
    struct list head;
    struct item a = { .n = 1 }, b = { .n = 2 }, c = { .n = 3 };

    list_init(&head);
    CHECK(list_empty(&head));
    CHECK_INT(0, joined(&head));
    list_append(&head, &a.link);
    list_append(&head, &b.link);
    list_append(&head, &c.link);
    CHECK_INT(123, joined(&head));
    list_remove(&b.link);
    CHECK_INT(13, joined(&head));
    list_remove(&b.link);                              /* twice is harmless */
    CHECK_INT(13, joined(&head));
    CHECK(list_empty(&b.link));
    list_append(&head, &b.link);
    CHECK_INT(132, joined(&head));
}

static void a_walk_may_free_the_member_at_hand(void)
{
    struct list head;

    list_init(&head);
    for (int i = 0; i < 5; i++) {
        struct item *it = calloc(1, sizeof *it);
        it->n = i;
        list_append(&head, &it->link);
    }
    list_each_safe(it, &head) {
        struct item *at = list_of(it, struct item, link);
        if (at->n % 2 == 0) {
            list_remove(&at->link);
            free(at);
        }
    }
    CHECK_INT(13, joined(&head));
    list_each_safe(it, &head)
        free(list_of(it, struct item, link));
}

int main(void)
{
    RUN(members_stay_in_order);
    RUN(a_walk_may_free_the_member_at_hand);
    return check_done();
}
