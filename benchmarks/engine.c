/* A vLLM without a model: answers chat completions in the bytes of vLLM 0.32, as fast as one thread can.
 *
 *     cc -O2 -o engine engine.c && ./engine LISTENERS
 *
 * Prints {"pid": …, "ports": […]}, and serves these ports of 127.0.0.1 until its standard input ends.
 *
 *     POST /v1/chat/completions   CHUNKS tokens, whole or streamed, each event written by itself; the first one comes
 *                                 at once, each further one GAP later. stream_options work as in vLLM.
 *     GET  /_engine                   counts; with ?gap=US&chunks=N it also sets what is named. Whoever waits then gets
 *                                 its turn at once, so that streams which a long gap holds open can be let go.
 *     GET  /health, /version, /v1/models, /metrics, /get_server_info, /get_model_info   what gateways ask for
 */
#include "net.h"
#include "vllm.h"

#define INPUT_TOKENS 31
#define MAX_REQUEST 65536
#define MAX_CHUNKS 1000

struct conn {
    int fd, tokens;                                /* tokens sent so far */
    bool streaming, waiting, usage, continuous, last_request, gone;
    struct conn *before, *after, *next_gone;
    uint64_t due;
    size_t in_len, out_len;
    char in[MAX_REQUEST + 1], out[8192];           /* out: what the socket did not take yet */
};

static int poller;
static uint64_t gap;                               /* nanoseconds */
static int chunks = 50, answer_len;
static struct conn *head, *tail;                   /* who waits; all wait equally long, so in order of time */
static struct conn *graveyard;
static long created, answers, streams, open_streams, aborted;
static char whole[MAX_CHUNKS * 6 + 2048], stream_head[512], date[64];
static size_t whole_len;

static void leave(struct conn *c) {
    if (!c->waiting) return;
    *(c->before ? &c->before->after : &head) = c->after;
    *(c->after ? &c->after->before : &tail) = c->before;
    c->waiting = false;
}

static void enter(struct conn *c, uint64_t from) {
    c->waiting = true, c->due = from + gap, c->before = tail, c->after = NULL;
    *(tail ? &tail->after : &head) = c;
    tail = c;
}

/* Freed only after the events at hand, one of which may still name it. */
static void hang_up(struct conn *c) {
    if (c->gone) return;
    c->gone = true;
    if (c->streaming) aborted++, open_streams--;
    leave(c);
    close(c->fd);
    c->next_gone = graveyard, graveyard = c;
}

static void watch(struct conn *c, bool writable) {
    struct epoll_event e = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

static void write_out(struct conn *c, const char *data, size_t size) {
    if (c->gone) return;
    if (!c->out_len) {
        ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) { hang_up(c); return; }
        if (sent > 0) data += sent, size -= (size_t)sent;
        if (!size) return;
    }
    if (c->out_len + size > sizeof c->out) { hang_up(c); return; }
    if (!c->out_len) watch(c, true);
    memcpy(c->out + c->out_len, data, size);
    c->out_len += size;
}

static void event(struct conn *c, const char *json, int size) {
    char frame[2048];
    write_out(c, frame, (size_t)snprintf(frame, sizeof frame, "%x\r\ndata: %.*s\n\n\r\n", size + 8, size, json));
}

/* One chunk; `counted` adds the usage so far, which the last chunk of a request writes without its details. */
static void chunk(struct conn *c, const char *choice, bool counted, const char *rest) {
    char json[1024], count[160] = "";
    if (counted)
        snprintf(count, sizeof count, COUNT, INPUT_TOKENS, INPUT_TOKENS + c->tokens, c->tokens,
                 *choice ? ",\"completion_tokens_details\":null" : "");
    event(c, json, snprintf(json, sizeof json, CHUNK, created, choice, count, rest));
}

static void finished(struct conn *c) { if (c->last_request && !c->gone) shutdown(c->fd, SHUT_WR); }

