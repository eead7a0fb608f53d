/* Mail that handlers send, and what makes them wait. */
#ifndef TDSYNC_HTTP_POST_H
#define TDSYNC_HTTP_POST_H

#include "http/request.h"

/* Append `before` and at most n bytes of somebody's text, as one line without control
 * characters, and without anything that a mail program would make a link of. */
void post_clean(struct buf *out, const char *before, const char *text, size_t n);

/*
 * Take one of the few places for requests that take their time: those that send mail, and
 * those that are answered late on purpose. So a slow mailer can't take the pool, whoever
 * asks. False: none is free, and the answer is 503.
 */
bool post_place(struct request *r);

/* Let time pass until that long after a moment of clock_mono_ms(). (Not after the request
 * came: who sends its body slowly would see what is done after that.) */
void post_wait(int64_t since_ms, int64_t ms);

/*
 * Hand a mail over to the configured mailer. False: it failed, which the error log
 * tells; the caller of a request never learns of it.
 */
bool post_send(struct request *r, const char *to, struct buf *subject, struct buf *text);

#endif
