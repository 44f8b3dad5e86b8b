/* A doubly linked list whose links live in its members. An empty list points at itself.
 *
 *     struct list all; list_init(&all);
 *     list_append(&all, &conn->link);
 *     list_each(link, &all) { struct conn *c = list_of(link, struct conn, link); ... }
 *
 * A link that is in no list points at itself too (after list_init or list_remove), so removing twice is harmless.
 */
#ifndef SLUICE_BASE_LIST_H
#define SLUICE_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define list_of(link, type, member) ((type *)(void *)((char *)(link) - offsetof(type, member)))
#define list_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* The member at hand may be removed (and freed) in the body; no other may. */
#define list_each_safe(it, head) \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head); it = it##_next, it##_next = it->next)

static inline void list_init(struct list *l) { l->next = l->prev = l; }
static inline bool list_empty(const struct list *l) { return l->next == l; }

static inline void list_append(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

#endif
