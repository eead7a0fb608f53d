/* A message in the form of RFC 5322, and what may stand in it. */
#ifndef TDSYNC_MAIL_MESSAGE_H
#define TDSYNC_MAIL_MESSAGE_H

#include "mail/mail.h"

/*
 * Append the message to out: headers, an empty line, the text; lines end with LF.
 * Every byte of it is printable ASCII, a tab or LF, no line is longer than 998
 * bytes (RFC 5322 2.1.1) and none starts with "From ": it goes through any
 * mailer, and into a mailbox, as it is. `from` is an address, `now` seconds since
 * 1970. RC_INVALID as mail_send() has it; RC_FAULT.
 */
enum rc message_write(const char *from, const struct mail *m, int64_t now,
                      struct buf *out, struct err *err);

#endif
