/* The load generator: asks, checks every answer, and reports one line of JSON.
 *
 *     load MODE key=value ...
 *       MODE    closed   `n` connections, each asks again as soon as it was answered, for `seconds`
 *               paced    `n` streams opened over `spread` seconds, one answer each; measures for
 *                        `seconds` from the moment all of them have had their first token
 *               idle     opens streams up to each number in `steps`, tells when they all have had a
 *                        token, and waits for a line on standard input before it goes on
 *               burst    `n` connects at once, one request on each
 *       port=P n=N seconds=S warm=S spread=S steps=A,B tokens=T body=FILE pids=A,B grace=S
 *
 * `body` holds the whole request, head and all. An answer counts when its status is 200, its framing
 * is complete, it held `tokens` markers (see wire.h) and, if streamed, ended with [DONE]. All else is
 * counted by kind and never hidden. CPU time is read from the kernel's per-process clocks of `pids`
 * at both ends of the measured window, so what Python does around a run costs nothing.
 *
 * Latencies are closed-loop: the next request waits for the last answer. They say what one caller
 * at a time sees, not what an open arrival process would see in overload.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"

#define CONNECTIONS_MAX 20000
#define ERRORS_MAX 2000 /* a run with more is broken, and stops */
#define EVENTS 512
#define HEAD_MAX 8192
#define OPENING_MAX 64 /* idle streams that may be opening at once: no burst is meant there */
#define PIDS_MAX 256
#define READ_MAX 65536
#define SAMPLES_MAX 4000000
#define TAIL "data: [DONE]\n\n"
#define TAIL_SIZE 14

enum state { CLOSED, CONNECTING, HEAD, PLAIN, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER };
enum error { CONNECT, STATUS, FRAMING, CUT, COUNT, TIMEOUT, ERRORS };
static const char *const error_names[ERRORS] = {"connect", "status",  "framing",
                                                "cut",     "content", "timeout"};

struct flow {
    int fd;
    enum state state;
    bool streamed, close_after;
    uint16_t status;
    uint8_t digits_left, tail_have;
    uint32_t marks, head_have, sent;
    uint64_t left, stamp;
    uint64_t connect_ns, asked_ns, last_ns;
    char tail[TAIL_SIZE];
    char head[HEAD_MAX]; /* touched only when a head comes in pieces, so it costs no memory */
};

static enum mode { RUN_CLOSED, RUN_PACED, RUN_IDLE, RUN_BURST } mode;
static int poller, port, pids[PIDS_MAX], pids_have;
static uint32_t n = 1, tokens = 1, steps[8], steps_have;
static double seconds = 1, warm = 0, spread = 0, grace = 10;
static char *request;
static uint32_t request_size;

static struct flow *flows;
static uint32_t live, opening, with_token, answers, answers_begin, answers_end;
static uint32_t errors[ERRORS], errors_all;
static bool told, hung_up; /* standard input gave a line; or ended */
static uint16_t odd_status;
static uint64_t begin_ns, end_ns, stop_ns, now; /* now: one reading for each event */
static uint64_t marks_all, marks_begin, marks_end, gap_max_ns, connect_max_ns, answer_max_ns;
static double cpu_begin_s, cpu_end_s;
static uint32_t *samples; /* microseconds, times ten */
static size_t samples_have;

static void sample(uint64_t ns) {
    if (samples_have < SAMPLES_MAX) samples[samples_have++] = (uint32_t)(ns / 100);
}

static double cpu_s(void) {
    double sum = 0;
    for (int i = 0; i < pids_have; i++) {
        clockid_t clock;
        struct timespec t;
        if (!clock_getcpuclockid(pids[i], &clock) && !clock_gettime(clock, &t))
            sum += (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    }
    return sum;
}

static void begin_window(void) {
    begin_ns = now_ns();
    cpu_begin_s = cpu_s();
    marks_begin = marks_all;
    answers_begin = answers;
}

static void end_window(void) {
    end_ns = now_ns();
    cpu_end_s = cpu_s();
    marks_end = marks_all;
    answers_end = answers;
}

/* -- opening and asking ------------------------------------------------------------------- */

static void fail(struct flow *f, enum error e);

static void watch(struct flow *f, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = f};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, f->fd, &e)) die("epoll_ctl");
}

