/* The server as its clients meet it: over HTTP, through nginx and as CGI. */
#include "http_test.h"

#include "web.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

bool
http_can_run(enum site_kind kind)
{
	static bool said;
	const char *why = site_missing(kind);

	if (why != NULL && !said)
		fprintf(stderr, "skipped: everything behind nginx: %s\n", why);
	said = why != NULL;
	return why == NULL;
}

int
main(void)
{
	Suite *s = suite_create("http");
	SRunner *sr;
	int failed;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	suite_add_tcase(s, recordings_case());
	sr = srunner_create(s);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
