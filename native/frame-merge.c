/*
 * The reverse of TCP segmentation: a guest that has no TSO sends a file in packets of 1.5 KB, each of which would cost
 * the host a walk through its whole network stack, and the guest an acknowledgement for every other one. Segments that
 * follow each other become one packet with a virtio_net_hdr that says how it was cut (virtio 1.2 §5.1.6.2), so whoever
 * needs the segments gets the very same ones. What Linux demands for its GRO (net/ipv4/tcp_offload.c) is demanded here:
 * equal headers, sequence and IP identification running on, and checksums that are right, as that of the large packet
 * is made anew.
 */
#include "frame-merge.h"

#include <endian.h>
#include <linux/virtio_net.h>
#include <string.h>

enum {
  VNET = 12,
  ETHERNET = 14,
  IP = 20,
  TCP = 20,
  IP_AT = VNET + ETHERNET,
  TCP_AT = IP_AT + IP,
  /* Within the IPv4 header (RFC 791). */
  IP_LENGTH = 2,
  IP_ID = 4,
  IP_FRAGMENT = 6,
  IP_CHECKSUM = 10,
  IP_ADDRESSES = 12,
  /* Within the TCP header (RFC 9293 §3.1). */
  TCP_SEQ = 4,
  TCP_ACK = 8,
  TCP_OFFSET = 12,
  TCP_FLAGS = 13,
  TCP_WINDOW = 14,
  TCP_CHECKSUM = 16,
  TCP_URGENT = 18,
  FLAG_PSH = 0x08,
  FLAG_ACK = 0x10,
  DONT_FRAGMENT = 0x4000,
  PROTOCOL_TCP = 6,
  MOST_IP_BYTES = 65535,
};

static uint16_t load16(const uint8_t *at) {
  uint16_t value;
  memcpy(&value, at, sizeof value);
  return be16toh(value);
}

static uint32_t load32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return be32toh(value);
}

static void store16(uint8_t *at, uint16_t value) {
  value = htobe16(value);
  memcpy(at, &value, sizeof value);
}

/* Adds to a sum of the internet checksum (RFC 1071), in the byte order of this machine; lengths are below 2^16. */
static uint64_t sum(const uint8_t *bytes, size_t length, uint64_t sum) {
  uint32_t words[4];
  for (; length >= sizeof words; bytes += sizeof words, length -= sizeof words) {
    memcpy(words, bytes, sizeof words);
    sum += (uint64_t)words[0] + words[1] + words[2] + words[3];
  }
  for (; length > 1; bytes += 2, length -= 2) {
    uint16_t word;
    memcpy(&word, bytes, sizeof word);
    sum += word;
  }
  if (length > 0) sum += htobe16((uint16_t)(*bytes << 8));
  return sum;
}