static void shut(struct flow *f) {
    if (f->state == CLOSED) return;
    close(f->fd);
    f->state = CLOSED;
    live--;
}

static void push(struct flow *f) {
    ssize_t sent = send(f->fd, request + f->sent, request_size - f->sent, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        fail(f, CUT);
        return;
    }
    bool is_first = f->sent == 0;
    if (sent > 0) f->sent += (uint32_t)sent;
    if (f->sent < request_size)
        watch(f, EPOLLIN | EPOLLOUT);
    else if (!is_first)
        watch(f, EPOLLIN);
}

static void ask(struct flow *f) {
    f->state = HEAD;
    f->head_have = f->sent = f->marks = f->digits_left = f->tail_have = 0;
    f->asked_ns = now;
    push(f);
}

static void open_flow(struct flow *f) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    f->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (f->fd < 0) die("socket");
    setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    f->state = CONNECTING;
    f->connect_ns = now = now_ns();
    live++;
    if (connect(f->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
        fail(f, CONNECT);
        return;
    }
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = f};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, f->fd, &e)) die("epoll_ctl");
}

static void connected(struct flow *f) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        fail(f, CONNECT);
        return;
    }
    if (now - f->connect_ns > connect_max_ns) connect_max_ns = now - f->connect_ns;
    watch(f, EPOLLIN);
    ask(f);
    if (mode == RUN_BURST) f->asked_ns = f->connect_ns;
}

static void fail(struct flow *f, enum error e) {
    errors[e]++;
    errors_all++;
    bool waiting = mode == RUN_IDLE && !f->marks;
    shut(f);
    if (waiting) opening--;
    if (mode == RUN_CLOSED && now < stop_ns && errors_all < ERRORS_MAX) open_flow(f);
}

/* -- reading answers ---------------------------------------------------------------------- */

static void finish(struct flow *f) {
    bool tail = !f->streamed || (f->tail_have == TAIL_SIZE && !memcmp(f->tail, TAIL, TAIL_SIZE));
    bool good = f->status == 200 && tail && f->marks == tokens;
    if (good) {
        answers++;
        if (now - f->asked_ns > answer_max_ns) answer_max_ns = now - f->asked_ns;
        if (mode == RUN_BURST || (mode == RUN_CLOSED && begin_ns && now < stop_ns))
            sample(now - f->asked_ns);
    } else {
        errors[f->status == 200 ? COUNT : STATUS]++;
        errors_all++;
        if (f->status != 200) odd_status = f->status;
    }
    if (mode == RUN_PACED && begin_ns && !end_ns) end_window(); /* fewer streams would flatter */
    if (mode != RUN_CLOSED || now >= stop_ns || errors_all >= ERRORS_MAX) {
        shut(f);
    } else if (f->close_after) {
        shut(f);
        open_flow(f);
    } else {
        ask(f);
    }
}

static void on_mark(struct flow *f) {
    marks_all++;
    if (!f->marks++) {
        with_token++;
        if (mode == RUN_IDLE) opening--;
    } else if (mode == RUN_PACED && now - f->last_ns > gap_max_ns) {
        gap_max_ns = now - f->last_ns;
    }
    f->last_ns = now;
    uint64_t due = f->stamp * STAMP_UNIT_NS;
    if (mode == RUN_PACED && begin_ns && !end_ns) sample(now > due ? now - due : 0);
}

