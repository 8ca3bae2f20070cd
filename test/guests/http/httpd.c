/*
 * GET  /           a small page
 * GET  /big?n=N    N bytes of a fixed stream, see pattern_init()
 * POST /sink       counts the body and takes its CRC-32; answers "<bytes> <crc as 8 hex digits>\n"
 * GET  /stats      counters, as JSON
 * GET  /quit       powers the machine off
 * GET  /crash      makes a triple fault, without an answer
 * Bodies need a Content-Length. Connections persist, pipelined requests are answered in order.
 */
#include "httpd.h"

#include "crc32.h"
#include "lwip/tcp.h"
#include "virtio_net.h"

#define HEAD_MAX 2048
#define IDLE_LIMIT 120 /* a silent connection is dropped after this many polls of two seconds */

struct connection {
  struct connection *next_free;
  struct tcp_pcb *pcb;
  struct pbuf *received; /* not parsed yet: more requests behind an answer that is still being sent */
  char head[HEAD_MAX + 1];
  uint32_t head_length;
  bool in_body, keep_alive, closing, quits;
  uint64_t body_left, body_count; /* of a request */
  uint32_t body_crc;
  bool body_answered;             /* the body belongs to a request answered already: skip it */
  uint64_t stream_left, stream_at; /* of the answer to /big */
  int idle_polls;
};

#define PATTERN_PERIOD 65521 /* a prime: lost or repeated segments shift the stream visibly */
static uint8_t pattern[2 * PATTERN_PERIOD]; /* twice, so that any piece of a period is contiguous */

static struct connection *free_connections;
static uint64_t requests, connections, open_connections;
static bool finished;

static const char page[] =
    "<!doctype html><title>tsvmm</title>\n"
    "<h1>It works.</h1>\n"
    "<p>This page comes from a unikernel: lwIP on a bare virtual machine, no operating system.</p>\n"
    "<p><a href=\"/stats\">/stats</a> shows its counters, /quit powers it off.</p>\n";

/* Byte i of the stream is pattern[i % 65521], the upper byte of x = x * 1664525 + 1013904223 (mod 2^32) from x = 1. */
static void pattern_init(void) {
  uint32_t x = 1;
  for (int i = 0; i < PATTERN_PERIOD; i++) {
    x = x * 1664525 + 1013904223;
    pattern[i] = pattern[i + PATTERN_PERIOD] = x >> 24;
  }
}

static bool answer(struct connection *c, const char *status, const char *type, const char *body, size_t length) {
  char head[256];
  size_t n = print_to(head, sizeof head, "HTTP/1.1 %s\r\nServer: tsvmm-guest\r\nContent-Type: %s\r\nContent-Length: %lu\r\n%s\r\n",
                      status, type, (unsigned long)length, c->keep_alive ? "" : "Connection: close\r\n");
  requests++;
  c->closing = !c->keep_alive;
  return tcp_write(c->pcb, head, n, TCP_WRITE_FLAG_COPY | (body && length ? TCP_WRITE_FLAG_MORE : 0)) == ERR_OK &&
         (!body || !length || tcp_write(c->pcb, body, length, TCP_WRITE_FLAG_COPY) == ERR_OK);
}

static bool answer_text(struct connection *c, const char *status, const char *text) {
  return answer(c, status, "text/plain", text, strlen(text));
}

static bool answer_stats(struct connection *c) {
  char body[768];
  size_t n = print_to(body, sizeof body,
                      "{\"uptime_ms\":%lu,\"requests\":%lu,\"connections\":%lu,\"open_connections\":%lu,\"rx_packets\":%lu,"
                      "\"rx_bytes\":%lu,\"tx_packets\":%lu,\"tx_bytes\":%lu,\"interrupts\":%lu,\"kicks\":%lu,"
                      "\"virtio\":\"%s\",\"features\":\"0x%lx\",\"tsc_khz\":%u}\n",
                      clock_us() / 1000, requests, connections, open_connections, nic_counters.rx_packets, nic_counters.rx_bytes,
                      nic_counters.tx_packets, nic_counters.tx_bytes, nic_counters.interrupts, nic.kicks,
                      nic.modern ? "modern" : "legacy", nic.features, tsc_khz);
  return answer(c, "200 OK", "application/json", body, n);
}

static bool answer_sink(struct connection *c) {
  char body[48];
  size_t n = print_to(body, sizeof body, "%lu %08x\n", c->body_count, c->body_crc);
  return answer(c, "200 OK", "text/plain", body, n);
}

static const char *next_line(const char *s) {
  while (*s && *s++ != '\n')
    ;
  return s;
}

/* A header's value with its leading blanks skipped, ended by CR or the end of the head; NULL when absent. */
static const char *header(const char *head, const char *name) {
  size_t n = strlen(name);
  for (const char *line = next_line(head); *line; line = next_line(line)) {
    size_t i = 0;
    while (i < n && (line[i] | 0x20) == (name[i] | 0x20)) i++;
    if (i < n || line[n] != ':') continue;
    for (line += n + 1; *line == ' ' || *line == '\t'; line++)
      ;
    return line;
  }
  return NULL;
}