/* The next token of a stream; after the last one, the end. */
static void step(struct conn *c) {
    if (c->tokens == 0) chunk(c, FIRST, c->continuous, ",\"prompt_token_ids\":null,\"prompt_text\":null");
    bool last = ++c->tokens >= chunks;
    char choice[256];
    snprintf(choice, sizeof choice, NEXT, c->tokens % 10, last ? LAST : "null");
    chunk(c, choice, c->continuous, last && !c->usage ? "," FINGERPRINT : "");
    if (!last) return;
    if (c->usage) chunk(c, "", true, "," FINGERPRINT);
    event(c, "[DONE]", 6);
    write_out(c, "0\r\n\r\n", 5);
    if (c->gone) return;
    c->streaming = false, streams++, open_streams--;
    finished(c);
}

/* What every answer has in common, made once. */
static void prepare(void) {
    char words[MAX_CHUNKS * 6 + 1], json[sizeof words + 1024];
    for (int i = 0; i < chunks; i++) snprintf(words + i * 6, 7, " word%d", (i + 1) % 10);
    answer_len = snprintf(json, sizeof json, WHOLE, created, words, INPUT_TOKENS, INPUT_TOKENS + chunks, chunks);
    whole_len = (size_t)snprintf(whole, sizeof whole, WHOLE_HEAD, date, answer_len, json);
    snprintf(stream_head, sizeof stream_head, STREAM_HEAD, date);
}

/* Whether a JSON body sets a member to true. */
static bool is_true(const char *body, const char *member) {
    const char *at = strstr(body, member);
    if (!at) return false;
    at += strlen(member);
    at += strspn(at, " :");
    return !strncmp(at, "true", 4);
}

/* Wait for the next token, unless the reader still lags behind this one. */
static void resume(struct conn *c, uint64_t from) {
    if (c->streaming && !c->gone && !c->waiting && !c->out_len) enter(c, from);
}

static void complete(struct conn *c, const char *body) {
    if (!is_true(body, "\"stream\"")) {
        write_out(c, whole, whole_len);
        answers++;
        finished(c);
        return;
    }
    c->usage = is_true(body, "\"include_usage\"");
    c->continuous = c->usage && is_true(body, "\"continuous_usage_stats\"");
    c->streaming = true, c->tokens = 0, open_streams++;
    write_out(c, stream_head, strlen(stream_head));
    uint64_t started = now();
    if (!c->gone) step(c);
    resume(c, started);
}

static void reply(struct conn *c, const char *status, const char *type, const char *body) {
    char text[4096];
    write_out(c, text, (size_t)snprintf(text, sizeof text, PAGE_HEAD "%s", status, strlen(body), type, body));
    finished(c);
}

static uint64_t setting(const char *target, const char *name, uint64_t otherwise) {
    const char *at = strstr(target, name);
    return at ? strtoull(at + strlen(name), NULL, 10) : otherwise;
}

static void settings(struct conn *c, const char *target) {
    if (strchr(target, '?')) {
        gap = setting(target, "gap=", gap / 1000) * 1000;
        chunks = (int)setting(target, "chunks=", (uint64_t)chunks);
        chunks = chunks < 1 ? 1 : chunks > MAX_CHUNKS ? MAX_CHUNKS : chunks;
        prepare();
        for (struct conn *waiting = head; waiting; waiting = waiting->after) waiting->due = 0;
    }
    char text[512];
    snprintf(text, sizeof text,
             "{\"answer_bytes\":%d,\"answers\":%ld,\"streams\":%ld,\"open_streams\":%ld,\"aborted\":%ld}",
             answer_len, answers, streams, open_streams, aborted);
    reply(c, "200 OK", JSON, text);
}

static void route(struct conn *c, const char *method, const char *target, const char *body) {
    if (!strcmp(method, "POST") && !strcmp(target, "/v1/chat/completions")) { complete(c, body); return; }
    if (!strncmp(target, "/_engine", 8)) { settings(c, target); return; }
    for (size_t i = 0; i < sizeof PAGES / sizeof *PAGES; i++)
        if (!strcmp(target, PAGES[i].target)) { reply(c, "200 OK", PAGES[i].type, PAGES[i].body); return; }
    reply(c, "404 Not Found", JSON,
          "{\"error\":{\"message\":\"Not Found\",\"type\":\"NotFoundError\",\"param\":null,\"code\":404}}");
}