/* Ends carries around. */
static uint16_t fold(uint64_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

/* The sum of TCP's pseudo-header over a header and payload of `length` bytes. */
static uint64_t pseudoHeader(const uint8_t *ip, size_t length) {
  return sum(ip + IP_ADDRESSES, 8, (uint64_t)htobe16(PROTOCOL_TCP) + htobe16((uint16_t)length));
}

/*
 * The bytes of headers of a packet that could be one of many: plain TCP over IPv4 with data and with nothing but ACK and
 * PSH, whose checksums are right, or left to us. 0: it is none.
 */
static size_t headersOf(const uint8_t *packet, size_t length) {
  struct virtio_net_hdr vnet;
  const uint8_t *ip = packet + IP_AT, *tcp = packet + TCP_AT;
  if (length <= TCP_AT + TCP) return 0;
  memcpy(&vnet, packet, sizeof vnet);
  if (vnet.gso_type != VIRTIO_NET_HDR_GSO_NONE || load16(packet + IP_AT - 2) != 0x0800 || ip[0] != 0x45 ||
      ip[9] != PROTOCOL_TCP || load16(ip + IP_LENGTH) != length - IP_AT || (load16(ip + IP_FRAGMENT) & ~DONT_FRAGMENT) != 0)
    return 0;
  size_t headers = TCP_AT + (size_t)(tcp[TCP_OFFSET] >> 4) * 4;
  if (headers < TCP_AT + TCP || headers >= length || (tcp[TCP_OFFSET] & 0xf) != 0 ||
      (tcp[TCP_FLAGS] & ~FLAG_PSH) != FLAG_ACK || load16(tcp + TCP_URGENT) != 0)
    return 0;
  if (fold(sum(ip, IP, 0)) != 0xffff) return 0;
  if (vnet.flags == VIRTIO_NET_HDR_F_NEEDS_CSUM)
    return le16toh(vnet.csum_start) == TCP_AT - VNET && le16toh(vnet.csum_offset) == TCP_CHECKSUM ? headers : 0;
  if (vnet.flags != 0) return 0;
  return fold(sum(tcp, length - TCP_AT, pseudoHeader(ip, length - TCP_AT))) == 0xffff ? headers : 0;
}

/* Does the packet's identification run on? Where packets are never fragmented, it means nothing (RFC 6864). */
static bool identified(const uint8_t *packet, uint16_t next) {
  const uint8_t *ip = packet + IP_AT;
  return load16(ip + IP_FRAGMENT) == DONT_FRAGMENT || load16(ip + IP_ID) == next;
}

/* Do two packets with as many headers belong to the same connection, in the same state of it? */
static bool alike(const uint8_t *a, const uint8_t *b, size_t headers) {
  const uint8_t *ipA = a + IP_AT, *ipB = b + IP_AT, *tcpA = a + TCP_AT, *tcpB = b + TCP_AT;
  return memcmp(a + VNET, b + VNET, ETHERNET) == 0 && memcmp(ipA, ipB, IP_LENGTH) == 0 &&
         memcmp(ipA + IP_FRAGMENT, ipB + IP_FRAGMENT, IP_CHECKSUM - IP_FRAGMENT) == 0 &&
         memcmp(ipA + IP_ADDRESSES, ipB + IP_ADDRESSES, 8) == 0 && memcmp(tcpA, tcpB, TCP_SEQ) == 0 &&
         memcmp(tcpA + TCP_ACK, tcpB + TCP_ACK, TCP_FLAGS - TCP_ACK) == 0 &&
         memcmp(tcpA + TCP_WINDOW, tcpB + TCP_WINDOW, TCP_CHECKSUM - TCP_WINDOW) == 0 &&
         memcmp(tcpA + TCP, tcpB + TCP, headers - TCP_AT - TCP) == 0;
}

/* The packet is part of the merge. One that is shorter than those before, or that is to be pushed, is the last. */
static void took(struct merge *merge, const uint8_t *packet, size_t payload) {
  merge->count++;
  merge->payload += payload;
  merge->flags = packet[TCP_AT + TCP_FLAGS];
  merge->open = payload == merge->mss && (merge->flags & FLAG_PSH) == 0 && merge->count < MERGE_MOST;
  merge->nextSeq = load32(packet + TCP_AT + TCP_SEQ) + (uint32_t)payload;
  merge->nextId = (uint16_t)(load16(packet + IP_AT + IP_ID) + 1);
}

void mergeStart(struct merge *merge, const uint8_t *packet, size_t length) {
  merge->first = packet;
  merge->pieces[0] = (struct iovec){.iov_base = (void *)packet, .iov_len = length};
  merge->pieceCount = 1;
  merge->count = 0;
  merge->payload = 0;
  merge->headers = headersOf(packet, length);
  merge->mss = length - merge->headers;
  if (merge->headers > 0) {
    took(merge, packet, merge->mss);
  } else {
    merge->count = 1;
    merge->open = false;
  }
}

bool mergeAdd(struct merge *merge, const uint8_t *packet, size_t length) {
  size_t headers = merge->headers;
  if (!merge->open || length <= headers) return false;
  size_t payload = length - headers;
  if (payload > merge->mss || headers - IP_AT + merge->payload + payload > MOST_IP_BYTES ||
      load32(packet + TCP_AT + TCP_SEQ) != merge->nextSeq || !identified(packet, merge->nextId) ||
      headersOf(packet, length) != headers || !alike(merge->first, packet, headers))
    return false;
  if (merge->count == 1) {
    merge->pieces[0] = (struct iovec){.iov_base = merge->patched, .iov_len = headers};
    merge->pieces[merge->pieceCount++] = (struct iovec){.iov_base = (void *)(merge->first + headers), .iov_len = merge->mss};
  }
  merge->pieces[merge->pieceCount++] = (struct iovec){.iov_base = (void *)(packet + headers), .iov_len = payload};
  took(merge, packet, payload);
  return true;
}

void mergeFinish(struct merge *merge) {
  if (merge->count == 1) return;
  uint8_t *patched = merge->patched, *ip = patched + IP_AT, *tcp = patched + TCP_AT;
  size_t length = merge->headers - IP_AT + merge->payload;
  const struct virtio_net_hdr vnet = {
    .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
    .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
    .hdr_len = htole16((uint16_t)(merge->headers - VNET)),
    .gso_size = htole16((uint16_t)merge->mss),
    .csum_start = htole16(TCP_AT - VNET),
    .csum_offset = htole16(TCP_CHECKSUM),
  };
  memcpy(patched, merge->first, merge->headers);
  memcpy(patched, &vnet, sizeof vnet);
  store16(ip + IP_LENGTH, (uint16_t)length);
  memset(ip + IP_CHECKSUM, 0, 2);
  uint16_t checksum = (uint16_t)~fold(sum(ip, IP, 0));
  memcpy(ip + IP_CHECKSUM, &checksum, sizeof checksum);
  tcp[TCP_FLAGS] = merge->flags;
  /* With NEEDS_CSUM: the sum of the pseudo-header, not complemented. */
  checksum = fold(pseudoHeader(ip, length - IP));
  memcpy(tcp + TCP_CHECKSUM, &checksum, sizeof checksum);
}
