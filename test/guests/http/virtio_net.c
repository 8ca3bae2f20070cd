/*
 * Driver of the virtio network device (Virtio 1.1, 5.1), without copies: received buffers are lwIP's pbufs until it frees
 * them, and sent pbufs are held until the device has read them.
 * Options: virtio=legacy|modern, noevent (no EVENT_IDX), indirect, offload (checksums and TSO both ways).
 */
#include "virtio_net.h"

#include "lwip/etharp.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/tcp.h"
#include "netif/ethernet.h"

#define VIRTIO_NET_F_CSUM 0
#define VIRTIO_NET_F_GUEST_CSUM 1
#define VIRTIO_NET_F_MTU 3
#define VIRTIO_NET_F_MAC 5
#define VIRTIO_NET_F_GUEST_TSO4 7
#define VIRTIO_NET_F_HOST_TSO4 11
#define VIRTIO_NET_F_MRG_RXBUF 15

struct virtio_net_hdr { uint8_t flags, gso_type; uint16_t hdr_len, gso_size, csum_start, csum_offset, num_buffers; };
#define VIRTIO_NET_HDR_F_NEEDS_CSUM 1
#define VIRTIO_NET_HDR_F_DATA_VALID 2
#define VIRTIO_NET_HDR_GSO_TCPV4 1

#define RX_DATA 2048
#define TX_SEGMENTS 32
#define BACKLOG 1024 /* packets that wait for room in the transmit ring */

struct rx_buffer { struct pbuf_custom pbuf; uint8_t data[RX_DATA]; };

struct nic_counters nic_counters;
struct virtio_device nic;
uint16_t nic_gso_size;
static struct virtq rx, tx;
static uint32_t header_size;
static bool header_apart; /* legacy devices without ANY_LAYOUT want the header in a descriptor of its own */
static struct rx_buffer *rx_of_head[QUEUE_MAX];
static struct pbuf *tx_of_head[QUEUE_MAX];
static struct virtio_net_hdr tx_header[QUEUE_MAX];
static struct pbuf *backlog[BACKLOG];
static uint32_t backlog_in, backlog_out;

static void rx_post(struct rx_buffer *buffer) {
  struct segment whole = {buffer->data, RX_DATA, true};
  struct segment split[2] = {{buffer->data, header_size, true}, {buffer->data + header_size, RX_DATA - header_size, true}};
  int head = header_apart ? virtq_add(&rx, split, 2) : virtq_add(&rx, &whole, 1);
  rx_of_head[head] = buffer; /* there are no more buffers than the ring has room for */
}

static void rx_freed(struct pbuf *p) { rx_post((struct rx_buffer *)p); }

static struct pbuf *rx_take(struct virtio_net_hdr *header) {
  uint32_t length;
  int head = virtq_take(&rx, &length);
  if (head < 0) return NULL;
  if (length > RX_DATA) panic("the device wrote %u bytes into a buffer of %u", length, RX_DATA);
  struct rx_buffer *buffer = rx_of_head[head];
  buffer->pbuf.custom_free_function = rx_freed;
  uint32_t skip = 0;
  if (header) {
    memcpy(header, buffer->data, sizeof *header);
    skip = header_size;
  }
  return pbuf_alloced_custom(PBUF_RAW, length - skip, PBUF_REF, &buffer->pbuf, buffer->data + skip, RX_DATA - skip);
}

static bool rx_poll(struct netif *netif) {
  struct virtio_net_hdr header;
  struct pbuf *packet = rx_take(&header);
  if (!packet) return false;
  bool mergeable = nic.features & BIT(VIRTIO_NET_F_MRG_RXBUF);
  for (int more = mergeable ? header.num_buffers - 1 : 0; more > 0; more--) {
    struct pbuf *next = rx_take(NULL);
    if (!next) panic("the device announced more buffers than it used");
    pbuf_cat(packet, next);
  }
  nic_counters.rx_packets++;
  nic_counters.rx_bytes += packet->tot_len;
  bool trusted = header.flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID);
  netif->chksum_flags &= ~(NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP);
  if (!trusted) netif->chksum_flags |= NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP;
  if (netif->input(packet, netif) != ERR_OK) pbuf_free(packet);
  return true;
}

