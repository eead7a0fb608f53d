/* Small JSON bodies, see body.h. */
#include "http/body.h"

#include "base/json.h"

static enum rc
take(struct span object, struct body_field *f, struct err *err)
{
	struct span value;

	f->given = json_get(object, f->name, &value) && json_type(value) != JSON_NULL;
	f->value = f->given ? value : (struct span){ 0 };
	if (f->text == NULL)
		return RC_OK;
	buf_reset(f->text);
	if (!f->given)
		return RC_OK;
	if (!json_string(value, f->text))
		return err_set(err, RC_INVALID, "invalid json body: %s must be a string",
		               f->name);
	/* U+0000 would end the text early where it is stored. */
	if (json_string_odd(value))
		return err_set(err, RC_INVALID, "%s holds a NUL or half a surrogate pair",
		               f->name);
	return f->text->failed ? err_set(err, RC_FAULT, "out of memory") : RC_OK;
}

enum rc
body_parse(struct request *r, struct body_field *fields)
{
	struct span value;
	struct err why;
	enum rc rc;

	rc = json_scan(buf_span(&r->body), JSON_MAX_DEPTH, &value, NULL, &why);
	if (rc != RC_OK)
		return err_set(&r->err, rc, "invalid json body: %s", why.text);
	if (json_type(value) != JSON_OBJECT && json_type(value) != JSON_NULL)
		return err_set(&r->err, RC_INVALID, "invalid json body: it must be an object");
	for (; rc == RC_OK && fields->name != NULL; fields++)
		rc = take(value, fields, &r->err);
	return rc;
}