static void payload(struct flow *f, const char *text, size_t size) {
    if (f->streamed) {
        size_t part = size < TAIL_SIZE ? size : TAIL_SIZE, keep = TAIL_SIZE - part;
        if (keep > f->tail_have) keep = f->tail_have;
        memmove(f->tail, f->tail + f->tail_have - keep, keep);
        memcpy(f->tail + keep, text + size - part, part);
        f->tail_have = (uint8_t)(keep + part);
    }
    for (const char *end = text + size; text < end;) {
        if (!f->digits_left) {
            text = memchr(text, MARKER, (size_t)(end - text));
            if (!text) return;
            text++;
            f->digits_left = MARKER_DIGITS;
            f->stamp = 0;
        }
        for (; f->digits_left && text < end; f->digits_left--)
            f->stamp = f->stamp * 10 + (uint64_t)(*text++ - '0');
        if (!f->digits_left) on_mark(f);
    }
}

/* Reads the head, which is whole; false when the answer's framing is not one we can check. */
static bool read_head(struct flow *f, const char *head, size_t size) {
    f->status = size > 12 ? (uint16_t)atoi(head + 9) : 0;
    const char *length = header(head, size, "content-length:");
    const char *coding = header(head, size, "transfer-encoding:");
    const char *type = header(head, size, "content-type:");
    const char *connection = header(head, size, "connection:");
    f->streamed = type && !strncasecmp(type, "text/event-stream", 17);
    f->close_after = connection && !strncasecmp(connection, "close", 5);
    f->left = length ? strtoull(length, NULL, 10) : 0;
    f->state = coding && !strncasecmp(coding, "chunked", 7) ? CHUNK_SIZE : PLAIN;
    return f->state == CHUNK_SIZE || length;
}

/* Takes what it can of `text`; returns how much, 0 when the framing is broken. */
static size_t step(struct flow *f, const char *text, size_t size, bool *whole) {
    size_t part = size < f->left ? size : (size_t)f->left;
    const char *end;
    switch (f->state) {
    case PLAIN:
    case CHUNK_DATA:
        payload(f, text, part);
        f->left -= part;
        if (!f->left && f->state == PLAIN) *whole = true;
        if (!f->left && f->state == CHUNK_DATA) f->state = CHUNK_END, f->left = 2;
        return part;
    case CHUNK_END:
        f->left -= part;
        if (!f->left) f->state = CHUNK_SIZE;
        return part;
    case CHUNK_SIZE: /* `left` gathers the digits, so a size may come in pieces */
        if (*text == '\n') {
            f->state = f->left ? CHUNK_DATA : TRAILER;
        } else if (*text != '\r') {
            int digit = *text <= '9' ? *text - '0' : (*text | 32) - 'a' + 10;
            if (digit < 0 || digit > 15) return 0;
            f->left = f->left * 16 + (uint64_t)digit;
        }
        return 1;
    case TRAILER: /* ends with an empty line; `left` counts the bytes of the current one */
        end = memchr(text, '\n', size);
        if (!end) {
            for (size_t i = 0; i < size; i++) f->left += text[i] != '\r';
            return size;
        }
        for (const char *at = text; at < end; at++) f->left += *at != '\r';
        *whole = !f->left;
        f->left = 0;
        return (size_t)(end - text) + 1;
    default:
        return 0;
    }
}

static void feed(struct flow *f, const char *text, size_t size) {
    if (f->state == HEAD) {
        const char *end = f->head_have ? NULL : memmem(text, size, "\r\n\r\n", 4);
        size_t head, before = f->head_have;
        if (end) {
            head = (size_t)(end - text) + 4;
            if (!read_head(f, text, head)) goto broken;
        } else {
            size_t part = size < HEAD_MAX - before ? size : HEAD_MAX - before;
            memcpy(f->head + before, text, part);
            f->head_have += (uint32_t)part;
            end = memmem(f->head, f->head_have, "\r\n\r\n", 4);
            if (!end && f->head_have == HEAD_MAX) goto broken;
            if (!end) return;
            head = (size_t)(end - f->head) + 4 - before;
            if (!read_head(f, f->head, before + head)) goto broken;
        }
        text += head;
        size -= head;
    }
    bool whole = f->state == PLAIN && !f->left;
    while (size && !whole) {
        size_t used = step(f, text, size, &whole);
        if (!used) goto broken;
        text += used;
        size -= used;
    }
    if (whole && size) goto broken; /* bytes that nobody asked for */
    if (whole) finish(f);
    return;
broken:
    fail(f, FRAMING);
}

