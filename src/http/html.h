/* The few pages that people see in a browser: plain, without scripts. */
#ifndef TDSYNC_HTTP_HTML_H
#define TDSYNC_HTTP_HTML_H

#include "http/request.h"

/* Append text so that it is only text, in an element or a quoted attribute. */
void html_text(struct buf *out, const char *text);

/* Begin the answer as a page of that title and heading; html_end() it. */
void html_begin(struct request *r, int status, const char *title);

/* A paragraph of text. */
void html_paragraph(struct request *r, const char *text);

void html_end(struct request *r);

/* A whole page of one paragraph. */
enum rc html_page(struct request *r, int status, const char *title, const char *text);

#endif
