/* The static backend: answers a chat completion at once, or streams chunks on a schedule.
 *
 *     backend PORT
 *
 * One thread, one epoll. The caller's body says what it wants: `"stream":true` for SSE, and in the
 * prompt the words `chunks=N rate=R` (R chunks a second, 0 for as fast as the peer reads). They
 * stand in the prompt because that is the one text which every proxy hands on untouched.
 *
 * A paced chunk has a due time: the first is due at once, the second after a part of the period
 * that differs from stream to stream (so that streams do not march in step), the others a period
 * apart. A chunk that cannot be written stays owed and keeps its due time in its stamp.
 *
 * It reads Content-Length only, knows no limits beyond BODY_MAX, and any GET gets a small JSON
 * answer (routers ask for health and model lists). It is no HTTP server for anything else.
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

#define BACKLOG 4096
#define BODY_MAX (1u << 20)
#define BUFFER_MIN 2048u
#define CONNECTIONS_MAX 20000
#define EVENTS 512
#define LOOK 1024u /* how much of each end of a body is searched for what the caller wants */
#define OUT_MAX 1024u

struct peer {
    int fd;
    char *in; /* request bytes so far */
    uint32_t have, size;
    uint32_t left;    /* content chunks still owed to the stream */
    bool streaming, blocked, ending;
    uint64_t due_ns, step_ns, period_ns; /* step: from this chunk's due time to the next one's */
    uint32_t heap_at;  /* place in the heap, plus one; 0 when not in it */
    uint32_t ready_at; /* place among the unpaced, plus one */
    uint32_t out_at, out_have;
    char out[OUT_MAX]; /* what could not be written yet */
};

static int poller;
static struct peer *heap[CONNECTIONS_MAX];
static struct peer *ready[CONNECTIONS_MAX];
static uint32_t heap_have, ready_have, streams_started;

static const char answer[] =
    "{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion\",\"created\":1763900000,"
    "\"model\":\"mock-model\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
    "\"content\":\"@000000000000000 The lights stayed on.\"},\"logprobs\":null,"
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":42,\"completion_tokens\":12,"
    "\"total_tokens\":54}}";
static const char listing[] =
    "{\"object\":\"list\",\"status\":\"ok\",\"model_path\":\"mock-model\",\"model_id\":\"mock-model\","
    "\"data\":[{\"id\":\"mock-model\",\"object\":\"model\",\"created\":1763900000,"
    "\"owned_by\":\"bench\"}]}";
static const char stream_head[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";
#define EVENT_HEAD                                                                               \
    "data: {\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\","          \
    "\"created\":1763900000,\"model\":\"mock-model\",\"choices\":[{\"index\":0,\"delta\":"
static const char role_event[] =
    EVENT_HEAD "{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
static const char token_event[] =
    EVENT_HEAD "{\"content\":\"@000000000000000 \"},\"finish_reason\":null}]}\n\n";
static const char stop_event[] =
    EVENT_HEAD "{},\"finish_reason\":\"stop\"}]}\n\n";
static const char done_event[] = "data: [DONE]\n\n";

static char answer_text[1024], listing_text[1024], token_text[512], start_text[1024], end_text[1024];
static uint32_t answer_size, listing_size, token_size, start_size, end_size, stamp_offset;

static uint32_t chunk(char *to, const char *event) {
    return (uint32_t)sprintf(to, "%zx\r\n%s\r\n", strlen(event), event);
}

static uint32_t json(char *to, const char *body) {
    return (uint32_t)sprintf(to,
                             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "Content-Length: %zu\r\n\r\n%s",
                             strlen(body), body);
}

static void prepare_texts(void) {
    answer_size = json(answer_text, answer);
    listing_size = json(listing_text, listing);
    token_size = chunk(token_text, token_event);
    stamp_offset = (uint32_t)(strchr(token_text, MARKER) - token_text) + 1;
    start_size = (uint32_t)sprintf(start_text, "%s", stream_head);
    start_size += chunk(start_text + start_size, role_event);
    end_size = chunk(end_text, stop_event);
    end_size += chunk(end_text + end_size, done_event);
    end_size += (uint32_t)sprintf(end_text + end_size, "0\r\n\r\n");
}

/* -- the heap of due times ---------------------------------------------------------------- */

static void put(struct peer *p, uint32_t at) {
    heap[at] = p;
    p->heap_at = at + 1;
}

static void sift(uint32_t at) {
    struct peer *p = heap[at];
    for (; at && p->due_ns < heap[(at - 1) / 2]->due_ns; at = (at - 1) / 2)
        put(heap[(at - 1) / 2], at);
    for (uint32_t child; (child = 2 * at + 1) < heap_have; at = child) {
        if (child + 1 < heap_have && heap[child + 1]->due_ns < heap[child]->due_ns) child++;
        if (heap[child]->due_ns >= p->due_ns) break;
        put(heap[child], at);
    }
    put(p, at);
}

static void unschedule(struct peer *p) {
    if (p->heap_at) {
        uint32_t at = p->heap_at - 1;
        p->heap_at = 0;
        if (at != --heap_have) {
            put(heap[heap_have], at);
            sift(at);
        }
    }
    if (p->ready_at) {
        uint32_t at = p->ready_at - 1;
        p->ready_at = 0;
        if (at != --ready_have) {
            ready[at] = ready[ready_have];
            ready[at]->ready_at = at + 1;
        }
    }
}

static void schedule(struct peer *p) {
    if (!p->period_ns) {
        ready[ready_have++] = p;
        p->ready_at = ready_have;
    } else {
        put(p, heap_have++);
        sift(heap_have - 1);
    }
}

/* -- writing ------------------------------------------------------------------------------ */

static void drop(struct peer *p) {
    unschedule(p);
    close(p->fd);
    free(p->in);
    free(p);
}

static void watch(struct peer *p, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = p};
    if (epoll_ctl(poller, EPOLL_CTL_MOD, p->fd, &e)) die("epoll_ctl");
}