/* Serve the requests that have arrived whole, one after the other. */
static void requests(struct conn *c) {
    while (c->in_len && !c->streaming && !c->gone) {
        c->in[c->in_len] = 0;
        char *body = strstr(c->in, "\r\n\r\n"), method[8], target[256], version[16];
        if (!body) break;
        *body = 0, body += 4;
        const char *length = strcasestr(c->in, "\r\ncontent-length:");
        const char *coded = strcasestr(c->in, "\r\ntransfer-encoding:");
        size_t size = length ? strtoul(length + 17, NULL, 10) : 0;
        if (!length && coded) {                    /* chunks need no decoding: only members are looked for */
            char *end = strstr(body, "0\r\n\r\n");
            size = end ? (size_t)(end + 5 - body) : MAX_REQUEST;
        }
        size_t used = (size_t)(body - c->in) + size;
        if (used > c->in_len) { body[-4] = '\r'; break; }
        if (sscanf(c->in, "%7s %255s %15s", method, target, version) != 3) { hang_up(c); return; }
        c->last_request = strcasestr(c->in, "\r\nconnection: close") || !strcmp(version, "HTTP/1.0");
        char next = c->in[used];
        c->in[used] = 0;
        route(c, method, target, body);
        c->in[used] = next;
        c->in_len -= used;
        memmove(c->in, c->in + used, c->in_len);
    }
    if (c->in_len == MAX_REQUEST) hang_up(c);
}

static void readable(struct conn *c) {
    ssize_t got = recv(c->fd, c->in + c->in_len, MAX_REQUEST - c->in_len, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) { hang_up(c); return; }
    if (got > 0) c->in_len += (size_t)got, requests(c);
}

static void writable(struct conn *c) {
    ssize_t sent = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (sent < 0) { if (errno != EAGAIN) hang_up(c); return; }
    c->out_len -= (size_t)sent;
    memmove(c->out, c->out + sent, c->out_len);
    if (c->out_len) return;
    watch(c, false);
    resume(c, now());
}

/* Give their turn to those who were waiting when this began. */
static void turns(void) {
    uint64_t time = now();
    struct conn *last = tail, *c;
    while ((c = head) && c->due <= time) {
        leave(c);
        step(c);
        resume(c, c->due && gap ? c->due : time);
        if (!c->gone) requests(c);
        if (c == last) break;
    }
}

static void greet(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        without_delay(fd);
        c->fd = fd;
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

static int listener(void) {
    struct sockaddr_in any = loopback(0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) || listen(fd, 4096)) { perror("listen"); exit(1); }
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)fd << 1 | 1};     /* odd: no address */
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    return fd;
}

static void start(int count) {
    struct epoll_event input = {.events = EPOLLIN, .data.u64 = STDIN_FILENO << 1 | 1};
    time_t seconds = time(NULL);
    created = (long)seconds;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&seconds));
    prepare();
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &input);
    printf("{\"pid\":%d,\"ports\":[", getpid());
    for (int i = 0; i < count; i++) {
        struct sockaddr_in bound;
        socklen_t size = sizeof bound;
        getsockname(listener(), (struct sockaddr *)&bound, &size);
        printf("%s%d", i ? "," : "", ntohs(bound.sin_port));
    }
    printf("]}\n");
    fflush(stdout);
}

int main(int count, char **arguments) {
    struct epoll_event events[256];
    start(count > 1 ? atoi(arguments[1]) : 1);
    for (;;) {
        struct timespec patience = until(head ? head->due : 0);
        int ready = epoll_pwait2(poller, events, 256, head ? &patience : NULL, NULL);
        for (int i = 0; i < ready; i++) {
            struct conn *c = events[i].data.ptr;
            int fd = events[i].data.u64 & 1 ? (int)(events[i].data.u64 >> 1) : -1;
            if (fd == STDIN_FILENO) return 0;
            if (fd > 0) { greet(fd); continue; }
            if (!c->gone && events[i].events & ~(uint32_t)EPOLLOUT) readable(c);
            if (!c->gone && events[i].events & EPOLLOUT) writable(c);
        }
        turns();
        while (graveyard) { struct conn *c = graveyard; graveyard = c->next_gone; free(c); }
    }
}
