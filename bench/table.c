/* What came out, see table.h. */
#include "bench/table.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *heading, *name; /* in the table, in JSON */
	int width, digits;
} figures[F__MAX] = {
	[F_RATE]      = { "ours/s", "per_second", 9, 0 },
	[F_REFERENCE] = { "ref/s", "reference_per_second", 9, 0 },
	[F_P50]       = { "p50 ms", "p50_ms", 8, 2 },
	[F_P99]       = { "p99 ms", "p99_ms", 8, 2 },
	[F_CPU]       = { "CPU us", "cpu_us_per_request", 8, 0 },
	[F_CPU_EVENT] = { "/event", "cpu_us_per_event", 7, 2 },
	[F_NGINX]     = { "nginx", "nginx_us_per_request", 7, 0 },
	[F_BYTES]     = { "B/event", "bytes_written_per_event", 8, 0 },
	[F_REFERENCE_BYTES] = { "ref B", "reference_bytes_written_per_event", 7, 0 },
	[F_GENERATOR] = { "gen", "generator_cores", 5, 2 },
};

struct row *
table_add(struct results *t, const char *id, double value, const char *unit,
          enum aim aim, double target)
{
	struct row *r = realloc(t->rows, (t->n + 1) * sizeof(*r));

	if (r == NULL)
		abort();
	t->rows = r;
	r += t->n++;
	*r = (struct row){ .value = value, .unit = unit, .aim = aim, .target = target };
	snprintf(r->id, sizeof(r->id), "%s", id);
	for (int i = 0; i < F__MAX; i++)
		r->figures[i] = NAN;
	return r;
}

void
table_free(struct results *t)
{
	free(t->rows);
	*t = (struct results){ 0 };
}

bool
row_met(const struct row *r)
{
	return r->aim == AIM_NONE || (r->aim == AIM_AT_LEAST && r->value >= r->target) ||
	       (r->aim == AIM_AT_MOST && r->value <= r->target);
}

static void
print_figure(int i, double v)
{
	if (isnan(v))
		printf(" %*s", figures[i].width, "");
	else
		printf(" %*.*f", figures[i].width, figures[i].digits, v);
}

static void
print_row(const struct results *t, const struct row *r)
{
	char target[16] = "";

	if (r->aim != AIM_NONE)
		snprintf(target, sizeof(target), "%s %g",
		         r->aim == AIM_AT_LEAST ? ">=" : "<=", r->target);
	printf("%-26s %8.3g %-3s %-8s %-4s", r->id, r->value, r->unit, target,
	       r->aim == AIM_NONE ? "" : !t->judged ? "-" : row_met(r) ? "yes" : "NO");
	for (int i = 0; i < F__MAX; i++)
		print_figure(i, r->figures[i]);
	putchar('\n');
}

void
table_print(const struct results *t)
{
	putchar('\n');
	printf("%-26s %8s %-3s %-8s %-4s", "row", "value", "", "target", "met");
	for (int i = 0; i < F__MAX; i++)
		printf(" %*s", figures[i].width, figures[i].heading);
	putchar('\n');
	for (size_t i = 0; i < t->n; i++)
		print_row(t, &t->rows[i]);
}

/* --- JSON --- */

static void
add_number(struct buf *b, const char *name, double v)
{
	if (isfinite(v))
		buf_addf(b, ",\"%s\":%.6g", name, v);
}

static void
add_row(struct buf *b, const struct row *r)
{
	buf_addf(b, "{\"id\":\"%s\",\"unit\":\"%s\"", r->id, r->unit);
	add_number(b, "value", r->value);
	if (r->aim != AIM_NONE) {
		add_number(b, r->aim == AIM_AT_LEAST ? "at_least" : "at_most", r->target);
		buf_addf(b, ",\"met\":%s", row_met(r) ? "true" : "false");
	}
	for (int i = 0; i < F__MAX; i++)
		add_number(b, figures[i].name, r->figures[i]);
	buf_add_byte(b, '}');
}

enum rc
table_write(const struct results *t, const char *commit, const char *path, struct err *err)
{
	char now[TIME_TEXT];
	struct buf b = { 0 };
	enum rc rc;

	buf_add_str(&b, "{\"commit\":");
	buf_add_json(&b, span_of(commit));
	buf_addf(&b, ",\"time\":\"%s\",\"cores\":%ld,\"rows\":[\n",
	         time_text(clock_now_us() / 1000000, now), sysconf(_SC_NPROCESSORS_ONLN));
	for (size_t i = 0; i < t->n; i++) {
		add_row(&b, &t->rows[i]);
		buf_add_str(&b, i + 1 < t->n ? ",\n" : "\n");
	}
	buf_add_str(&b, "]}\n");
	rc = b.failed ? err_set(err, RC_FAULT, "out of memory")
	              : fs_write(path, buf_span(&b), 0644, err);
	buf_free(&b);
	return rc;
}

/* --- two of them --- */

static bool
load(const char *path, struct buf *text, struct span *rows)
{
	struct span all;
	struct err err;

	if (fs_read(path, 1 << 20, text, &err) != RC_OK ||
	    json_scan(buf_span(text), JSON_MAX_DEPTH, &all, NULL, &err) != RC_OK) {
		fprintf(stderr, "bench: %s: %s\n", path, err.text);
		return false;
	}
	if (json_get(all, "rows", rows))
		return true;
	fprintf(stderr, "bench: %s: no results\n", path);
	return false;
}

static double
number(struct span row, const char *name)
{
	struct span value;
	double v;

	return json_get(row, name, &value) && json_double(value, &v) ? v : NAN;
}

/* The row of that id (with its quotes), empty where there is none. */
static struct span
find(struct span rows, struct span id)
{
	struct span key, row, its;
	struct json_iter it;

	json_iter_init(&it, rows);
	while (json_next(&it, &key, &row))
		if (json_get(row, "id", &its) && span_eq(its, id))
			return row;
	return (struct span){ 0 };
}

static void
print_change(double before, double after)
{
	if (isnan(before) || isnan(after))
		printf(" %10s %10s %8s", "", "", "");
	else
		printf(" %10.4g %10.4g %+7.1f%%", before, after,
		       before != 0 ? (after / before - 1) * 100 : 0);
}

bool
table_compare(const char *before, const char *after)
{
	struct buf old_text = { 0 }, new_text = { 0 };
	struct span old, new, key, row, id;
	struct json_iter it;
	bool ok = load(before, &old_text, &old) && load(after, &new_text, &new);

	if (ok) {
		printf("%-26s %10s %10s %8s %10s %10s\n", "row", "before", "after", "",
		       "CPU us", "CPU us");
		json_iter_init(&it, new);
		while (json_next(&it, &key, &row)) {
			struct span was;

			if (!json_get(row, "id", &id))
				continue;
			was = find(old, id);
			printf("%-26.*s", (int)id.len - 2, id.p + 1);
			print_change(number(was, "value"), number(row, "value"));
			print_change(number(was, figures[F_CPU].name),
			             number(row, figures[F_CPU].name));
			putchar('\n');
		}
	}
	buf_free(&old_text);
	buf_free(&new_text);
	return ok;
}
