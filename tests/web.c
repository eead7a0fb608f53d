/* HTTP for tests, see web.h. */
#include "web.h"

#include <curl/curl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static size_t
take(char *p, size_t size, size_t n, void *ctx)
{
	struct buf *b = ctx;

	buf_add(b, p, size * n);
	return b->failed ? 0 : size * n;
}

static struct curl_slist *
headers_of(const struct web_call *c)
{
	struct curl_slist *list = NULL;
	char line[8192];

	if (c->token != NULL) {
		snprintf(line, sizeof(line), "Authorization: Bearer %s", c->token);
		list = curl_slist_append(list, line);
	}
	for (size_t i = 0; i < 8 && c->headers[i] != NULL; i++)
		list = curl_slist_append(list, c->headers[i]);
	/* as the stock client, which never waits for a 100 */
	return curl_slist_append(list, "Expect:");
}

bool
web_call(const struct web_call *c, struct web_answer *a)
{
	const char *method = c->method != NULL ? c->method : "GET";
	struct curl_slist *headers = headers_of(c);
	struct buf url = { 0 };
	CURL *curl = curl_easy_init();
	CURLcode code;
	long status = 0;

	buf_reset(&a->headers);
	buf_reset(&a->body);
	buf_addf(&url, "%s%s", c->url, c->path);
	curl_easy_setopt(curl, CURLOPT_URL, buf_cstr(&url));
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 120L);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (c->body.p != NULL) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, c->body.p);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.len);
	}
	if (strcmp(method, "HEAD") == 0)
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &a->body);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, &a->headers);
	code = curl_easy_perform(curl);
	if (code == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	else
		fprintf(stderr, "web: %s %s: %s\n", method, c->path, curl_easy_strerror(code));
	a->status = (int)status;
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	buf_free(&url);
	return buf_cstr(&a->headers) != NULL && buf_cstr(&a->body) != NULL &&
	       code == CURLE_OK;
}

void
web_free(struct web_answer *a)
{
	buf_free(&a->headers);
	buf_free(&a->body);
}

/* The next header of a name after `from`; NULL: none. */
static const char *
next_header(const char *from, const char *name)
{
	size_t n = strlen(name);

	while ((from = strchr(from, '\n')) != NULL) {
		from++;
		if (strncasecmp(from, name, n) == 0 && from[n] == ':')
			return from + n + 1;
	}
	return NULL;
}

const char *
web_header(const struct web_answer *a, const char *name)
{
	static _Thread_local char value[8192]; /* threads ask, too */
	const char *at = a->headers.p != NULL ? next_header(a->headers.p, name) : NULL;

	if (at == NULL)
		return "";
	at += strspn(at, " \t");
	snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\r\n"), at);
	return value;
}

int
web_header_count(const struct web_answer *a, const char *name)
{
	const char *at = a->headers.p;
	int n = 0;

	while (at != NULL && (at = next_header(at, name)) != NULL)
		n++;
	return n;
}

bool
web_is_json(const struct web_answer *a)
{
	struct json_tokener *t = json_tokener_new();
	struct json_object *o;
	bool ok;

	o = json_tokener_parse_ex(t, a->body.p, (int)a->body.len);
	ok = json_tokener_get_error(t) == json_tokener_success && a->body.len > 0 &&
	     json_tokener_get_parse_end(t) >= a->body.len - 1 &&
	     a->body.p[a->body.len - 1] == '\n';
	json_object_put(o);
	json_tokener_free(t);
	return ok;
}