static bool value_is(const char *value, const char *token) {
  if (!value) return false;
  while (*token && (*value | 0x20) == *token) value++, token++;
  return !*token;
}

/* Value: false for anything but digits that fit 63 bits. */
static bool parse_number(const char *s, uint64_t *value) {
  *value = 0;
  if (*s < '0' || *s > '9') return false;
  for (; *s >= '0' && *s <= '9'; s++) {
    if (*value > (INT64_MAX - 9) / 10) return false;
    *value = *value * 10 + (*s - '0');
  }
  return *s == ' ' || *s == '\r' || *s == '\t' || !*s;
}

static bool respond(struct connection *c) {
  const char *head = c->head, *length = header(head, "content-length");
  char *target = (char *)head;
  while (*target && *target != ' ') target++;
  char *end = *target ? ++target : target;
  while (*end && *end != ' ' && *end != '\r') end++;
  bool http11 = !strncmp(end, " HTTP/1.1\r", 10);
  const char *wish = header(head, "connection");
  c->keep_alive = http11 ? !value_is(wish, "close") : value_is(wish, "keep-alive");
  c->body_left = c->body_count = c->body_crc = 0;
  c->body_answered = true;
  if (strncmp(end, " HTTP/1.", 8) || (length && !parse_number(length, &c->body_left))) {
    c->keep_alive = false;
    return answer_text(c, "400 Bad Request", "not understood\n");
  }
  if (header(head, "transfer-encoding")) {
    c->keep_alive = false;
    return answer_text(c, "411 Length Required", "bodies need a Content-Length\n");
  }
  bool waits = value_is(header(head, "expect"), "100-continue");
  *end = 0; /* the target becomes a string; the headers are not looked at any more */
  c->in_body = c->body_left > 0;
  if (!strncmp(head, "POST ", 5) && !strcmp(target, "/sink")) {
    c->body_answered = false;
    if (!c->in_body) return answer_sink(c);
    return !waits || tcp_write(c->pcb, "HTTP/1.1 100 Continue\r\n\r\n", 25, 0) == ERR_OK;
  }
  if (strncmp(head, "GET ", 4)) return answer_text(c, "405 Method Not Allowed", "GET, or POST /sink\n");
  if (!strcmp(target, "/")) return answer(c, "200 OK", "text/html", page, sizeof page - 1);
  if (!strcmp(target, "/stats")) return answer_stats(c);
  if (!strncmp(target, "/big?n=", 7)) {
    if (!parse_number(target + 7, &c->stream_left)) return answer_text(c, "400 Bad Request", "n is a number of bytes\n");
    c->stream_at = 0;
    return answer(c, "200 OK", "application/octet-stream", NULL, c->stream_left);
  }
  if (!strcmp(target, "/quit")) {
    c->keep_alive = false;
    c->quits = true;
    return answer_text(c, "200 OK", "powering off\n");
  }
  if (!strcmp(target, "/crash")) {
    struct __attribute__((packed)) { uint16_t limit; reg base; } none = {0, 0};
    __asm__ volatile("lidt %0; ud2" : : "m"(none));
  }
  return answer_text(c, "404 Not Found", "no such page\n");
}

/* Puts as much of /big into TCP's buffer as it takes. Nothing is copied: the segments point into the pattern. */
static void stream(struct connection *c) {
  while (c->stream_left) {
    uint32_t at = c->stream_at % PATTERN_PERIOD, n = tcp_sndbuf(c->pcb);
    if (n > 32 * TCP_MSS) n = 32 * TCP_MSS;
    if (n > c->stream_left) n = c->stream_left;
    if (n < TCP_MSS && n < c->stream_left) return;
    if (tcp_write(c->pcb, pattern + at, n, n < c->stream_left ? TCP_WRITE_FLAG_MORE : 0) != ERR_OK) return;
    c->stream_at += n;
    c->stream_left -= n;
  }
}

static void consume(struct connection *c, uint32_t n) {
  c->received = pbuf_free_header(c->received, n);
  tcp_recved(c->pcb, n);
}

/* Takes the next bytes of a request's head. Value: is it complete? An overlong head leaves head_length at HEAD_MAX. */
static bool read_head(struct connection *c) {
  uint32_t taken = 0;
  const char *from = c->received->payload;
  bool complete = false;
  while (!complete && taken < c->received->len && c->head_length < HEAD_MAX) {
    c->head[c->head_length++] = from[taken++];
    uint32_t n = c->head_length;
    complete = n >= 4 && c->head[n - 1] == '\n' && !memcmp(c->head + n - 4, "\r\n\r\n", 4);
  }
  c->head[c->head_length] = 0;
  consume(c, taken);
  return complete;
}