/* TCP checksums are left to the device: it wants the sum of the pseudo header in their place (5.1.6.2). */
static void offload(struct virtio_net_hdr *header, struct pbuf *packet) {
  *header = (struct virtio_net_hdr){0};
  if (!(nic.features & BIT(VIRTIO_NET_F_CSUM))) return;
  struct eth_hdr *eth = packet->payload;
  struct ip_hdr *ip = (struct ip_hdr *)(eth + 1);
  if (packet->len < sizeof *eth + IP_HLEN + TCP_HLEN || eth->type != PP_HTONS(ETHTYPE_IP) || IPH_PROTO(ip) != IP_PROTO_TCP) return;
  struct tcp_hdr *tcp = (struct tcp_hdr *)((uint8_t *)ip + IPH_HL_BYTES(ip));
  uint32_t length = lwip_ntohs(IPH_LEN(ip)) - IPH_HL_BYTES(ip);
  uint32_t sum = (ip->src.addr & 0xffff) + (ip->src.addr >> 16) + (ip->dest.addr & 0xffff) + (ip->dest.addr >> 16) +
                 PP_HTONS(IP_PROTO_TCP) + lwip_htons(length);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  tcp->chksum = sum;
  header->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  header->csum_start = (uint8_t *)tcp - (uint8_t *)eth;
  header->csum_offset = offsetof(struct tcp_hdr, chksum);
  if (nic_gso_size && length - TCPH_HDRLEN_BYTES(tcp) > nic_gso_size) {
    header->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
    header->gso_size = nic_gso_size;
    header->hdr_len = header->csum_start + TCPH_HDRLEN_BYTES(tcp);
  }
}

static bool tx_put(struct pbuf *packet) {
  struct segment segments[TX_SEGMENTS];
  struct virtio_net_hdr *header = &tx_header[tx.free_head % QUEUE_MAX]; /* the head that virtq_add() will take */
  if (!tx.free_count) return false;
  int count = 0;
  segments[count++] = (struct segment){header, header_size, false};
  for (struct pbuf *p = packet; p; p = p->next) segments[count++] = (struct segment){p->payload, p->len, false};
  offload(header, packet);
  int head = virtq_add(&tx, segments, count);
  if (head < 0) return false;
  tx_of_head[head] = packet;
  nic_counters.tx_packets++;
  nic_counters.tx_bytes += packet->tot_len;
  return true;
}

static void tx_reclaim(void) {
  uint32_t length;
  for (int head; (head = virtq_take(&tx, &length)) >= 0;) pbuf_free(tx_of_head[head]);
  for (; backlog_out != backlog_in && tx_put(backlog[backlog_out % BACKLOG]); backlog_out++)
    ;
}

static err_t nic_output(struct netif *netif, struct pbuf *packet) {
  (void)netif;
  if (tx.free_count < TX_SEGMENTS) tx_reclaim();
  if (backlog_in - backlog_out == BACKLOG) return ERR_MEM;
  if (pbuf_clen(packet) < TX_SEGMENTS) pbuf_ref(packet);
  else packet = pbuf_clone(PBUF_RAW, PBUF_RAM, packet); /* many small answers in one large segment */
  if (!packet) return ERR_MEM;
  if (backlog_in != backlog_out || !tx_put(packet)) backlog[backlog_in++ % BACKLOG] = packet;
  return ERR_OK;
}

bool nic_poll(struct netif *netif) {
  bool busy = false;
  tx_reclaim();
  for (int budget = 64; budget && rx_poll(netif); budget--) busy = true;
  virtq_kick(&nic, &rx);
  virtq_kick(&nic, &tx);
  return busy;
}

bool nic_idle(void) {
  bool tx_quiet = backlog_in == backlog_out || virtq_wait(&nic, &tx); /* sent packets interrupt only who waits for room */
  return virtq_wait(&nic, &rx) && tx_quiet;
}

