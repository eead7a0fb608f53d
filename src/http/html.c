/* Pages for people, see html.h. */
#include "http/html.h"

#include "http/reply.h"

void
html_text(struct buf *out, const char *text)
{
	for (; *text != '\0'; text++)
		switch (*text) {
		case '&':  buf_add_str(out, "&amp;"); break;
		case '<':  buf_add_str(out, "&lt;"); break;
		case '>':  buf_add_str(out, "&gt;"); break;
		case '"':  buf_add_str(out, "&quot;"); break;
		case '\'': buf_add_str(out, "&#39;"); break;
		default:   buf_add_byte(out, *text);
		}
}

void
html_begin(struct request *r, int status, const char *title)
{
	struct buf *out = &r->out;

	r->status = status;
	r->type = "text/html; charset=utf-8";
	/* A page may hold a secret in its address: it goes nowhere. */
	reply_header(r, "Referrer-Policy", "no-referrer");
	reply_header(r, "Content-Security-Policy", "default-src 'none'; style-src "
	             "'unsafe-inline'; form-action 'self'; base-uri 'none'; "
	             "frame-ancestors 'none'");
	reply_header(r, "X-Frame-Options", "DENY");
	buf_reset(out);
	buf_add_str(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
	html_text(out, title);
	buf_add_str(out, " - td-sync</title>\n<style>\n"
	    "body{font:16px/1.5 system-ui,sans-serif;background:#f4f5f7;color:#222;margin:0}\n"
	    "main{background:#fff;border-radius:8px;box-shadow:0 1px 6px rgba(0,0,0,.15);"
	    "max-width:28rem;margin:12vh auto 0;padding:1.5rem 2rem}\n"
	    "h1{font-size:1.25rem;margin:0 0 .75rem}\n"
	    "dl{display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem;margin:1rem 0}\n"
	    "dt{color:#666}dd{margin:0;overflow-wrap:anywhere}\n"
	    "input{font:inherit;padding:.4rem;width:100%;box-sizing:border-box;margin:.25rem 0 .75rem}\n"
	    "button{font:inherit;padding:.5rem 1.25rem;border:0;border-radius:6px;"
	    "background:#0b5cad;color:#fff;cursor:pointer}\n"
	    "button:focus-visible,input:focus-visible{outline:3px solid #f0a500}\n"
	    ".error{color:#a40000}\n"
	    "@media(prefers-color-scheme:dark){body{background:#16181c;color:#e6e6e6}"
	    "main{background:#22252b}dt{color:#aaa}.error{color:#ff9a9a}}\n"
	    "</style>\n</head>\n<body>\n<main>\n<h1>");
	html_text(out, title);
	buf_add_str(out, "</h1>\n");
}

void
html_paragraph(struct request *r, const char *text)
{
	buf_add_str(&r->out, "<p>");
	html_text(&r->out, text);
	buf_add_str(&r->out, "</p>\n");
}

void
html_end(struct request *r)
{
	buf_add_str(&r->out, "</main>\n</body>\n</html>\n");
}

enum rc
html_page(struct request *r, int status, const char *title, const char *text)
{
	html_begin(r, status, title);
	html_paragraph(r, text);
	html_end(r);
	return RC_OK;
}
