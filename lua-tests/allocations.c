/* Preloaded: counts what the whole process asks of malloc, and the bytes that it holds. Loaded by Lua as well: a function
 * that tells both. */
#include <errno.h>
#include <lauxlib.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

static atomic_long allocations, held;

static void *given(void *memory)
{
    allocations++;
    held += (long)malloc_usable_size(memory);
    return memory;
}

void *malloc(size_t size) { return given(__libc_malloc(size)); }

void *calloc(size_t count, size_t size) { return given(__libc_calloc(count, size)); }

void *realloc(void *old, size_t size)
{
    held -= (long)malloc_usable_size(old);
    return given(__libc_realloc(old, size));
}

void *aligned_alloc(size_t alignment, size_t size) { return given(__libc_memalign(alignment, size)); }

void free(void *memory)
{
    held -= (long)malloc_usable_size(memory);
    __libc_free(memory);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    void *memory = aligned_alloc(alignment, size);
    if (!memory) return ENOMEM;
    *result = memory;
    return 0;
}

static int tell(lua_State *L)
{
    lua_pushinteger(L, allocations);
    lua_pushinteger(L, held);
    return 2;
}

int luaopen_allocations(lua_State *L)
{
    lua_pushcfunction(L, tell);
    return 1;
}