/* Writes, or keeps what the socket would not take; false when the peer is gone. */
static bool emit(struct peer *p, const char *text, uint32_t size) {
    ssize_t sent = p->blocked ? 0 : send(p->fd, text, size, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) return false;
        sent = 0;
    }
    if ((uint32_t)sent < size) {
        uint32_t rest = size - (uint32_t)sent;
        if (p->out_have + rest > OUT_MAX) return false;
        memcpy(p->out + p->out_have, text + sent, rest);
        p->out_have += rest;
        if (!p->blocked) watch(p, EPOLLIN | EPOLLOUT);
        p->blocked = true;
    }
    return true;
}

static bool serve(struct peer *p);

/* Sends the chunk that is due and plans the next one; false when the peer is gone. */
static bool emit_chunk(struct peer *p) {
    char text[sizeof token_text];
    memcpy(text, token_text, token_size);
    uint64_t stamp = (p->period_ns ? p->due_ns : now_ns()) / STAMP_UNIT_NS;
    for (int i = MARKER_DIGITS - 1; i >= 0; i--, stamp /= 10)
        text[stamp_offset + (uint32_t)i] = (char)('0' + stamp % 10);
    if (!emit(p, text, token_size)) return false;
    p->due_ns += p->step_ns;
    p->step_ns = p->period_ns;
    p->ending = !--p->left;
    if (!p->ending && !p->blocked) schedule(p);
    return true;
}

/* Ends a stream whose chunks are all sent, and looks at what the peer sent meanwhile. */
static bool end_stream(struct peer *p) {
    p->ending = p->streaming = false;
    return emit(p, end_text, end_size) && serve(p);
}

static bool turn(struct peer *p) {
    unschedule(p);
    if (!emit_chunk(p)) return false;
    return p->ending && !p->blocked ? end_stream(p) : true;
}

