/* lwIP's configuration: no threads, IPv4, TCP with large windows, everything in static pools. */
#ifndef LWIPOPTS_H
#define LWIPOPTS_H

#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_STATS 0
#define LWIP_DHCP 1
#define DHCP_DOES_ARP_CHECK 0 /* asking whether the address is free costs a second */
#define LWIP_SINGLE_NETIF 1
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1 /* the NIC takes checksums over when it offers to */

#define MEM_ALIGNMENT 8
#define MEM_SIZE (6 << 20)
#define MEMP_NUM_TCP_PCB 1200
#define MEMP_NUM_TCP_SEG 16384
#define MEMP_NUM_PBUF 16384
#define PBUF_POOL_SIZE 64
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1 /* they ask for a pool as large as TCP_WND: received packets are in our own buffers */

#define TCP_MSS 1460
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 3
#define TCP_WND (256 << 10)
#define TCP_SND_BUF (256 << 10)
#define TCP_SND_QUEUELEN (4 * TCP_SND_BUF / TCP_MSS)
#define TCP_SNDLOWAT (32 << 10)
#define TCP_LISTEN_BACKLOG 1

#endif
