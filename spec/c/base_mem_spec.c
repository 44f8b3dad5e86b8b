#include "base/mem.h"

#include "check.h"

static void memory_comes_zeroed(void)
{
    char *p = mem_alloc(64);

    for (int i = 0; i < 64; i++)
        CHECK_INT(0, p[i]);
    free(p);
    p = mem_alloc(0);                                  /* still something to free */
    CHECK(p != NULL);
    free(p);
}

static void resize_keeps_what_was(void)
{
    char *p = mem_resize(NULL, 4);

    memcpy(p, "abc", 4);
    p = mem_resize(p, 4096);
    CHECK_STR("abc", p);
    p = mem_resize(p, 0);
    CHECK(p != NULL);
    free(p);
}

static void copies_end_with_a_nul(void)
{
    char *p = mem_copy("a\0bc", 3);

    CHECK_BYTES("a\0b\0", 4, p, 4);
    free(p);
    p = mem_copy(NULL, 0);
    CHECK_STR("", p);
    free(p);
    p = mem_string("text");
    CHECK_STR("text", p);
    free(p);
    CHECK(mem_string(NULL) == NULL);
}

static void format_is_as_long_as_it_must(void)
{
    char *p = mem_format("%s-%0500d", "n", 7);

    CHECK_INT(502, strlen(p));
    CHECK(p[0] == 'n' && p[501] == '7');
    free(p);
}

int main(void)
{
    RUN(memory_comes_zeroed);
    RUN(resize_keeps_what_was);
    RUN(copies_end_with_a_nul);
    RUN(format_is_as_long_as_it_must);
    return check_done();
}
