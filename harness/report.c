#include "report.h"

#include "run.h"

#include "base/fs.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMMANDS 12 /* kinds of edits that a mark tells apart */

struct report {
	char path[PATH_LEN];
	struct buf page, css, js; /* its parts */
	struct buf command, runs;
	int64_t began_ms;
};

/* --- the page's parts --- */

static void
read_part(const char *name, struct buf *out)
{
	char path[PATH_LEN];
	struct err err;

	snprintf(path, sizeof(path), "%s/harness/report/%s", TOP_SRCDIR, name);
	if (fs_read(path, 1 << 20, out, &err) != RC_OK || buf_cstr(out) == NULL)
		die("%s", err.text);
}

struct report *
report_new(const char *dir, int argc, char **argv)
{
	struct report *p = calloc(1, sizeof(*p));
	char *real;
	struct err err;
	int i;

	if (p == NULL)
		die("out of memory");
	if (fs_mkdir(dir, &err) != RC_OK)
		die("%s", err.text);
	if ((real = realpath(dir, NULL)) == NULL)
		die("%s can't be used", dir);
	snprintf(p->path, sizeof(p->path), "%s/index.html", real);
	free(real);
	read_part("page.html", &p->page);
	read_part("page.css", &p->css);
	read_part("page.js", &p->js);
	for (i = 1; i < argc; i++)
		buf_addf(&p->command, " %s", argv[i]);
	p->began_ms = clock_mono_ms();
	return p;
}

/* --- a run's trace, line by line --- */

/* The members that matter, of any kind of line. */
enum member { T, AT, REPLICA, NAME, SCHEMA, COMMAND, ENTRIES, PATH, FAULT, RC, STATUS, SENT,
	GOT, BATCH, BEGAN, ENDED, CALL, OUTCOME, STEP, ERROR, WHO, WHAT, LINE, MEMBERS };
static const char *const members[MEMBERS] = { "t", "at", "replica", "name", "schema",
	"command", "entries", "path", "fault", "rc", "status", "sent", "got", "batch", "began",
	"ended", "call", "outcome", "step", "error", "who", "what", "line" };

/* What a call counts, as far as it isn't 0. */
static const char *const counts[] = { "pushed", "duplicates", "rejected", "pulled",
	"applied", "skipped", "rows", "server_seq", "steps" };

/* Edits of one replica with nothing of it between them. */
struct edits {
	int64_t at, end, n, entries;
	struct {
		struct span command;
		int n;
	} of[COMMANDS];
};

struct reading {
	struct span line;              /* the object */
	struct span of[MEMBERS];       /* its members; JSON */
	struct span names[RUN_REPLICAS];
	struct edits edits[RUN_REPLICAS];
	int lanes_n;
	int64_t ordinary, left_out;
	struct buf lanes, marks, conflicts, healed, rows;
	struct span noticed;
};

static int64_t
number(const struct reading *r, enum member m)
{
	int64_t n = 0;

	json_int64(r->of[m], &n);
	return n;
}

static bool
is(const struct reading *r, enum member m, const char *text)
{
	return json_string_is(r->of[m], text);
}

/* A comma where something is there already. */
static struct buf *
next(struct buf *list)
{
	if (list->len > 0)
		buf_add_byte(list, ',');
	return list;
}

/* The lane of the replica that a member names; -1 where it names none. */
static int
lane(const struct reading *r, enum member m)
{
	int i;

	for (i = 0; i < r->lanes_n; i++)
		if (span_eq(r->names[i], r->of[m]))
			return i;
	return -1;
}

/* Room for a mark? One that is not ordinary always has it. */
static bool
has_room(struct reading *r, bool ordinary)
{
	if (!ordinary)
		return true;
	if (r->ordinary == REPORT_MARKS) {
		r->left_out++;
		return false;
	}
	r->ordinary++;
	return true;
}

/* Write down the edits that a replica made so far. */
static void
end_edits(struct reading *r, int at)
{
	struct edits *e = &r->edits[at];
	int i;

	if (e->n > 0 && has_room(r, true)) {
		buf_addf(next(&r->marks), "[\"e\",%d,%lld,%lld,%lld,%lld,{", at,
		    (long long)e->at, (long long)(e->end - e->at), (long long)e->n,
		    (long long)e->entries);
		for (i = 0; i < COMMANDS && e->of[i].n > 0; i++) {
			if (i > 0)
				buf_add_byte(&r->marks, ',');
			buf_add_span(&r->marks, e->of[i].command);
			buf_addf(&r->marks, ":%d", e->of[i].n);
		}
		buf_add_str(&r->marks, "}]");
	}
	memset(e, 0, sizeof(*e));
}