static void receive(struct flow *f) {
    static char text[READ_MAX];
    ssize_t got = recv(f->fd, text, sizeof text, 0);
    if (got > 0)
        feed(f, text, (size_t)got);
    else if (got == 0 || errno != EAGAIN)
        fail(f, CUT);
}

static void listen_to_stdin(void) {
    char c = 0;
    if (read(0, &c, 1) <= 0) hung_up = true;
    else if (c == '\n') told = true;
}

static void poll_flows(int wait_ms) {
    struct epoll_event events[EVENTS];
    int have = epoll_wait(poller, events, EVENTS, wait_ms);
    for (int i = 0; i < have; i++) {
        struct flow *f = events[i].data.ptr;
        now = now_ns();
        if (!f) {
            listen_to_stdin();
            continue;
        }
        if (f->state == CONNECTING) {
            if (events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) connected(f);
            continue;
        }
        if (events[i].events & EPOLLOUT) push(f);
        if (f->state > CONNECTING && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) receive(f);
    }
    now = now_ns();
}

/* -- the four runs ------------------------------------------------------------------------ */

static void run_closed(void) {
    uint64_t start = now_ns(), warm_end = start + (uint64_t)(warm * 1e9);
    stop_ns = warm_end + (uint64_t)(seconds * 1e9);
    for (uint32_t i = 0; i < n; i++) open_flow(&flows[i]);
    uint64_t hard_end = stop_ns + (uint64_t)(grace * 1e9);
    while (live && now < hard_end) {
        poll_flows(20);
        if (!begin_ns && now >= warm_end) begin_window();
        if (begin_ns && !end_ns && now >= stop_ns) end_window();
    }
    if (begin_ns && !end_ns) end_window();
}

static void run_paced(void) {
    uint64_t start = now_ns(), hard_end = start + (uint64_t)((spread + seconds + grace) * 1e9);
    uint32_t opened = 0;
    for (now = start; (live || opened < n) && now < hard_end;) {
        while (opened < n && now >= start + (uint64_t)(spread * 1e9 * opened / n))
            open_flow(&flows[opened++]);
        poll_flows(opened < n ? 1 : 20);
        if (!begin_ns && with_token == n) begin_window();
        if (begin_ns && !end_ns && now >= begin_ns + (uint64_t)(seconds * 1e9)) end_window();
    }
    if (begin_ns && !end_ns) end_window();
}

static void run_burst(void) {
    begin_ns = now_ns();
    for (uint32_t i = 0; i < n; i++) open_flow(&flows[i]);
    uint64_t hard_end = begin_ns + (uint64_t)(grace * 1e9);
    for (now = begin_ns; live && now < hard_end;) poll_flows(20);
    end_ns = now_ns();
}

static void run_idle(void) {
    struct epoll_event e = {.events = EPOLLIN};
    uint32_t opened = 0;
    if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &e)) die("standard input must be a pipe");
    for (uint32_t s = 0; s < steps_have && !hung_up; s++) {
        uint64_t hard_end = now_ns() + (uint64_t)(grace * 1e9);
        while ((opened < steps[s] || opening) && (now = now_ns()) < hard_end) {
            for (; opened < steps[s] && opening < OPENING_MAX; opening++) open_flow(&flows[opened++]);
            poll_flows(20);
            if (errors_all >= ERRORS_MAX) break;
        }
        printf("{\"open\": %u, \"opened\": %u}\n", live - opening, opened);
        fflush(stdout);
        for (told = false; !told && !hung_up;) poll_flows(100);
    }
    answers = live - opening;
}

/* -- telling ------------------------------------------------------------------------------ */

