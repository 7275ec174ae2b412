/* Preloaded (LD_PRELOAD): counts the process's allocations and the bytes it holds; refuses an allocation on request, of
 * Lua's or of the module's. Also loaded by Lua, to which it gives functions that return both numbers, and that request a
 * refusal. */
#define _GNU_SOURCE
#include <dlfcn.h>
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

/* Which of Lua's next allocations on this thread is refused, counted from 1; 0: none. */
static _Thread_local long refused_request;
static _Thread_local int refused;

/* Whether `caller` is in Lua's library: Lua allocates everything with realloc. */
static int is_of_lua(void *caller)
{
    Dl_info lua, other;
    return dladdr((void *)lua_newstate, &lua) && dladdr(caller, &other) && lua.dli_fbase == other.dli_fbase;
}

/* How often Lua tries to allocate: all but 5.1 try again after a garbage collection. */
enum { TRIES = LUA_VERSION_NUM == 501 ? 1 : 2 };

/* One allocation is refused at each try. */
static int is_refused(void *old, size_t size, void *caller)
{
    if (!refused_request && !refused) return 0;
    if (malloc_usable_size(old) >= size || !is_of_lua(caller)) return 0;
    if (!refused && --refused_request) return 0;
    if (++refused == TRIES) refused = 0;
    return 1;
}

/* Which of the next allocations of at least `large` bytes is refused, counted from 1, on any thread; 0: none. Lua's do
 * not count. */
static size_t large;
static atomic_long large_request;

static int is_refused_large(size_t size, void *caller)
{
    if (large_request <= 0 || size < large || is_of_lua(caller)) return 0;
    if (large_request-- != 1) return 0;
    errno = ENOMEM;
    return 1;
}

#define REFUSE_LARGE(size) \
    if (is_refused_large(size, __builtin_return_address(0))) return NULL

static void *given(void *memory)
{
    allocations++;
    held += (long)malloc_usable_size(memory);
    return memory;
}

void *malloc(size_t size)
{
    REFUSE_LARGE(size);
    return given(__libc_malloc(size));
}

void *calloc(size_t count, size_t size)
{
    REFUSE_LARGE(count *size);
    return given(__libc_calloc(count, size));
}

void *realloc(void *old, size_t size)
{
    if (is_refused(old, size, __builtin_return_address(0))) return NULL;
    REFUSE_LARGE(size);
    held -= (long)malloc_usable_size(old);
    return given(__libc_realloc(old, size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
    REFUSE_LARGE(size);
    return given(__libc_memalign(alignment, size));
}

void free(void *memory)
{
    held -= (long)malloc_usable_size(memory);
    __libc_free(memory);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    if (is_refused_large(size, __builtin_return_address(0))) return ENOMEM;
    void *memory = given(__libc_memalign(alignment, size));
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

/* refuse(n): Lua's n-th allocation from here on is refused; refuse(0): none. Returns true if the refusal of the call
 * before has not happened yet. */
static int refuse(lua_State *L)
{
    lua_pushboolean(L, refused_request > 0);
    refused_request = (long)luaL_checkinteger(L, 1);
    refused = 0;
    return 1;
}

/* refuse(n, least): the n-th allocation of `least` bytes or more (1 KiB by default) from here on is refused; returns how
 * many of n are left. */
static int refuse_large(lua_State *L)
{
    long left = large_request;
    large_request = 0;
    large = (size_t)luaL_optinteger(L, 2, 1024);
    large_request = (long)luaL_checkinteger(L, 1);
    lua_pushinteger(L, left);
    return 1;
}

int luaopen_large_refusals(lua_State *L)
{
    lua_pushcfunction(L, refuse_large);
    return 1;
}

int luaopen_refusals(lua_State *L)
{
    lua_pushcfunction(L, refuse);
    return 1;
}

int luaopen_allocations(lua_State *L)
{
    lua_pushcfunction(L, tell);
    return 1;
}