static void
read_edit(struct reading *r)
{
	int at = lane(r, REPLICA), i;
	struct edits *e;

	if (at < 0)
		return;
	e = &r->edits[at];
	if (e->n++ == 0)
		e->at = number(r, AT);
	e->end = number(r, AT);
	e->entries += number(r, ENTRIES);
	for (i = 0; i < COMMANDS - 1 && e->of[i].n > 0; i++)
		if (span_eq(e->of[i].command, r->of[COMMAND]))
			break;
	e->of[i].command = i == COMMANDS - 1 ? span_of("\"others\"") : r->of[COMMAND];
	e->of[i].n++;
}

/* What a request is for: the word after /sync/, else "project". */
static void
add_purpose(struct buf *out, struct span path)
{
	static const char sync[] = "/sync/";
	const char *p = memmem(path.p, path.len, sync, sizeof(sync) - 1);
	size_t n = 0;

	if (p == NULL) {
		buf_add_str(out, "\"project\"");
		return;
	}
	p += sizeof(sync) - 1;
	while (p + n < path.p + path.len && ((p[n] >= 'a' && p[n] <= 'z') || p[n] == '-'))
		n++;
	buf_addf(out, "\"%.*s\"", (int)n, p);
}

static void
read_request(struct reading *r)
{
	int at = lane(r, REPLICA);
	bool ordinary = is(r, FAULT, "none") && is(r, RC, "RC_OK") &&
	    (number(r, STATUS) == 200 || number(r, STATUS) == 304);

	if (at < 0)
		return;
	end_edits(r, at);
	if (!has_room(r, ordinary))
		return;
	buf_addf(next(&r->marks), "[\"r\",%d,%lld,%lld,", at, (long long)number(r, BEGAN),
	    (long long)(number(r, AT) - number(r, BEGAN)));
	add_purpose(&r->marks, r->of[PATH]);
	buf_add_byte(&r->marks, ',');
	buf_add_span(&r->marks, is(r, FAULT, "none") ? span_of("\"\"") : r->of[FAULT]);
	buf_addf(&r->marks, ",%lld,", (long long)number(r, STATUS));
	buf_add_span(&r->marks, is(r, RC, "RC_OK") ? span_of("\"\"") : r->of[RC]);
	buf_addf(&r->marks, ",%lld,%lld,%lld]", (long long)number(r, BATCH),
	    (long long)number(r, SENT), (long long)number(r, GOT));
}

static void
read_call(struct reading *r)
{
	int at = lane(r, REPLICA);
	struct span v;
	bool first = true;
	size_t i;

	if (at < 0)
		return;
	end_edits(r, at);
	if (!has_room(r, is(r, OUTCOME, "TDSYNC_OK") || is(r, OUTCOME, "OK")))
		return;
	buf_addf(next(&r->marks), "[\"c\",%d,%lld,%lld,", at, (long long)number(r, BEGAN),
	    (long long)(number(r, ENDED) - number(r, BEGAN)));
	buf_add_span(&r->marks, r->of[CALL]);
	buf_add_byte(&r->marks, ',');
	buf_add_span(&r->marks, r->of[OUTCOME]);
	buf_add_str(&r->marks, ",{");
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		if (!json_get(r->line, counts[i], &v) || span_is(v, "0"))
			continue;
		buf_addf(&r->marks, "%s\"%s\":", first ? "" : ",", counts[i]);
		buf_add_span(&r->marks, v);
		first = false;
	}
	buf_add_str(&r->marks, "},");
	buf_add_span(&r->marks, r->of[STEP].len > 0 ? r->of[STEP] : span_of("\"\""));
	buf_add_byte(&r->marks, ',');
	buf_add_span(&r->marks, r->of[ERROR]);
	buf_add_byte(&r->marks, ']');
}

static void
read_happened(struct reading *r)
{
	int at = lane(r, WHO);

	if (at >= 0)
		end_edits(r, at);
	buf_addf(next(&r->marks), "[\"h\",%d,%lld,", at, (long long)number(r, AT));
	buf_add_span(&r->marks, r->of[WHAT]);
	buf_add_byte(&r->marks, ']');
}

static void
read_line(struct reading *r, struct span text)
{
	if (json_scan(text, JSON_MAX_DEPTH, &r->line, NULL, NULL) != RC_OK)
		return; /* cut, for its process was killed */
	json_pick(r->line, members, MEMBERS, r->of);
	if (is(r, T, "replica") && r->lanes_n < RUN_REPLICAS) {
		r->names[r->lanes_n++] = r->of[NAME];
		buf_add_byte(next(&r->lanes), '[');
		buf_add_span(&r->lanes, r->of[NAME]);
		buf_addf(&r->lanes, ",%lld]", (long long)number(r, SCHEMA));
	} else if (is(r, T, "edit")) {
		read_edit(r);
	} else if (is(r, T, "request")) {
		read_request(r);
	} else if (is(r, T, "call")) {
		read_call(r);
	} else if (is(r, T, "happened")) {
		read_happened(r);
	} else if (is(r, T, "step") && has_room(r, true)) {
		buf_addf(next(&r->marks), "[\"s\",%lld,", (long long)number(r, AT));
		buf_add_span(&r->marks, r->of[LINE]);
		buf_add_byte(&r->marks, ']');
	} else if (is(r, T, "conflict")) {
		buf_add_span(next(&r->conflicts), r->line);
	} else if (is(r, T, "healed")) {
		buf_add_span(next(&r->healed), r->line);
	} else if (is(r, T, "row")) {
		buf_add_span(next(&r->rows), r->line);
	} else if (is(r, T, "difference") && r->noticed.len == 0) {
		r->noticed = r->of[WHAT];
	}
}