static void nic_interrupt(struct trap_frame *frame) {
  nic_counters.interrupts++;
  virtio_isr(&nic);
  if (!(nic.features & BIT(VIRTIO_F_RING_EVENT_IDX))) {
    rx.avail->flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
    tx.avail->flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
  }
  pic_eoi(frame->vector - IRQ_VECTOR);
}

static bool has(const char *name) {
  char value[8];
  return option(name, value, sizeof value);
}

err_t nic_init(struct netif *netif) {
  char virtio[8] = "";
  option("virtio", virtio, sizeof virtio);
  if (!virtio_find(&nic, 1, !strcmp(virtio, "legacy"), !strcmp(virtio, "modern")))
    panic("no %s%svirtio network device", virtio, *virtio ? " " : "");

  uint64_t want = BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_F_ANY_LAYOUT) | BIT(VIRTIO_NET_F_MRG_RXBUF);
  if (nic.modern) want |= BIT(VIRTIO_F_VERSION_1);
  if (!has("noevent")) want |= BIT(VIRTIO_F_RING_EVENT_IDX);
  if (has("indirect")) want |= BIT(VIRTIO_F_RING_INDIRECT_DESC);
  if (has("offload"))
    want |= BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4);
  uint64_t features = virtio_offered(&nic) & want;
  if (!(features & BIT(VIRTIO_NET_F_MRG_RXBUF))) features &= ~BIT(VIRTIO_NET_F_GUEST_TSO4); /* our buffers are small */
  if (!(features & BIT(VIRTIO_NET_F_CSUM))) features &= ~BIT(VIRTIO_NET_F_HOST_TSO4);
  if (!(features & BIT(VIRTIO_NET_F_GUEST_CSUM))) features &= ~BIT(VIRTIO_NET_F_GUEST_TSO4);
  virtio_accept(&nic, features);

  bool long_header = nic.modern || features & BIT(VIRTIO_NET_F_MRG_RXBUF);
  header_size = long_header ? sizeof(struct virtio_net_hdr) : offsetof(struct virtio_net_hdr, num_buffers);
  header_apart = !nic.modern && !(features & (BIT(VIRTIO_F_ANY_LAYOUT) | BIT(VIRTIO_NET_F_MRG_RXBUF)));
  virtio_setup_queue(&nic, &rx, 0);
  virtio_setup_queue(&nic, &tx, 1);
  int count = header_apart ? rx.size / 2 : rx.size;
  struct rx_buffer *buffers = pages((count * sizeof *buffers + 4095) / 4096);
  if (!(features & BIT(VIRTIO_F_RING_EVENT_IDX))) tx.avail->flags = VIRTQ_AVAIL_F_NO_INTERRUPT;
  virtio_driver_ok(&nic);
  for (int i = 0; i < count; i++) rx_post(&buffers[i]);
  virtq_kick(&nic, &rx);

  netif->mtu = features & BIT(VIRTIO_NET_F_MTU) ? virtio_config8(&nic, 10) | virtio_config8(&nic, 11) << 8 : 1500;
  if (features & BIT(VIRTIO_NET_F_HOST_TSO4) && netif->mtu >= 1500) {
    nic_gso_size = TCP_MSS;
    netif->mtu = 0; /* no limit: the device cuts */
  }
  netif->chksum_flags = NETIF_CHECKSUM_ENABLE_ALL;
  if (features & BIT(VIRTIO_NET_F_CSUM)) netif->chksum_flags &= ~NETIF_CHECKSUM_GEN_TCP;
  for (int i = 0; i < 6; i++) netif->hwaddr[i] = virtio_config8(&nic, i);
  netif->hwaddr_len = 6;
  netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_LINK_UP;
  netif->output = etharp_output;
  netif->linkoutput = nic_output;
  netif->name[0] = 'v';
  netif->name[1] = 'n';
  set_handler(IRQ_VECTOR + nic.irq, nic_interrupt);
  pic_unmask(nic.irq);
  return ERR_OK;
}