static bool read_body(struct connection *c) {
  uint32_t n = c->received->len;
  if (n > c->body_left) n = c->body_left;
  if (!c->body_answered) c->body_crc = crc32(c->body_crc, c->received->payload, n);
  c->body_count += n;
  c->body_left -= n;
  consume(c, n);
  if (c->body_left) return true;
  c->in_body = false;
  return c->body_answered || answer_sink(c);
}

static bool has_room(struct connection *c) {
  return tcp_sndbuf(c->pcb) > 4096 && tcp_sndqueuelen(c->pcb) < TCP_SND_QUEUELEN / 2;
}

/* Serves what was received as far as answers have room. Value: false when memory ran out, the connection is lost then. */
static bool serve(struct connection *c) {
  stream(c);
  while (c->received && !c->stream_left && !c->closing && has_room(c)) {
    if (c->in_body) {
      if (!read_body(c)) return false;
    } else if (read_head(c)) {
      c->head_length = 0;
      if (!respond(c)) return false;
      stream(c);
    } else if (c->head_length == HEAD_MAX) {
      c->keep_alive = false;
      if (!answer_text(c, "431 Request Header Fields Too Large", "that is too long for me\n")) return false;
    }
  }
  tcp_output(c->pcb);
  return true;
}

static void release(struct connection *c) {
  if (c->received) pbuf_free(c->received);
  if (c->quits) finished = true;
  c->next_free = free_connections;
  free_connections = c;
  open_connections--;
}

static err_t abandon(struct connection *c) {
  tcp_arg(c->pcb, NULL);
  tcp_abort(c->pcb);
  release(c);
  return ERR_ABRT;
}

/* After each event: serve, and close once the last answer has been acknowledged. */
static err_t proceed(struct connection *c) {
  if (!serve(c)) return abandon(c);
  if (!c->closing || c->stream_left || c->pcb->unsent || c->pcb->unacked) return ERR_OK;
  struct tcp_pcb *pcb = c->pcb;
  tcp_arg(pcb, NULL);
  tcp_recv(pcb, NULL);
  tcp_sent(pcb, NULL);
  tcp_err(pcb, NULL);
  tcp_poll(pcb, NULL, 0);
  if (c->received) tcp_recved(pcb, c->received->tot_len); /* tcp_close() would reset a connection with unread data */
  release(c);
  if (tcp_close(pcb) == ERR_OK) return ERR_OK;
  tcp_abort(pcb);
  return ERR_ABRT;
}

static err_t on_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err) {
  struct connection *c = arg;
  (void)pcb, (void)err;
  c->idle_polls = 0;
  if (!p) { /* the peer has finished sending */
    c->closing = true;
    return proceed(c);
  }
  if (c->received) return ERR_MEM; /* busy with an answer: lwIP keeps p and tries again */
  c->received = p;
  return proceed(c);
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t length) {
  (void)pcb, (void)length;
  ((struct connection *)arg)->idle_polls = 0;
  return proceed(arg);
}

static err_t on_poll(void *arg, struct tcp_pcb *pcb) {
  struct connection *c = arg;
  (void)pcb;
  return ++c->idle_polls > IDLE_LIMIT ? abandon(c) : proceed(c);
}

static void on_error(void *arg, err_t err) {
  (void)err;
  if (arg) release(arg); /* the pcb is gone already */
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err) {
  (void)arg;
  if (err != ERR_OK || !pcb) return ERR_VAL;
  struct connection *c = free_connections;
  if (!c) return ERR_MEM;
  free_connections = c->next_free;
  memset(c, 0, sizeof *c);
  c->pcb = pcb;
  connections++;
  open_connections++;
  if (nic_gso_size) { /* the device cuts: give it segments of many MSS, and the window to send them */
    if (pcb->mss < nic_gso_size) nic_gso_size = pcb->mss;
    pcb->mss = 22 * nic_gso_size;
    pcb->cwnd = 4 * pcb->mss;
  }
  tcp_nagle_disable(pcb);
  tcp_arg(pcb, c);
  tcp_recv(pcb, on_received);
  tcp_sent(pcb, on_sent);
  tcp_err(pcb, on_error);
  tcp_poll(pcb, on_poll, 4); /* half seconds */
  return ERR_OK;
}

bool httpd_finished(void) { return finished; }

void httpd_start(uint16_t port) {
  pattern_init();
  crc32_init();
  struct connection *all = pages((MEMP_NUM_TCP_PCB * sizeof *all + 4095) / 4096);
  for (int i = 0; i < MEMP_NUM_TCP_PCB; i++) {
    all[i].next_free = free_connections;
    free_connections = &all[i];
  }
  struct tcp_pcb *pcb = tcp_new();
  if (!pcb || tcp_bind(pcb, IP_ADDR_ANY, port) != ERR_OK || !(pcb = tcp_listen_with_backlog(pcb, 255)))
    panic("cannot listen on port %u", port);
  tcp_accept(pcb, on_accept);
}
