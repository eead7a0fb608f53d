/*
 * A mail server for tests: Debian's exim4 as an ordinary process, with its
 * configuration, queue and mailbox in a folder of its own; the machine's own
 * mail server, if any, is not touched. It listens on 127.0.0.1, wants a user with
 * a password, and delivers whatever it takes into one mailbox. Some recipients
 * it refuses ("refused", "full"), and a text with "buy this".
 */
#ifndef TDSYNC_TESTS_EXIM_H
#define TDSYNC_TESTS_EXIM_H

#include "temp.h"

#include "base/buf.h"

#define EXIM_USER "sync"
#define EXIM_PASSWORD "right, \"it's\" \\ = secret"

struct exim {
	char dir[TEMP_PATH];
	pid_t pid;      /* of the process that ends it when we end */
	int port;       /* offers STARTTLS, with a certificate for localhost */
	int port_tls;   /* begins with TLS */
	int port_plain; /* offers none */
};

/* Whether it is installed, and openssl, which makes the certificates. */
bool exim_can_run(void);

/* Start it, and wait until it listens. dir/ca.pem is who signed its certificate,
 * dir/other.pem another authority, dir/sendmail its sendmail. Aborts where that fails. */
void exim_start(struct exim *e);
void exim_stop(struct exim *e);

/*
 * Whether a mail to this address was delivered, or is within some ms. Its file goes
 * to out (NULL: not needed): "Return-path: " and "Envelope-to: " lines, then what
 * was sent, with "X-Protocol: " (as "esmtpsa") and the name of who brought
 * it behind its headers.
 */
bool exim_delivered(const struct exim *e, const char *to, int ms, struct buf *out);

/* A port of 127.0.0.1 that was free just now; a socket that listens on one. */
int exim_free_port(void);
int exim_listen(int port);

#endif
