/* See short.h. */
#include "short.h"

#include "rig.h"

#include <errno.h>

static unsigned long allocations, fail_at;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);

void short_at(unsigned long n)
{
	allocations = 0;
	fail_at = n;
}

bool short_was(void)
{
	return fail_at > 0 && allocations >= fail_at;
}

static bool is_short(void)
{
	if (!rig_in_engine || ++allocations != fail_at)
		return false;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return is_short() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return is_short() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return is_short() ? NULL : __real_realloc(p, size);
}