static bool flush(struct peer *p) {
    ssize_t sent = send(p->fd, p->out + p->out_at, p->out_have - p->out_at, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    p->out_at += (uint32_t)sent;
    if (p->out_at < p->out_have) return true;
    p->out_at = p->out_have = 0;
    p->blocked = false;
    watch(p, EPOLLIN);
    if (p->ending) return end_stream(p);
    if (p->streaming) schedule(p);
    return true;
}

/* -- reading ------------------------------------------------------------------------------ */

static const char *look(const char *body, uint32_t size, const char *word) {
    uint32_t part = size < LOOK ? size : LOOK;
    const char *found = memmem(body, part, word, strlen(word));
    return found ? found : memmem(body + size - part, part, word, strlen(word));
}

static bool start_stream(struct peer *p, const char *body, uint32_t size) {
    const char *chunks = look(body, size, "chunks="), *rate = look(body, size, "rate=");
    double per_s = rate ? strtod(rate + 5, NULL) : 0;
    p->left = chunks ? (uint32_t)strtoul(chunks + 7, NULL, 10) : 1;
    if (!p->left) return false;
    p->period_ns = per_s > 0 ? (uint64_t)(SECOND_NS / per_s) : 0;
    p->due_ns = now_ns();
    /* By the golden ratio, so that the phases of successive streams are spread evenly. */
    p->step_ns = (p->period_ns >> 16) * ((streams_started++ * 2654435769u) >> 16);
    p->streaming = true;
    if (!emit(p, start_text, start_size)) return false;
    if (!p->blocked) schedule(p);
    return true;
}

static bool wants_stream(const char *body, uint32_t size) {
    const char *at = look(body, size, "\"stream\":");
    if (!at) return false;
    at += 9;
    while (*at == ' ') at++;
    return *at == 't';
}

/* Answers every whole request in the buffer; false when the peer is to be dropped. */
static bool serve(struct peer *p) {
    uint32_t used = 0;
    bool alive = true;
    while (alive && !p->streaming && p->have > used) {
        char *at = p->in + used;
        uint32_t have = p->have - used;
        char *end = memmem(at, have, "\r\n\r\n", 4);
        if (!end) break;
        uint32_t head = (uint32_t)(end - at) + 4;
        if (*at == 'G') {
            alive = emit(p, listing_text, listing_size);
            used += head;
            continue;
        }
        const char *length = header(at, head, "content-length:");
        uint32_t body = length ? (uint32_t)strtoul(length, NULL, 10) : BODY_MAX;
        if (body >= BODY_MAX) return false;
        if (have < head + body) {
            if (p->size < head + body) {
                memmove(p->in, at, have);
                p->in = realloc(p->in, p->size = head + body + 1);
                if (!p->in) die("realloc");
                p->have = have;
                return true;
            }
            break;
        }
        used += head + body;
        if (wants_stream(at + head, body))
            alive = start_stream(p, at + head, body);
        else
            alive = emit(p, answer_text, answer_size);
    }
    p->have -= used;
    if (used && p->have) memmove(p->in, p->in + used, p->have);
    return alive;
}

static bool receive(struct peer *p) {
    if (p->have + 1 >= p->size) {
        if (p->size >= BODY_MAX) return false;
        p->in = realloc(p->in, p->size *= 2);
        if (!p->in) die("realloc");
    }
    ssize_t got = recv(p->fd, p->in + p->have, p->size - p->have - 1, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    p->have += (uint32_t)got;
    p->in[p->have] = 0; /* so that numbers at the very end of a body end somewhere */
    return serve(p);
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct peer *p = calloc(1, sizeof *p);
        if (!p || !(p->in = malloc(p->size = BUFFER_MIN))) die("malloc");
        p->fd = fd;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = p};
        if (fd >= CONNECTIONS_MAX || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e)) drop(p);
    }
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&to, sizeof to) || listen(fd, BACKLOG)) die("listen");
    return fd;
}

static int wait_events(struct epoll_event *events) {
    struct timespec wait = {0, 0};
    if (ready_have || !heap_have)
        return epoll_pwait2(poller, events, EVENTS, ready_have ? &wait : NULL, NULL);
    uint64_t now = now_ns(), due = heap[0]->due_ns;
    if (due > now) {
        wait.tv_sec = (time_t)((due - now) / SECOND_NS);
        wait.tv_nsec = (long)((due - now) % SECOND_NS);
    }
    return epoll_pwait2(poller, events, EVENTS, &wait, NULL);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: backend PORT\n");
        return 2;
    }
    prepare_texts();
    poller = epoll_create1(0);
    int listener = listen_on(atoi(argv[1]));
    struct epoll_event first = {.events = EPOLLIN}, events[EVENTS];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &first);
    for (;;) {
        int have = wait_events(events);
        if (have < 0 && errno != EINTR) die("epoll_pwait2");
        for (int i = 0; i < have; i++) {
            struct peer *p = events[i].data.ptr;
            if (!p) {
                accept_all(listener);
                continue;
            }
            bool alive = !(events[i].events & EPOLLOUT) || flush(p);
            if (alive && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) alive = receive(p);
            if (!alive) drop(p);
        }
        for (uint64_t now = now_ns(); heap_have && heap[0]->due_ns <= now;) {
            struct peer *p = heap[0];
            if (!turn(p)) drop(p);
        }
        for (uint32_t i = ready_have; i-- > 0;) {
            struct peer *p = ready[i];
            if (!turn(p)) drop(p);
        }
    }
}
