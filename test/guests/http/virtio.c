/* Virtio PCI transport and split virtqueues (Virtio 1.1, 2.6 and 4.1; legacy interface 4.1.4.8). */
#include "virtio.h"

/* Legacy registers, in the I/O BAR. */
#define VIRTIO_PCI_HOST_FEATURES 0
#define VIRTIO_PCI_GUEST_FEATURES 4
#define VIRTIO_PCI_QUEUE_PFN 8
#define VIRTIO_PCI_QUEUE_NUM 12
#define VIRTIO_PCI_QUEUE_SEL 14
#define VIRTIO_PCI_QUEUE_NOTIFY 16
#define VIRTIO_PCI_STATUS 18
#define VIRTIO_PCI_ISR 19
#define VIRTIO_PCI_CONFIG 20

/* struct virtio_pci_common_cfg */
#define COMMON_DEVICE_FEATURE_SELECT 0
#define COMMON_DEVICE_FEATURE 4
#define COMMON_DRIVER_FEATURE_SELECT 8
#define COMMON_DRIVER_FEATURE 12
#define COMMON_MSIX_CONFIG 16
#define COMMON_DEVICE_STATUS 20
#define COMMON_QUEUE_SELECT 22
#define COMMON_QUEUE_SIZE 24
#define COMMON_QUEUE_MSIX_VECTOR 26
#define COMMON_QUEUE_ENABLE 28
#define COMMON_QUEUE_NOTIFY_OFF 30
#define COMMON_QUEUE_DESC 32
#define COMMON_QUEUE_DRIVER 40
#define COMMON_QUEUE_DEVICE 48

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER 2
#define STATUS_DRIVER_OK 4
#define STATUS_FEATURES_OK 8

#define PCI_COMMAND 4
#define PCI_COMMAND_IO_MEMORY_MASTER 7
#define PCI_CAP_ID_VNDR 9

static uint8_t *common8(struct virtio_device *dev, int at) { return (uint8_t *)dev->common + at; }
#define COMMON(type, dev, at) (*(volatile type *)common8(dev, at))

static uint8_t get_status(struct virtio_device *dev) {
  return dev->modern ? COMMON(uint8_t, dev, COMMON_DEVICE_STATUS) : inb(dev->io + VIRTIO_PCI_STATUS);
}

static void set_status(struct virtio_device *dev, uint8_t status) {
  if (dev->modern) COMMON(uint8_t, dev, COMMON_DEVICE_STATUS) = status;
  else outb(dev->io + VIRTIO_PCI_STATUS, status);
}

/* A structure's place from its capability, or NULL when its BAR lies where we have no mapping. */
static volatile uint8_t *map_capability(uint32_t bdf, uint8_t cap) {
  uint8_t bar = pci_read8(bdf, cap + 4);
  uint32_t low = pci_read32(bdf, 0x10 + bar * 4);
  bool is_64bit = (low & 7) == 4;
  if (bar > 5 || low & 1 || !(low & ~15u) || (is_64bit && pci_read32(bdf, 0x14 + bar * 4))) return NULL;
  return (volatile uint8_t *)(reg)((low & ~15u) + pci_read32(bdf, cap + 8));
}

static bool find_modern(struct virtio_device *dev) {
  if (!(pci_read16(dev->bdf, 6) & 0x10)) return false; /* status: no capability list */
  for (uint8_t cap = pci_read8(dev->bdf, 0x34) & ~3; cap; cap = pci_read8(dev->bdf, cap + 1) & ~3) {
    if (pci_read8(dev->bdf, cap) != PCI_CAP_ID_VNDR) continue;
    volatile uint8_t *at = map_capability(dev->bdf, cap);
    switch (pci_read8(dev->bdf, cap + 3)) { /* cfg_type */
      case 1: if (!dev->common) dev->common = at; break;
      case 2:
        if (!dev->notify_base) dev->notify_base = at, dev->notify_multiplier = pci_read32(dev->bdf, cap + 16);
        break;
      case 3: if (!dev->isr) dev->isr = at; break;
      case 4: if (!dev->config) dev->config = at; break;
    }
  }
  return dev->common && dev->notify_base && dev->isr && dev->config;
}