static int order(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double at_share(double share) {
    return samples_have ? samples[(size_t)((double)(samples_have - 1) * share)] / 10.0 : 0;
}

static void report(void) {
    if (mode != RUN_IDLE && live) { /* what is still open at the hard end has failed */
        errors[TIMEOUT] += live;
        errors_all += live;
    }
    qsort(samples, samples_have, sizeof *samples, order);
    double window = end_ns > begin_ns ? (double)(end_ns - begin_ns) / 1e9 : 0;
    printf("{\"answers\": %u, \"window_answers\": %u, \"tokens\": %llu, \"window_s\": %.6f, "
           "\"cpu_s\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, "
           "\"gap_max_ms\": %.3f, \"connect_max_ms\": %.3f, \"answer_max_ms\": %.3f, \"errors\": {",
           answers, answers_end - answers_begin,
           (unsigned long long)(marks_end - marks_begin), window, cpu_end_s - cpu_begin_s,
           at_share(0.5), at_share(0.99), at_share(1), (double)gap_max_ns / 1e6,
           (double)connect_max_ns / 1e6, (double)answer_max_ns / 1e6);
    const char *comma = "";
    for (int e = 0; e < ERRORS; e++) {
        if (!errors[e]) continue;
        if (e == STATUS) printf("%s\"status %u\": %u", comma, odd_status, errors[e]);
        else printf("%s\"%s\": %u", comma, error_names[e], errors[e]);
        comma = ", ";
    }
    printf("}}\n");
}

static void read_request(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    request = malloc(1 << 20);
    request_size = (uint32_t)fread(request, 1, 1 << 20, file);
    fclose(file);
}

static uint32_t read_list(const char *text, int *list, uint32_t size) {
    uint32_t have = 0;
    for (char *end; *text && have < size; text = *end == ',' ? end + 1 : end) {
        list[have++] = (int)strtol(text, &end, 10);
        if (end == text) break;
    }
    return have;
}

static void read_argument(const char *key, const char *value) {
    int list[8];
    if (!strcmp(key, "port")) port = atoi(value);
    else if (!strcmp(key, "n")) n = (uint32_t)atoi(value);
    else if (!strcmp(key, "tokens")) tokens = (uint32_t)atoi(value);
    else if (!strcmp(key, "seconds")) seconds = atof(value);
    else if (!strcmp(key, "warm")) warm = atof(value);
    else if (!strcmp(key, "spread")) spread = atof(value);
    else if (!strcmp(key, "grace")) grace = atof(value);
    else if (!strcmp(key, "body")) read_request(value);
    else if (!strcmp(key, "pids")) pids_have = (int)read_list(value, pids, PIDS_MAX);
    else if (!strcmp(key, "steps")) {
        steps_have = read_list(value, list, 8);
        for (uint32_t i = 0; i < steps_have; i++) steps[i] = (uint32_t)list[i];
        n = steps_have ? steps[steps_have - 1] : n;
    } else {
        fprintf(stderr, "load: unknown argument %s\n", key);
        exit(2);
    }
}

int main(int argc, char **argv) {
    static const char *const modes[] = {"closed", "paced", "idle", "burst"};
    int chosen = -1;
    for (int i = 0; i < 4 && argc > 1; i++)
        if (!strcmp(argv[1], modes[i])) chosen = i;
    for (int i = 2; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value) chosen = -1;
        else *value = 0, read_argument(argv[i], value + 1);
    }
    if (chosen < 0 || !request || !port || n > CONNECTIONS_MAX) {
        fprintf(stderr, "usage: see the head of load.c\n");
        return 2;
    }
    mode = (enum mode)chosen;
    poller = epoll_create1(0);
    flows = calloc(n, sizeof *flows);
    samples = malloc(SAMPLES_MAX * sizeof *samples);
    if (!flows || !samples) die("malloc");
    void (*const runs[])(void) = {run_closed, run_paced, run_idle, run_burst};
    runs[mode]();
    report();
    return 0;
}
