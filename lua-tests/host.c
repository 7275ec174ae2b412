/* A host with several Lua states in one process. The scripts get the globals `url` and `name` and the functions fork,
 * await, leave, stay, kill(child), clock (monotonic seconds), shut(descriptor), shut_all(seconds), occupy(kind, descriptor)
 * and touched().
 *
 *   host cycles N script url     N states, one after the other, each closed
 *   host both script url         two states on one thread: the script returns a function, called in turn until true
 *   host threads script url      two states, each on its own thread
 *   host fork script url         one state, and another in a forked child, which stays; the script returns a function,
 *                                called in the parent until true
 *   host children N script url   a state that N forked children go on using, one after the other: each, with the `name`
 *                                "child", calls the script's function until true and closes the state; then the parent
 *                                does the same
 *   host leaving script url      a state on its own thread, which waits in its script while the process ends; prints
 *                                the processor time in seconds that the process then takes within 1/3 s
 *   host signals script url      one state, while a timer sends a signal to the process each millisecond; prints how many
 *                                arrived on the state's thread and on others
 *   host aside N script url      one state, and N microseconds after its script has called begin(), another thread forks: the
 *                                child runs the script in a state of its own; prints the child's status from waitpid
 *   host heir script url         two states, the first on its own thread; the second is also in a forked child, where
 *                                its `name` is "heir": the script returns a function, called in both until true */
#define _GNU_SOURCE
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *script, *url;

static void check(lua_State *L, int status)
{
    if (!status) return;
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    _Exit(1);
}

/* fork() -> the child's process id, or 0 in the child. */
static int fork_here(lua_State *L)
{
    fflush(stdout);
    pid_t child = fork();
    if (!child) alarm(10);
    lua_pushinteger(L, child);
    return 1;
}

static int leave(lua_State *L)
{
    (void)L;
    fflush(stdout);
    _Exit(0);
}

/* stay(): until the process is killed. */
static int stay(lua_State *L)
{
    (void)L;
    for (;;) pause();
}

/* kill(child), and waits for its end. */
static int kill_child(lua_State *L)
{
    pid_t child = (pid_t)luaL_checkinteger(L, 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    return 0;
}

static int monotonic(lua_State *L)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    lua_pushnumber(L, (double)time.tv_sec + (double)time.tv_nsec / 1e9);
    return 1;
}

static int shut(lua_State *L)
{
    close((int)luaL_checkinteger(L, 1));
    return 0;
}

static void *shut_all(void *microseconds)
{
    usleep((useconds_t)(intptr_t)microseconds);
    close_range(3, ~0U, 0);
    return NULL;
}

/* shut_all(seconds): another thread closes all descriptors from 3 up after this time. */
static int shut_all_later(lua_State *L)
{
    pthread_t thread;
    pthread_create(&thread, NULL, shut_all, (void *)(intptr_t)(luaL_checknumber(L, 1) * 1e6));
    pthread_detach(thread);
    return 0;
}

/* The numbers below this that occupy() has given to descriptors of the host, and the text of each in /proc. */
enum { OCCUPIED = 64, TEXT = 1024 };
static char occupied[OCCUPIED][TEXT];
/* The other ends of sockets that occupy() has made; 0: none. */
static int others[OCCUPIED];

/* What the kernel shows of a descriptor: the count of an eventfd, the time of a timer, the entries of an epoll, what of a socket
 * is to be read, and an option. */
static void describe(int number, char *text)
{
    int option, bytes;
    if (!getsockopt(number, SOL_SOCKET, SO_KEEPALIVE, &option, &(socklen_t){sizeof option})) {
        if (ioctl(number, FIONREAD, &bytes)) bytes = -1;
        sprintf(text, "keepalive %d, %d bytes", option, bytes);
        return;
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", number);
    FILE *file = fopen(path, "r");
    size_t count = file ? fread(text, 1, TEXT - 1, file) : 0;
    text[count] = 0;
    if (file) fclose(file);
    char *left = strstr(text, "it_value"); /* the seconds that are left change */
    struct itimerspec time;
    if (left && !timerfd_gettime(number, &time)) sprintf(left, "armed %d", time.it_value.tv_sec > 3600);
}

static void connect_tcp(int ends[2])
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &size) ||
        connect(ends[0], (struct sockaddr *)&address, size) || (ends[1] = accept(listener, NULL, NULL)) < 0)
        abort();
    close(listener);
}