bool virtio_find(struct virtio_device *dev, uint16_t type, bool want_legacy, bool want_modern) {
  for (uint32_t bdf = 0; bdf < 256; bdf++) {
    uint32_t id = pci_read32(bdf, 0);
    if ((id & 0xffff) != 0x1af4) continue;
    uint16_t device = id >> 16;
    bool is_type = device == 0x1040 + type || (device >= 0x1000 && device < 0x1040 && pci_read16(bdf, 0x2e) == type);
    if (!is_type) continue;
    *dev = (struct virtio_device){.bdf = bdf};
    pci_write16(bdf, PCI_COMMAND, pci_read16(bdf, PCI_COMMAND) | PCI_COMMAND_IO_MEMORY_MASTER);
    dev->modern = !want_legacy && find_modern(dev);
    if (!dev->modern) {
      uint32_t bar = pci_read32(bdf, 0x10);
      if (want_modern || device >= 0x1040 || !(bar & 1)) return false;
      dev->io = bar & ~3u;
    }
    dev->irq = pci_read8(bdf, 0x3c);
    set_status(dev, 0);
    while (get_status(dev)) __asm__ volatile("pause");
    set_status(dev, STATUS_ACKNOWLEDGE);
    set_status(dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    return true;
  }
  return false;
}

uint64_t virtio_offered(struct virtio_device *dev) {
  if (!dev->modern) return inl(dev->io + VIRTIO_PCI_HOST_FEATURES);
  COMMON(uint32_t, dev, COMMON_DEVICE_FEATURE_SELECT) = 0;
  uint64_t low = COMMON(uint32_t, dev, COMMON_DEVICE_FEATURE);
  COMMON(uint32_t, dev, COMMON_DEVICE_FEATURE_SELECT) = 1;
  return low | (uint64_t)COMMON(uint32_t, dev, COMMON_DEVICE_FEATURE) << 32;
}

void virtio_accept(struct virtio_device *dev, uint64_t features) {
  dev->features = features;
  if (!dev->modern) {
    outl(dev->io + VIRTIO_PCI_GUEST_FEATURES, features);
    return;
  }
  COMMON(uint32_t, dev, COMMON_DRIVER_FEATURE_SELECT) = 0;
  COMMON(uint32_t, dev, COMMON_DRIVER_FEATURE) = features;
  COMMON(uint32_t, dev, COMMON_DRIVER_FEATURE_SELECT) = 1;
  COMMON(uint32_t, dev, COMMON_DRIVER_FEATURE) = features >> 32;
  set_status(dev, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
  if (!(get_status(dev) & STATUS_FEATURES_OK)) panic("the virtio device refuses features 0x%lx", (unsigned long)features);
}

void virtio_setup_queue(struct virtio_device *dev, struct virtq *q, uint16_t index) {
  uint16_t size;
  if (dev->modern) {
    COMMON(uint16_t, dev, COMMON_QUEUE_SELECT) = index;
    size = COMMON(uint16_t, dev, COMMON_QUEUE_SIZE);
  } else {
    outw(dev->io + VIRTIO_PCI_QUEUE_SEL, index);
    size = inw(dev->io + VIRTIO_PCI_QUEUE_NUM);
  }
  if (!size || size > QUEUE_MAX) panic("virtqueue %u has size %u", index, size);

  /* The legacy layout serves both interfaces: descriptors, available ring, and on the next page the used ring. */
  size_t used_at = (size * sizeof(struct virtq_desc) + 6 + 2 * size + 4095) & ~4095ul;
  uint8_t *memory = pages((used_at + 6 + 8 * size + 4095) / 4096);
  *q = (struct virtq){.index = index, .size = size, .free_count = size};
  q->desc = (void *)memory;
  q->avail = (void *)(memory + size * sizeof(struct virtq_desc));
  q->used = (void *)(memory + used_at);
  for (int i = 0; i < size; i++) q->desc[i].next = i + 1;
  if (dev->features & BIT(VIRTIO_F_RING_INDIRECT_DESC)) q->indirect = pages((size * sizeof *q->indirect + 4095) / 4096);

  if (!dev->modern) {
    outl(dev->io + VIRTIO_PCI_QUEUE_PFN, (reg)memory / 4096);
    return;
  }
  COMMON(uint32_t, dev, COMMON_QUEUE_DESC) = (reg)q->desc;
  COMMON(uint32_t, dev, COMMON_QUEUE_DESC + 4) = 0;
  COMMON(uint32_t, dev, COMMON_QUEUE_DRIVER) = (reg)q->avail;
  COMMON(uint32_t, dev, COMMON_QUEUE_DRIVER + 4) = 0;
  COMMON(uint32_t, dev, COMMON_QUEUE_DEVICE) = (reg)q->used;
  COMMON(uint32_t, dev, COMMON_QUEUE_DEVICE + 4) = 0;
  q->notify = (volatile uint16_t *)(dev->notify_base + COMMON(uint16_t, dev, COMMON_QUEUE_NOTIFY_OFF) * dev->notify_multiplier);
  COMMON(uint16_t, dev, COMMON_QUEUE_ENABLE) = 1;
}

void virtio_driver_ok(struct virtio_device *dev) { set_status(dev, get_status(dev) | STATUS_DRIVER_OK); }

uint8_t virtio_config8(struct virtio_device *dev, uint32_t offset) {
  return dev->modern ? dev->config[offset] : inb(dev->io + VIRTIO_PCI_CONFIG + offset);
}

uint8_t virtio_isr(struct virtio_device *dev) { return dev->modern ? *dev->isr : inb(dev->io + VIRTIO_PCI_ISR); }

int virtq_add(struct virtq *q, const struct segment *segments, int count) {
  bool indirect = q->indirect && count > 1 && count <= INDIRECT_MAX;
  if (q->free_count < (indirect ? 1 : count)) return -1;
  uint16_t head = q->free_head, last = head;
  struct virtq_desc *table = indirect ? q->indirect[head] : q->desc;
  for (int i = 0; i < count; i++) {
    uint16_t at = indirect ? i : i ? q->desc[last].next : head;
    uint16_t next = indirect ? i + 1 : q->desc[at].next;
    table[at] = (struct virtq_desc){(reg)segments[i].at, segments[i].length,
                                    (segments[i].device_writes ? VIRTQ_DESC_F_WRITE : 0) | (i < count - 1 ? VIRTQ_DESC_F_NEXT : 0), next};
    last = at;
  }
  if (indirect) {
    q->free_head = q->desc[head].next;
    q->desc[head] = (struct virtq_desc){(reg)table, count * sizeof *table, VIRTQ_DESC_F_INDIRECT, q->free_head};
    q->free_count--;
  } else {
    q->free_head = q->desc[last].next;
    q->free_count -= count;
  }
  q->avail->ring[q->avail_next % q->size] = head;
  barrier(); /* x86 keeps the order of stores */
  q->avail->idx = ++q->avail_next;
  return head;
}

int virtq_take(struct virtq *q, uint32_t *length) {
  if (q->used->idx == q->used_seen) return -1;
  barrier();
  uint16_t head = q->used->ring[q->used_seen % q->size].id, last = head, count = 1;
  if (head >= q->size) panic("virtqueue %u: the device returned descriptor %u", q->index, head);
  *length = q->used->ring[q->used_seen % q->size].len;
  q->used_seen++;
  for (; q->desc[last].flags & VIRTQ_DESC_F_NEXT; count++) last = q->desc[last].next;
  q->desc[last].next = q->free_head;
  q->free_head = head;
  q->free_count += count;
  return head;
}

static volatile uint16_t *used_event(struct virtq *q) { return &q->avail->ring[q->size]; }
static volatile uint16_t *avail_event(struct virtq *q) { return (volatile uint16_t *)&q->used->ring[q->size]; }

void virtq_kick(struct virtio_device *dev, struct virtq *q) {
  uint16_t told = q->avail_told;
  if (told == q->avail_next) return;
  q->avail_told = q->avail_next;
  __asm__ volatile("mfence" ::: "memory"); /* avail->idx before the look at the device's wish */
  if (dev->features & BIT(VIRTIO_F_RING_EVENT_IDX)) {
    uint16_t event = *avail_event(q);
    if ((uint16_t)(q->avail_next - event - 1) >= (uint16_t)(q->avail_next - told)) return;
  } else if (q->used->flags & VIRTQ_USED_F_NO_NOTIFY) {
    return;
  }
  dev->kicks++;
  if (dev->modern) *q->notify = q->index;
  else outw(dev->io + VIRTIO_PCI_QUEUE_NOTIFY, q->index);
}

bool virtq_wait(struct virtio_device *dev, struct virtq *q) {
  if (dev->features & BIT(VIRTIO_F_RING_EVENT_IDX)) *used_event(q) = q->used_seen;
  else q->avail->flags = 0;
  __asm__ volatile("mfence" ::: "memory");
  return q->used->idx == q->used_seen;
}