static void
read_trace(struct reading *r, struct span text)
{
	const char *p = text.p, *end = text.p + text.len, *to;
	int i;

	while (p < end && (to = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		read_line(r, (struct span){ p, (size_t)(to - p) });
		p = to + 1;
	}
	for (i = 0; i < r->lanes_n; i++)
		end_edits(r, i);
}

/* --- the runs --- */

static void
add_text(struct buf *out, const char *name, const char *text)
{
	if (text[0] == '\0')
		return;
	buf_addf(out, ",\"%s\":", name);
	buf_add_json(out, span_of(text));
}

static void
add_list(struct buf *out, const char *name, struct buf *list)
{
	if (list->failed)
		die("out of memory");
	buf_addf(out, ",\"%s\":[", name);
	buf_add_span(out, buf_span(list));
	buf_add_byte(out, ']');
	buf_free(list);
}

void
report_add(struct report *p, const struct report_run *run, const char *trace)
{
	struct reading r = { 0 };
	struct buf text = { 0 };
	struct err err;

	/* A run that could not begin has none. */
	if (fs_read(trace, 1 << 30, &text, &err) == RC_OK)
		read_trace(&r, buf_span(&text));
	buf_addf(next(&p->runs), "\n{\"n\":%d,\"seed\":\"%llu\",\"events\":%lld,\"ms\":%lld",
	    run->n, (unsigned long long)run->seed, (long long)run->events,
	    (long long)run->ms);
	add_text(&p->runs, "scenario", run->scenario);
	add_text(&p->runs, "about", run->about);
	add_text(&p->runs, "via", run->via);
	add_text(&p->runs, "outcome", run->outcome);
	add_text(&p->runs, "why", run->why);
	add_text(&p->runs, "again", run->again);
	add_text(&p->runs, "kept", run->kept);
	add_list(&p->runs, "lanes", &r.lanes);
	add_list(&p->runs, "marks", &r.marks);
	add_list(&p->runs, "conflicts", &r.conflicts);
	add_list(&p->runs, "healed", &r.healed);
	add_list(&p->runs, "rows", &r.rows);
	buf_addf(&p->runs, ",\"left_out\":%lld", (long long)r.left_out);
	if (r.noticed.len > 0) {
		buf_add_str(&p->runs, ",\"noticed\":");
		buf_add_span(&p->runs, r.noticed);
	}
	buf_add_byte(&p->runs, '}');
	buf_free(&text);
}

/* --- the page --- */

/* Put the page together: what stands between its marks, and what belongs there.
 * The JSON has no '<' (buf_add_json() escapes it), so no text in it can end
 * the element that holds it. */
static void
fill(struct buf *out, struct report *p, struct span data)
{
	const struct {
		const char *mark;
		struct span text;
	} places[] = {
		{ "@CSS@", buf_span(&p->css) },
		{ "@DATA@", data },
		{ "@JS@", buf_span(&p->js) },
	};
	const char *from = p->page.p, *at;
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if ((at = strstr(from, places[i].mark)) == NULL)
			die("harness/report/page.html: no %s", places[i].mark);
		buf_add(out, from, (size_t)(at - from));
		buf_add_span(out, places[i].text);
		from = at + strlen(places[i].mark);
	}
	buf_add_str(out, from);
}

void
report_write(struct report *p)
{
	struct buf data = { 0 }, page = { 0 };
	char made[TIME_TEXT];
	struct err err;

	buf_addf(&data, "{\"made\":\"%s\",\"ms\":%lld,\"command\":",
	    time_text(clock_now_us() / 1000000, made),
	    (long long)(clock_mono_ms() - p->began_ms));
	buf_add_json(&data, buf_span(&p->command));
	buf_add_str(&data, ",\"runs\":[");
	buf_add_span(&data, buf_span(&p->runs));
	buf_add_str(&data, "]}");
	fill(&page, p, buf_span(&data));
	if (p->runs.failed || data.failed || p->command.failed || page.failed)
		die("out of memory");
	if (fs_write(p->path, buf_span(&page), 0644, &err) != RC_OK)
		die("%s", err.text);
	printf("the dashboard is in %s\n", p->path);
	buf_free(&page);
	buf_free(&data);
	buf_free(&p->command);
	buf_free(&p->page);
	buf_free(&p->css);
	buf_free(&p->js);
	buf_free(&p->runs);
	free(p);
}