static void connect_udp(int ends[2])
{
    struct sockaddr_in addresses[2];
    socklen_t size = sizeof *addresses;
    for (int i = 0; i < 2; i++) {
        addresses[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        ends[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (bind(ends[i], (struct sockaddr *)&addresses[i], size)) abort();
        getsockname(ends[i], (struct sockaddr *)&addresses[i], &size);
    }
    for (int i = 0; i < 2; i++)
        if (connect(ends[i], (struct sockaddr *)&addresses[1 - i], size)) abort();
}

/* A socket of the host, for `number`. */
static int make_socket(const char *kind, int number)
{
    int ends[2], type = !strcmp(kind, "datagram") ? SOCK_DGRAM : SOCK_STREAM;
    if (!strcmp(kind, "tcp")) {
        connect_tcp(ends);
    } else if (!strcmp(kind, "udp")) {
        connect_udp(ends);
    } else if (socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends)) {
        abort();
    }
    /* It would be on if the socket were ours. */
    setsockopt(ends[0], SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    if (send(ends[1], "for the host", 12, 0) != 12) abort();
    others[number] = fcntl(ends[1], F_DUPFD_CLOEXEC, OCCUPIED);
    close(ends[1]);
    return ends[0];
}

/* occupy(kind, number [, entry]): the host closes a descriptor, and its own "eventfd", "timerfd", "epoll", Unix "socket" or
 * "datagram" socket, or its "tcp" or "udp" socket gets the number. The eventfd that
 * the "epoll" holds gets the number `entry`. */
static int occupy(lua_State *L)
{
    const char *kind = luaL_checkstring(L, 1);
    int number = (int)luaL_checkinteger(L, 2), own;
    luaL_argcheck(L, number < OCCUPIED, 2, "is too large");
    if (!strcmp(kind, "eventfd")) {
        own = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    } else if (!strcmp(kind, "timerfd")) {
        struct itimerspec day = {.it_value = {.tv_sec = 86400}};
        own = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        timerfd_settime(own, 0, &day, NULL);
    } else if (!strcmp(kind, "socket") || !strcmp(kind, "datagram") || !strcmp(kind, "tcp") || !strcmp(kind, "udp")) {
        own = make_socket(kind, number);
    } else {
        /* Its only entry is always readable, and reported once. */
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = 42};
        int counter = eventfd(1, EFD_CLOEXEC);
        int entry = lua_isnoneornil(L, 3) ? fcntl(counter, F_DUPFD_CLOEXEC, OCCUPIED)
                                          : dup2(counter, (int)luaL_checkinteger(L, 3));
        close(counter);
        own = epoll_create1(EPOLL_CLOEXEC);
        epoll_ctl(own, EPOLL_CTL_ADD, entry, &event);
    }
    dup2(own, number);
    close(own);
    describe(number, occupied[number]);
    return 0;
}

/* touched() -> the number and the text of a descriptor of occupy() that is closed or has changed, or the number of a socket
 * whose other end has got something; or nothing. */
static int touched(lua_State *L)
{
    for (int number = 0; number < OCCUPIED; number++) {
        char text[TEXT];
        if (!occupied[number][0]) continue;
        struct pollfd other = {.fd = others[number], .events = POLLIN};
        if (others[number] && poll(&other, 1, 0)) {
            lua_pushfstring(L, "%d: %d bytes", number, (int)recv(other.fd, text, sizeof text, MSG_DONTWAIT));
            return 1;
        }
        describe(number, text);
        if (strcmp(text, occupied[number])) {
            lua_pushfstring(L, "%d was:\n%s\nand is:\n%s", number, occupied[number], text);
            return 1;
        }
    }
    return 0;
}

static double processor_time(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Registered with atexit before the module is loaded, so called after the module's own handler. */
static void measure_exit(void)
{
    double before = processor_time();
    struct timespec third = {.tv_nsec = 333333333};
    nanosleep(&third, NULL);
    printf("%.2f\n", processor_time() - before);
    fflush(stdout);
}

static volatile bool has_begun;

static int begin(lua_State *L)
{
    (void)L;
    has_begun = true;
    return 0;
}

/* await(child) -> its status from waitpid. */
static int await_child(lua_State *L)
{
    int status = 0;
    waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0);
    lua_pushinteger(L, status);
    return 1;
}

static void set_name(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    lua_setglobal(L, "name");
}

static lua_State *start(const char *name)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    lua_register(L, "fork", fork_here);
    lua_register(L, "await", await_child);
    lua_register(L, "begin", begin);
    lua_pushstring(L, url);
    lua_setglobal(L, "url");
    set_name(L, name);
    lua_register(L, "leave", leave);
    lua_register(L, "stay", stay);
    lua_register(L, "kill", kill_child);
    lua_register(L, "clock", monotonic);
    lua_register(L, "shut", shut);
    lua_register(L, "shut_all", shut_all_later);
    lua_register(L, "occupy", occupy);
    lua_register(L, "touched", touched);
    check(L, luaL_loadfile(L, script));
    check(L, lua_pcall(L, 0, 1, 0));
    return L;
}

