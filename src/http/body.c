/* Small JSON bodies, see body.h. */
#include "http/body.h"

#include "base/json.h"

static enum rc
take(struct span object, struct body_field *f)
{
	struct span value;

	buf_reset(f->text);
	f->given = json_get(object, f->name, &value) && json_type(value) != JSON_NULL;
	if (!f->given)
		return RC_OK;
	/* U+0000 would end the text early where it is stored. */
	if (json_string_odd(value) || !json_string(value, f->text))
		return RC_INVALID;
	return f->text->failed ? RC_FAULT : RC_OK;
}

enum rc
body_parse(struct request *r, struct body_field *fields)
{
	struct span value;
	enum rc rc;

	rc = json_scan(buf_span(&r->body), JSON_MAX_DEPTH, &value, NULL, NULL);
	if (rc == RC_OK && json_type(value) != JSON_OBJECT && json_type(value) != JSON_NULL)
		rc = RC_INVALID;
	for (; rc == RC_OK && fields->name != NULL; fields++)
		rc = take(value, fields);
	return rc == RC_OK ? RC_OK : err_set(&r->err, rc, "%s",
	                                     rc == RC_INVALID ? "invalid json body"
	                                                      : "out of memory");
}
