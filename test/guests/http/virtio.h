/*
 * Virtio over PCI, legacy (0.9.5) and modern (1.x), with split rings (Virtio 1.1, sections 2.6, 4.1 and 5.1).
 */
#ifndef VIRTIO_H
#define VIRTIO_H

#include "guest.h"

#define VIRTIO_F_ANY_LAYOUT 27
#define VIRTIO_F_RING_INDIRECT_DESC 28
#define VIRTIO_F_RING_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32
#define BIT(feature) (1ull << (feature))

#define QUEUE_MAX 1024
#define INDIRECT_MAX 20 /* descriptors of one indirect table */

struct virtq_desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
#define VIRTQ_DESC_F_NEXT 1
#define VIRTQ_DESC_F_WRITE 2
#define VIRTQ_DESC_F_INDIRECT 4
struct virtq_avail { uint16_t flags, idx, ring[]; };
struct virtq_used { uint16_t flags, idx; struct { uint32_t id, len; } ring[]; };
#define VIRTQ_AVAIL_F_NO_INTERRUPT 1
#define VIRTQ_USED_F_NO_NOTIFY 1

struct virtq {
  uint16_t index, size, free_head, free_count;
  uint16_t used_seen;   /* entries of the used ring taken so far */
  uint16_t avail_next;  /* our copy of avail->idx */
  uint16_t avail_told;  /* avail->idx when the device was last notified */
  struct virtq_desc *desc;
  volatile struct virtq_avail *avail;
  volatile struct virtq_used *used;
  volatile uint16_t *notify; /* modern: the queue's doorbell */
  struct virtq_desc (*indirect)[INDIRECT_MAX]; /* a table for each head, when negotiated */
};

struct virtio_device {
  uint32_t bdf;
  bool modern;
  uint16_t io; /* legacy: the I/O BAR */
  volatile uint8_t *common, *isr, *config, *notify_base;
  uint32_t notify_multiplier;
  uint64_t features; /* negotiated */
  int irq;
  uint64_t kicks;
};

struct segment { void *at; uint32_t length; bool device_writes; };

/* Finds the first device of a type (1 = network) and resets it; `modern` as wanted, or what the device has. */
bool virtio_find(struct virtio_device *dev, uint16_t type, bool want_legacy, bool want_modern);
uint64_t virtio_offered(struct virtio_device *dev);
void virtio_accept(struct virtio_device *dev, uint64_t features); /* panics when the device refuses */
void virtio_setup_queue(struct virtio_device *dev, struct virtq *q, uint16_t index);
void virtio_driver_ok(struct virtio_device *dev);
uint8_t virtio_config8(struct virtio_device *dev, uint32_t offset);
uint8_t virtio_isr(struct virtio_device *dev); /* reading acknowledges the interrupt */

/* Offers a chain to the device. Value: its head, or -1 when the ring has no room. */
int virtq_add(struct virtq *q, const struct segment *segments, int count);
/* Takes a finished chain. Value: its head, or -1. */
int virtq_take(struct virtq *q, uint32_t *length);
void virtq_kick(struct virtio_device *dev, struct virtq *q);
/* Asks for an interrupt at the next finished chain. Value: false when one is there already. */
bool virtq_wait(struct virtio_device *dev, struct virtq *q);

#endif
