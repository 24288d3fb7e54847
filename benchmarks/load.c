/* A closed loop of chat completions over kept connections, which reads every answer to its end and judges it.
 *
 *     cc -O2 -o load load.c
 *     ./load -p PORT -c CONNECTIONS -d SECONDS [-w WARM_UP_SECONDS] [-r RAMP_SECONDS] [-g GRACE_SECONDS] [-n REQUESTS]
 *            [-s] -k WORDS [-b BODY_BYTES] [-H 'name: value']...
 *
 * -s streams. An answer is good with status 200, WORDS words, `usage` when it is whole and none when it is a stream,
 * [DONE] at the end of a stream, and BODY_BYTES bytes where they are known. Rates and times are those of what ends after
 * the warm-up and within SECONDS from then on; the counts are of everything. The ramp spreads the first requests. Bounded:
 * no request starts after SECONDS or REQUESTS, and what is under way GRACE_SECONDS later is `unfinished`.
 * Prints one object of JSON. Times are in microseconds.
 */
#include "net.h"

#define MAX_HEAD 16384
#define MAX_BODY 65536
#define MODEL "bench"

/* Counts by value, of nanoseconds: exact below 2048, and to 1/1024 above. */
struct histogram { uint64_t count, most, buckets[56 * 1024]; double sum; };
enum failure { REFUSED, CUT, STATUS, WORDS, LENGTH, USAGE, DONE, FAILURES };
static const char *const NAMES[] = {"refused", "cut", "status", "words", "length", "usage", "done"};
enum state { CLOSED, IDLE, HEAD, BODY };
enum coding { LENGTH_GIVEN, UNTIL_CLOSE, SIZE, DATA, AFTER_DATA, TRAILER };

struct conn {
    int fd, status, words;
    enum state state;
    enum coding coding;
    bool close, usage, done, blank;
    uint64_t first_at, started;
    size_t left, size, head_len, text_len;         /* left of this chunk or of the body; size of the body so far */
    char head[MAX_HEAD + 1], text[MAX_BODY + 1];   /* text: the whole body, or one line of a stream */
};

static int port, poller, connections = 1, wanted_words, wanted_bytes;
static bool streaming;
static char *request, example[240];
static size_t request_len;
static uint64_t begin, open_from, open_to, hard_end, most = UINT64_MAX;
static uint64_t started, good, failures[FAILURES], reconnects, words, timed_answers, timed_words;
static int under_way;
static struct histogram latency, first_word;

static void add(struct histogram *h, uint64_t value) {
    int shift = value < 2048 ? 0 : 53 - __builtin_clzll(value);
    h->buckets[shift * 1024 + (int)(value >> shift)]++;
    h->count++, h->sum += (double)value;
    if (value > h->most) h->most = value;
}

static double quantile(const struct histogram *h, double share) {
    uint64_t rank = (uint64_t)(share * (double)(h->count ? h->count - 1 : 0)), seen = 0;
    for (int i = 0; i < 56 * 1024; i++)
        if ((seen += h->buckets[i]) > rank) {
            int shift = i < 2048 ? 0 : i / 1024 - 1;
            return (double)((uint64_t)(i - shift * 1024) << shift) / 1000;
        }
    return 0;
}

static void print(const char *name, const struct histogram *h) {
    printf(",\"%s\":{\"count\":%llu,\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"most\":%.1f}", name,
           (unsigned long long)h->count, h->count ? h->sum / (double)h->count / 1000 : 0, quantile(h, .5),
           quantile(h, .9), quantile(h, .99), quantile(h, .999), (double)h->most / 1000);
}

static bool timed(uint64_t time) { return time >= open_from && time < open_to; }

static bool over(uint64_t time) { return time >= open_to || started >= most; }

static void shut(struct conn *c) {
    if (c->state != CLOSED) close(c->fd);
    c->state = CLOSED;
}

static bool dial(struct conn *c) {
    struct sockaddr_in at = loopback(port);
    struct timeval patience = {.tv_sec = 2};
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    without_delay(c->fd);
    if (connect(c->fd, (struct sockaddr *)&at, sizeof at)) { close(c->fd); return false; }
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
    c->state = IDLE;
    return true;
}

static void ask(struct conn *c) {
    if (over(now())) return;
    started++;
    if (c->state == CLOSED && !dial(c)) { failures[REFUSED]++; return; }
    c->state = HEAD, c->status = c->words = 0;
    c->close = c->usage = c->done = false;
    c->size = c->head_len = c->text_len = 0, c->first_at = 0;
    c->started = now();
    under_way++;
    if (send(c->fd, request, request_len, MSG_NOSIGNAL) == (ssize_t)request_len) return;
    failures[REFUSED]++, under_way--;
    shut(c);
}