static void *run(void *name)
{
    lua_close(start(name));
    return NULL;
}

/* Calls the function that the script has returned. */
static int step(lua_State *L)
{
    lua_pushvalue(L, -1);
    check(L, lua_pcall(L, 0, 1, 0));
    int done = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return done;
}

static void step_until_true(lua_State *L)
{
    while (!step(L)) continue;
}

/* The modes; `count` is N. */

static void cycles(int count)
{
    for (int i = 0; i < count; i++) run("cycle");
}

static volatile int own_signals, other_signals;

static void count_signal(int number)
{
    (void)number;
    if (gettid() == getpid()) own_signals++;
    else other_signals++;
}

static void signals(int count)
{
    (void)count;
    struct timeval millisecond = {.tv_usec = 1000};
    struct itimerval each = {millisecond, millisecond}, never = {0};
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &each, NULL);
    run("signals");
    setitimer(ITIMER_REAL, &never, NULL);
    printf("%d %d\n", own_signals, other_signals);
}

static void both(int count)
{
    (void)count;
    lua_State *a = start("a"), *b = start("b");
    for (int done = 0; done != 3;) {
        if (!(done & 1)) done |= step(a);
        if (!(done & 2)) done |= step(b) << 1;
    }
    lua_close(a);
    lua_close(b);
}

static void threads(int count)
{
    (void)count;
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, run, "a");
    pthread_create(&threads[1], NULL, run, "b");
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
}

static void fork_beside(int count)
{
    (void)count;
    lua_State *L = start("parent");
    pid_t child = fork();
    if (!child) {
        lua_close(start("child"));
        fflush(stdout);
        for (;;) pause();
    }
    step_until_true(L);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    lua_close(L);
}

static void children(int count)
{
    lua_State *L = start("parent");
    for (int i = 0; i < count; i++) {
        fflush(stdout);
        pid_t child = fork();
        if (!child) {
            alarm(10); /* a child that hangs ends by itself */
            set_name(L, "child");
            step_until_true(L);
            lua_close(L);
            fflush(stdout);
            _Exit(0); /* the parent's objects, which the child never frees, would be a leak to a sanitizer */
        }
        int status;
        waitpid(child, &status, 0);
        if (status) printf("child %d: %d\n", i, status);
        step(L);
    }
    step_until_true(L);
    lua_close(L);
}

static int delay; /* microseconds */

static void *fork_here_later(void *argument)
{
    (void)argument;
    while (!has_begun) continue;
    struct timespec time = {.tv_nsec = delay * 1000L};
    nanosleep(&time, NULL);
    pid_t child = fork();
    if (!child) {
        alarm(10);
        start("child");
        _Exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%d\n", status);
    return NULL;
}

static void aside(int count)
{
    delay = count;
    pthread_t thread;
    pthread_create(&thread, NULL, fork_here_later, NULL);
    lua_State *L = start("parent");
    pthread_join(thread, NULL);
    lua_close(L);
}

static void leaving(int count)
{
    (void)count;
    pthread_t thread;
    atexit(measure_exit);
    lua_State *L = start("first");
    pthread_create(&thread, NULL, run, "second");
    step_until_true(L);
    exit(0);
}

static void heir(int count)
{
    (void)count;
    pthread_t first;
    pthread_create(&first, NULL, run, "first");
    lua_State *L = start("second");
    pid_t child = fork();
    if (!child) set_name(L, "heir");
    step_until_true(L);
    if (!child) _Exit(0);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    puts("done");
    fflush(stdout);
    _Exit(0); /* the first thread never ends */
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(int count);
    } modes[] = {
        {"cycles", cycles},    {"signals", signals},   {"both", both},       {"threads", threads},
        {"fork", fork_beside}, {"children", children}, {"leaving", leaving}, {"heir", heir},
        {"aside", aside},
    };
    if (argc < 4) return 2;
    script = argv[argc - 2];
    url = argv[argc - 1];
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(argv[1], modes[i].name)) continue;
        modes[i].run(atoi(argv[2]));
        puts("done");
        return 0;
    }
    return 2;
}
