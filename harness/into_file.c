#include "into_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum rc
into_file(const struct transport_request *rq, struct transport_reply *re, const char *tag,
          struct err *err)
{
	struct transport_file *f = rq->file;
	ssize_t n = 0;
	size_t done;

	if (f == NULL || (re->status != 200 && re->status != 206))
		return RC_OK;
	if (re->status == 200)
		f->have = 0;
	if (ftruncate(f->fd, f->have) != 0)
		n = -1;
	for (done = 0; n >= 0 && done < re->body.len; done += (size_t)n, f->have += n)
		n = pwrite(f->fd, re->body.p + done, re->body.len - done, f->have);
	if (n < 0)
		return err_set(err, RC_UNAVAILABLE, "can't write what the server sends: %s",
		    strerror(errno));
	snprintf(f->tag, sizeof(f->tag), "%s", tag);
	buf_reset(&re->body);
	return RC_OK;
}
