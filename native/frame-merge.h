/* Segments of one TCP connection that follow each other, as the one large packet that they were cut from. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
  MERGE_MOST = 64, /* segments in one packet */
  MERGE_HEADERS = 12 + 14 + 20 + 60, /* vnet header, Ethernet, IPv4, TCP with all options */
};

struct merge {
  /* What is to be written: one packet as it came; or the headers of all, and the payload of each. */
  struct iovec pieces[1 + MERGE_MOST];
  int pieceCount;
  /* Of all packets. */
  int count;
  size_t payload;
  /* Of the first one. */
  const uint8_t *first;
  size_t headers, mss;
  /* What the next one has, if there may be one. */
  bool open;
  uint32_t nextSeq;
  uint16_t nextId;
  /* Of the last one. */
  uint8_t flags;
  uint8_t patched[MERGE_HEADERS];
};

/*
 * Starts with any packet: 12 bytes of virtio_net_hdr_v1 and an Ethernet frame, which stay where they are until the merge
 * is written.
 */
void mergeStart(struct merge *merge, const uint8_t *packet, size_t length);
/* Adds the packet that was sent next. Returns false, and nothing has changed, if it does not continue the others. */
bool mergeAdd(struct merge *merge, const uint8_t *packet, size_t length);
/* No more is to be added: makes the headers of all. */
void mergeFinish(struct merge *merge);
