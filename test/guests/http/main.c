/*
 * The HTTP unikernel: lwIP on virtio-net, one loop, HLT when idle.
 * Options: ip=ADDRESS/BITS gw=ADDRESS, or both as Unikraft reads them, netdev.ip=ADDRESS/BITS:GATEWAY:DNS, or ip=dhcp
 * (the default); port=N, url=TEXT (what the banner says to open), and those of virtio_net.c.
 */
#include "guest.h"
#include "httpd.h"
#include "lwip/dhcp.h"
#include "lwip/init.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/timeouts.h"
#include "netif/ethernet.h"
#include "virtio_net.h"

long strtol(const char *s, char **end, int base);

static struct netif netif;

u32_t sys_now(void) { return clock_us() / 1000; }

uint32_t random32(void) { /* xorshift32, stirred by the time of the call */
  static uint32_t state = 2463534242u;
  state ^= (uint32_t)rdtsc();
  if (!state) state = 1;
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

/* Decimal only: our options, and lwIP's netif_find(), whose atoi() the C library's header turns into this. */
long strtol(const char *s, char **end, int base) {
  long value = 0;
  (void)base;
  while (*s >= '0' && *s <= '9') value = value * 10 + *s++ - '0';
  if (end) *end = (char *)s;
  return value;
}

/* One turn: packets in, timers, packets out; sleeps when there was nothing. */
static void turn(void) {
  bool busy = nic_poll(&netif);
  sys_check_timeouts();
  busy |= nic_poll(&netif);
  /* No TIME_WAIT: lwIP would answer a client that comes again from the same port with silence or a reset. */
  while (tcp_tw_pcbs) tcp_abort(tcp_tw_pcbs);
  if (busy || !nic_idle()) return;
  u32_t sleep_ms = sys_timeouts_sleeptime();
  if (sleep_ms) idle(sleep_ms < 54 ? sleep_ms * 1000 : 54000);
}

/* ADDRESS/BITS:GATEWAY:DNS; what is missing stays as it is. */
static void split_at_colons(char *ip, char *gw, size_t size) {
  while (*ip && *ip != ':') ip++;
  if (!*ip) return;
  *ip++ = 0;
  size_t n = 0;
  while (ip[n] && ip[n] != ':' && n < size - 1) n++;
  memcpy(gw, ip, n);
  gw[n] = 0;
}

static void configure_address(void) {
  char ip[64] = "dhcp", gw[16] = "";
  if (option("netdev.ip", ip, sizeof ip)) split_at_colons(ip, gw, sizeof gw);
  else option("ip", ip, sizeof ip);
  option("gw", gw, sizeof gw);
  ip4_addr_t address = {0}, mask = {0}, gateway = {0};
  bool dhcp = !strcmp(ip, "dhcp");
  if (!dhcp) {
    char *slash = ip;
    while (*slash && *slash != '/') slash++;
    int bits = *slash ? strtol(slash + 1, NULL, 10) : 24;
    *slash = 0;
    if (!ip4addr_aton(ip, &address) || bits < 1 || bits > 32) panic("ip=%s is not ADDRESS/BITS or dhcp", ip);
    if (*gw && !ip4addr_aton(gw, &gateway)) panic("gw=%s is not an address", gw);
    mask.addr = lwip_htonl(0xffffffffu << (32 - bits));
  }
  if (!netif_add(&netif, &address, &mask, &gateway, NULL, nic_init, ethernet_input)) panic("no network interface");
  netif_set_default(&netif);
  netif_set_up(&netif);
  if (!dhcp) return;
  dhcp_start(&netif);
  for (uint64_t start = clock_us(); !dhcp_supplied_address(&netif); turn())
    if (clock_us() - start > 30000000) panic("no answer from a DHCP server for 30 s");
}

static void banner(uint16_t port) {
  char url[64];
  if (!option("url", url, sizeof url)) {
    const char *address = ip4addr_ntoa(netif_ip4_addr(&netif));
    if (port == 80) print_to(url, sizeof url, "http://%s/", address);
    else print_to(url, sizeof url, "http://%s:%u/", address, port);
  }
  print("\n");
  print("  +------------------------------------------------+\n");
  print("  |  A unikernel: lwIP %-6s, no operating system  |\n", LWIP_VERSION_STRING);
  print("  +------------------------------------------------+\n");
  print("   network  virtio %s%s, %02x:%02x:%02x:%02x:%02x:%02x\n", nic.modern ? "1.x" : "legacy", nic_gso_size ? " with TSO" : "",
        netif.hwaddr[0], netif.hwaddr[1], netif.hwaddr[2], netif.hwaddr[3], netif.hwaddr[4], netif.hwaddr[5]);
  print("   address  %s\n", ip4addr_ntoa(netif_ip4_addr(&netif)));
  print("   memory   %u MiB\n", (memory_top + 0xfffff) >> 20);
  print("   ready    %lu ms after the clock started\n\n", clock_us() / 1000);
  print("   Open     %s\n\n", url);
}

void guest_main(void) {
  char port_text[8] = "80";
  option("port", port_text, sizeof port_text);
  uint16_t port = strtol(port_text, NULL, 10);
  clock_init();
  lwip_init();
  configure_address();
  httpd_start(port);
  banner(port);
  while (!httpd_finished()) turn();
  for (uint64_t end = clock_us() + 100000; clock_us() < end;) turn(); /* the last FIN and its answer */
  print("   Powering off.\n");
  poweroff();
}
