/* The virtio network device as an lwIP network interface. */
#ifndef VIRTIO_NET_H
#define VIRTIO_NET_H

#include "lwip/netif.h"
#include "virtio.h"

struct nic_counters { uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes, interrupts; };
extern struct nic_counters nic_counters;
extern struct virtio_device nic;
extern uint16_t nic_gso_size; /* TCP payload of the segments the device cuts; 0 without TSO */

err_t nic_init(struct netif *netif); /* for netif_add() */
bool nic_poll(struct netif *netif);  /* value: was there anything to do? */
bool nic_idle(void);                 /* arms the interrupt; false when there is work already */

#endif
