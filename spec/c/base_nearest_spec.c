#include "base/nearest.h"

#include "check.h"

static const char *words(size_t i)
{
    static const char *const list[] = { "test", "types", "check", "coverage", NULL };
    return list[i];
}

static void finds_what_was_meant(void)
{
    CHECK_STR("test", nearest("tset", words));         /* swapped */
    CHECK_STR("test", nearest("test", words));
    CHECK_STR("check", nearest("checkk", words));
    CHECK_STR("check", nearest("chek", words));
    CHECK_STR("coverage", nearest("covrage", words));
    CHECK_STR("coverage", nearest("cvoerag", words));
}

static void what_is_far_is_not_near(void)
{
    CHECK(nearest("frob", words) == NULL);
    CHECK(nearest("", words) == NULL);
    CHECK(nearest("cov", words) == NULL);
    CHECK(nearest("coveragecoveragecoveragecoveragecoverage", words) == NULL);
}

int main(void)
{
    RUN(finds_what_was_meant);
    RUN(what_is_far_is_not_near);
    return check_done();
}
