/* HTTP/1.1 server (RFC 9112) on lwIP's raw TCP interface; the paths stand in httpd.c. */
#ifndef HTTPD_H
#define HTTPD_H

#include "guest.h"

void httpd_start(uint16_t port);
bool httpd_finished(void); /* /quit was asked for and its answer was sent */

#endif
