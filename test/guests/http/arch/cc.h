/* lwIP's view of the compiler and of the machine: see its doc/sys_arch.txt. */
#ifndef ARCH_CC_H
#define ARCH_CC_H

#include "guest.h"

#define LWIP_NO_CTYPE_H 1
typedef int sys_prot_t;

uint32_t random32(void);
#define LWIP_RAND() random32()
#define LWIP_PLATFORM_DIAG(x) do { print x; } while (0)
#define LWIP_PLATFORM_ASSERT(message) panic("lwIP: %s (%s:%d)", message, __FILE__, __LINE__)

#endif