static void fail(struct conn *c, enum failure kind) {
    failures[kind]++;
    if (*example) return;
    size_t n = (size_t)snprintf(example, sizeof example, "%s: status %d, %d words, %zu bytes: ", NAMES[kind], c->status, c->words, c->size);
    for (size_t i = 0; i < c->text_len && n < sizeof example - 1; i++, n++)
        example[n] = c->text[i] < ' ' || c->text[i] > '~' || strchr("\"\\", c->text[i]) ? ' ' : c->text[i];
}

static int count(const char *text, const char *what) {
    int n = 0;
    for (size_t size = strlen(what); (text = strstr(text, what)); text += size) n++;
    return n;
}

static void ended(struct conn *c, uint64_t time) {
    under_way--;
    c->text[c->text_len] = 0;
    if (!streaming) c->words = count(c->text, " word"), c->usage = strstr(c->text, "\"completion_tokens\"") != NULL;
    if (c->status != 200) fail(c, STATUS);
    else if (c->words != wanted_words) fail(c, WORDS);
    else if (streaming && !c->done) fail(c, DONE);
    else if (c->usage == streaming) fail(c, USAGE);
    else if (wanted_bytes && !streaming && c->size != (size_t)wanted_bytes) fail(c, LENGTH);
    else {
        good++;
        if (timed(time)) timed_answers++, add(&latency, time - c->started);
    }
    if (!streaming) words += (uint64_t)c->words;
    if (c->close) shut(c), reconnects++;
    else c->state = IDLE;
    ask(c);
}

/* One line of a stream: its data may be a chunk of words, a count, or the end. */
static void line(struct conn *c, uint64_t time) {
    c->text[c->text_len] = 0, c->text_len = 0;
    if (strncmp(c->text, "data:", 5)) return;
    if (!strncmp(c->text + 5 + strspn(c->text + 5, " "), "[DONE]", 6)) { c->done = true; return; }
    if (strstr(c->text, "\"usage\":{") || strstr(c->text, "\"usage\": {")) c->usage = true;
    int found = count(c->text, " word");
    if (!found) return;
    if (!c->first_at && timed(time)) add(&first_word, time - c->started);
    c->first_at = time, c->words += found, words += (uint64_t)found;
    if (timed(time)) timed_words += (uint64_t)found;
}

static void body(struct conn *c, const char *data, size_t size, uint64_t time) {
    c->size += size;
    while (size) {
        const char *end = streaming && c->status == 200 ? memchr(data, '\n', size) : NULL;
        size_t used = end ? (size_t)(end + 1 - data) : size, kept = end ? used - 1 : used;
        if (kept > MAX_BODY - c->text_len) kept = MAX_BODY - c->text_len;
        memcpy(c->text + c->text_len, data, kept);
        c->text_len += kept;
        if (end) line(c, time);
        data += used, size -= used;
    }
}

static const char *header(struct conn *c, const char *name) {
    const char *at = strcasestr(c->head, name);
    return at ? at + strlen(name) + strspn(at + strlen(name), " ") : NULL;
}

/* Take what belongs to the head. Returns the bytes used. */
static size_t head(struct conn *c, const char *data, size_t size) {
    size_t before = c->head_len, room = MAX_HEAD - before, taken = size < room ? size : room;
    memcpy(c->head + before, data, taken);
    c->head[c->head_len += taken] = 0;
    char *end = strstr(c->head, "\r\n\r\n");
    if (!end) return taken;
    end[2] = 0;
    const char *value, *space = strchr(c->head, ' ');
    c->status = space ? atoi(space) : 0;
    c->state = BODY;
    c->close = (value = header(c, "\r\nconnection:")) && !strncasecmp(value, "close", 5);
    if ((value = header(c, "\r\ntransfer-encoding:")) && !strncasecmp(value, "chunked", 7)) c->coding = SIZE, c->left = 0;
    else if ((value = header(c, "\r\ncontent-length:"))) c->coding = LENGTH_GIVEN, c->left = strtoul(value, NULL, 10);
    else c->coding = UNTIL_CLOSE, c->close = true;
    return (size_t)(end + 4 - c->head) - before;
}

/* Take bytes of a body. Returns those used: one byte between chunks, and otherwise what belongs together. */
static size_t decode(struct conn *c, const char *data, size_t size, uint64_t time) {
    size_t used = c->coding != UNTIL_CLOSE && c->left < size ? c->left : size;
    switch (c->coding) {
    case UNTIL_CLOSE: case LENGTH_GIVEN: case DATA:
        body(c, data, used, time);
        c->left -= used;
        if (c->coding == DATA && !c->left) c->coding = AFTER_DATA;
        if (c->coding == LENGTH_GIVEN && !c->left) ended(c, time);
        return used;
    case SIZE:
        if (*data == '\n') c->coding = c->left ? DATA : TRAILER, c->blank = true;
        else if (*data != '\r') c->left = c->left * 16 + (size_t)(*data <= '9' ? *data - '0' : (*data | 32) - 'a' + 10);
        return 1;
    case AFTER_DATA:
        if (*data == '\n') c->coding = SIZE;
        return 1;
    case TRAILER:
        if (*data == '\n' && c->blank) ended(c, time);
        else if (*data != '\r') c->blank = *data == '\n';
    }
    return 1;
}

static void receive(struct conn *c) {
    static char data[262144];
    if (c->state == CLOSED) return;                /* by an event before this one */
    ssize_t got = recv(c->fd, data, sizeof data, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    uint64_t time = now();
    if (got <= 0) {                                /* an idle connection may end; an answer may not, before its end */
        bool whole = c->state == BODY && c->coding == UNTIL_CLOSE;
        if (whole) { ended(c, time); return; }
        if (c->state != IDLE) fail(c, CUT), under_way--;
        shut(c), reconnects++;
        ask(c);
        return;
    }
    for (size_t at = 0; at < (size_t)got && c->state >= HEAD;) {
        if (c->state == BODY) at += decode(c, data + at, (size_t)got - at, time);
        else at += head(c, data + at, (size_t)got - at);
        if (c->state == HEAD && c->head_len == MAX_HEAD) { fail(c, CUT), under_way--, shut(c); }
        if (c->state == BODY && c->coding == LENGTH_GIVEN && !c->left) ended(c, time);
    }
}

static void run(struct conn *all, uint64_t ramp) {
    struct epoll_event events[256];
    int asked = 0;
    for (;;) {
        uint64_t time = now(), wake = time + SECOND / 20;
        for (; asked < connections && begin + ramp * (uint64_t)asked / (uint64_t)connections <= time; asked++) ask(&all[asked]);
        if (time >= hard_end || (over(time) && !under_way)) return;
        if (asked < connections) wake = begin + ramp * (uint64_t)asked / (uint64_t)connections;
        struct timespec patience = until(wake);
        int ready = epoll_pwait2(poller, events, 256, &patience, NULL);
        for (int i = 0; i < ready; i++) receive(events[i].data.ptr);
        if (failures[REFUSED] + failures[CUT] > 1000) return;
    }
}

static void report(double seconds) {
    double window = (double)(open_to - open_from) / SECOND;
    double cpu = (double)clock() / CLOCKS_PER_SEC;
    printf("{\"started\":%llu,\"good\":%llu,\"unfinished\":%d,\"reconnects\":%llu,\"words\":%llu", (unsigned long long)started,
           (unsigned long long)good, under_way, (unsigned long long)reconnects, (unsigned long long)words);
    printf(",\"seconds\":%.3f,\"cpu_s\":%.3f,\"answers_per_s\":%.1f,\"words_per_s\":%.1f,\"failed\":{", seconds, cpu,
           (double)timed_answers / window, (double)timed_words / window);
    for (int i = 0; i < FAILURES; i++) printf("%s\"%s\":%llu", i ? "," : "", NAMES[i], (unsigned long long)failures[i]);
    printf("},\"example\":\"%s\"", example);
    print("latency_us", &latency);
    print("first_word_us", &first_word);
    printf("}\n");
}

int main(int argc, char **argv) {
    double seconds = 1, warm_up = 0, ramp = 0, grace = 10;
    char headers[4096] = "";
    const char *question = "Write one short paragraph about the history of the steam engine and its influence on transport.";
    for (int option; (option = getopt(argc, argv, "p:c:d:w:r:g:n:sk:b:H:")) != -1;) {
        if (option == 'p') port = atoi(optarg);
        else if (option == 'c') connections = atoi(optarg);
        else if (option == 'd') seconds = atof(optarg);
        else if (option == 'w') warm_up = atof(optarg);
        else if (option == 'r') ramp = atof(optarg);
        else if (option == 'g') grace = atof(optarg);
        else if (option == 'n') most = strtoull(optarg, NULL, 10);
        else if (option == 's') streaming = true;
        else if (option == 'k') wanted_words = atoi(optarg);
        else if (option == 'b') wanted_bytes = atoi(optarg);
        else if (option == 'H') strncat(strncat(headers, optarg, 2000), "\r\n", 3);
        else return 2;
    }
    char text[1024];
    int size = snprintf(text, sizeof text,
        "{\"model\":\"" MODEL "\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"},"
        "{\"role\":\"user\",\"content\":\"%s\"}],\"max_tokens\":200,\"temperature\":0.7%s}", question, streaming ? ",\"stream\":true" : "");
    request_len = (size_t)asprintf(&request,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\naccept: */*\r\n"
        "%scontent-length: %d\r\n\r\n%s", port, headers, size, text);
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    begin = now(), open_from = begin + (uint64_t)(warm_up * SECOND), open_to = open_from + (uint64_t)(seconds * SECOND);
    hard_end = open_to + (uint64_t)(grace * SECOND);
    alarm((unsigned)(warm_up + seconds + grace) + 30);
    run(calloc((size_t)connections, sizeof(struct conn)), (uint64_t)(ramp * SECOND));
    report((double)(now() - begin) / SECOND);
    return 0;
}
