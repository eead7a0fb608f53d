/* td-sync-admin doctor: the accounts, and each project's log and state. */
#include "cli/td-sync-admin-doctor.h"

#include "base/json.h"
#include "store/devices.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAG_EVENTS 2000 /* a state may be so far behind its log, */
#define LAG_US (INT64_C(600) * 1000000) /* or as long as events came so lately */
#define LATELY_US (INT64_C(3600) * 1000000)
#define AHEAD_US (INT64_C(60) * 1000000) /* the log may be so far ahead of the clock */
#define STATES_MS 3000  /* so long at most for states that are not far behind */
#define SHOWN 10        /* projects that a kind of finding names; --json has all */

/* Kinds of findings of which there may be one in each project. */
enum kind { KIND_LOG, KIND_PROFILE, KIND_STATE, KIND_PARKED, KIND_LOST, KIND_SKIPPED, KIND__MAX };

static const struct finding kinds[KIND__MAX] = {
	[KIND_LOG] = { LEVEL_ERROR, "log", "nobody can push to it or pull from it",
		"see what it says; td-sync-admin restore BACKUP --project ID brings one back" },
	[KIND_PROFILE] = { LEVEL_ERROR, "profile", "its events can't be judged, so no push is taken",
		"put the profile's file back, or mend it: td-sync-admin profile list" },
	[KIND_STATE] = { LEVEL_WARNING, "state", "who needs it next waits for it to be made, or gets "
		"503: snapshots, conflicts, histories", "td-sync-admin project rebuild ID, when few push" },
	[KIND_PARKED] = { LEVEL_WARNING, "parked", "a newer td wrote them, and this td-sync does not "
		"know what they are: they are kept, but nobody gets them", "install a td-sync whose "
		"profile knows them; what was parked goes out then" },
	[KIND_LOST] = { LEVEL_WARNING, "lost", "a restore set the log back, and what came between the "
		"backup and that is on this device alone", "on that device: td-sync sync, which offers it "
		"again; a stock td can't: copy what is missing by hand" },
	[KIND_SKIPPED] = { LEVEL_OK, "skipped", NULL, NULL },
};

struct entry {
	char id[ID_MAX];
	char slug[80];
};

struct logs {
	struct doctor *d;
	struct installed in;
	struct entry *list; /* the live projects */
	size_t n, room;
	int64_t events;
	int64_t states_until_ms;
	int found[KIND__MAX]; /* findings of each kind */
	const struct entry *at;
	const char *dir;
	const struct profile *profile;
};

static void found(struct logs *l, enum kind kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* A finding in the project that is looked at. */
static void
found(struct logs *l, enum kind kind, const char *fmt, ...)
{
	char what[800];
	va_list ap;

	if (l->found[kind]++ >= SHOWN && !l->d->a->json) {
		l->d->errors += kinds[kind].level == LEVEL_ERROR;
		l->d->warnings += kinds[kind].level == LEVEL_WARNING;
		return;
	}
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	doctor_say(l->d, &kinds[kind], "%s (%s): %s", l->at->slug, l->at->id, what);
}

/* --- one project --- */

/* The first fields that a payload writes: "a, b". */
static void
add_fields(struct span payload, struct buf *out)
{
	struct span data, key, value;
	struct json_iter it;
	struct buf word = { 0 };

	if (!json_get(payload, "new_data", &data))
		data = payload;
	json_iter_init(&it, data);
	for (int i = 0; i < 6 && json_next(&it, &key, &value); i++) {
		buf_reset(&word);
		json_string(key, &word);
		buf_addf(out, "%s%.*s", i > 0 ? ", " : "", (int)word.len, word.p);
	}
	buf_free(&word);
}

/* What an event tells of that has no column we know. */
static void
add_fields_of(const char *dir, int64_t seq, struct buf *out)
{
	struct events *log;
	struct event ev;

	if (events_open(dir, &log, NULL) != RC_OK)
		return;
	if (events_get(log, seq, &ev, NULL) == RC_OK)
		add_fields(ev.payload, out);
	events_got(log);
	events_close(log);
}

static void
show_parked(void *ctx, struct span type, int64_t n, int64_t seq, int64_t server_us)
{
	struct logs *l = ctx;
	struct buf fields = { 0 };
	const char *s = n == 1 ? "" : "s";
	char at[TIME_TEXT];

	time_text(server_us / 1000000, at);
	if (l->profile == NULL || profile_entity(l->profile, type) == NULL) {
		found(l, KIND_PARKED, "%" PRId64 " event%s of the type %.*s, which is unknown here, since "
		      "%s (event %" PRId64 ")", n, s, (int)type.len, type.p, at, seq);
		return;
	}
	add_fields_of(l->dir, seq, &fields);
	found(l, KIND_PARKED, "%" PRId64 " event%s of the type %.*s with unknown columns alone (%.*s), "
	      "since %s (event %" PRId64 ")", n, s, (int)type.len, type.p, (int)fields.len,
	      fields.p != NULL ? fields.p : "", at, seq);
	buf_free(&fields);
}

/* Whether the head tells of the rows that there are. */
static void
check_rows(struct logs *l, const struct events_glance *g)
{
	const struct events_head *head = &g->head;

	l->events += head->count;
	/* A restore leaves the head ahead of the last event, never behind. */
	if (g->last > head->seq || (head->count < EVENTS_NEWEST ? g->rows != head->count
	                                                         : g->rows < EVENTS_NEWEST))
		found(l, KIND_LOG, "it says that it has %" PRId64 " events up to %" PRId64 ", of the newest "
		      "there are %" PRId64 " up to %" PRId64, head->count, head->seq, g->rows, g->last);
}

/* To look at a state takes long, so only where it may be far behind, or where something
 * was just not applied. */
static void
check_state(struct logs *l, const struct events_head *head)
{
	int64_t now_us = clock_now_us();
	struct state_glance s;
	char mark[FOLLOW_MARK], at[TIME_TEXT];
	bool ours;
	enum rc rc;

	if (head->count <= LAG_EVENTS &&
	    (head->time_us < now_us - LATELY_US || clock_mono_ms() > l->states_until_ms))
		return;
	rc = state_look(l->dir, &s, &l->d->a->err);
	if (rc == RC_BUSY) /* somebody is bringing it up to date */
		return;
	if (rc != RC_OK && rc != RC_NOT_FOUND) {
		found(l, KIND_STATE, "%s", l->d->a->err.text);
		return;
	}
	follow_mark(l->profile, mark);
	ours = rc == RC_OK && strcmp(s.mark, mark) == 0 &&
	    memcmp(s.log_id, head->log_id, LOG_ID_LEN) == 0;
	time_text(head->time_us / 1000000, at);
	if (head->count > LAG_EVENTS && !ours && head->time_us < now_us - LAG_US)
		found(l, KIND_STATE, "there is none of it, though it has %" PRId64 " events, the last of %s",
		      head->count, at);
	else if (ours && head->visible - s.seq > LAG_EVENTS && head->time_us < now_us - LAG_US)
		found(l, KIND_STATE, "it is at event %" PRId64 ", the log at %" PRId64 " since %s", s.seq,
		      head->visible, at);
	if (ours && s.skipped > 0)
		found(l, KIND_SKIPPED, "%" PRId64 " event%s could not be applied by td's rules (%s), since "
		      "event %" PRId64 ": td-sync-admin project skipped lists them", s.skipped,
		      s.skipped == 1 ? "" : "s", s.reason, s.first_skipped);
}

static enum rc
show_lost(void *ctx, const struct device_lost *d)
{
	struct logs *l = ctx;
	char at[TIME_TEXT];

	found(l, KIND_LOST, "the device %.*s holds events that the server lost: of %" PRId64 " to %"
	      PRId64 ", seen last %s", (int)d->name.len, d->name.p, d->after + 1, d->until,
	      time_text(d->seen_us / 1000000, at));
	return RC_OK;
}

static void
check_parked(struct logs *l)
{
	struct err *err = &l->d->a->err;
	struct events *log;
	enum rc rc = events_open(l->dir, &log, err);

	if (rc == RC_OK)
		rc = events_each_parked(log, show_parked, l, err);
	if (rc != RC_OK)
		found(l, KIND_LOG, "%s", err->text);
	events_close(log);
}

static void
check_project(struct logs *l)
{
	char dir[PATH_MAX], name[ID_MAX + sizeof("projects/")];
	struct err *err = &l->d->a->err;
	struct events_glance g;

	snprintf(name, sizeof(name), "projects/%s", l->at->id);
	if (!doctor_path(l->d, name, dir))
		return;
	l->dir = dir;
	l->profile = NULL;
	if (events_look(dir, &g, err) != RC_OK) {
		found(l, KIND_LOG, "%s", err->text);
		return;
	}
	if (g.head.time_us > l->d->last_us)
		l->d->last_us = g.head.time_us;
	if (installed_get(&l->in, g.profile, &l->profile, err) != RC_OK)
		found(l, KIND_PROFILE, "%s", err->text);
	check_rows(l, &g);
	if (g.parked > 0)
		check_parked(l);
	if (g.head.seq > g.head.count) /* numbers were left out: by a restore, for one */
		devices_each_lost(dir, show_lost, l);
	if (l->profile != NULL)
		check_state(l, &g.head);
}

/* --- all of them --- */

static enum rc
take_project(void *ctx, const struct project *p)
{
	struct logs *l = ctx;

	if (p->deleted_at != 0)
		return RC_OK;
	if (l->n == l->room) {
		size_t room = l->room == 0 ? 64 : 2 * l->room;
		struct entry *more = realloc(l->list, room * sizeof(*more));

		if (more == NULL)
			return RC_FAULT;
		l->list = more;
		l->room = room;
	}
	snprintf(l->list[l->n].id, ID_MAX, "%s", p->id);
	snprintf(l->list[l->n++].slug, sizeof(l->list[0].slug), "%.79s", p->slug);
	return RC_OK;
}

static bool
list_projects(struct logs *l)
{
	const struct finding f = { LEVEL_ERROR, "accounts", "nobody can be let in: all requests get 503",
		"see what it says; td-sync-admin restore BACKUP brings it back" };
	struct admin *a = l->d->a;
	enum rc rc = accounts_open(a->data, &a->accounts, &a->err);

	if (rc == RC_NOT_FOUND)
		err_set(&a->err, rc, "%s is no data folder of td-sync yet: td-sync-admin init", a->data);
	if (rc == RC_OK)
		rc = project_list(a->accounts, NULL, take_project, l, &a->err);
	if (rc != RC_OK)
		doctor_say(l->d, &f, "%s", a->err.text);
	return rc == RC_OK;
}

/* What was not named. */
static void
tell_more(struct logs *l)
{
	for (int i = 0; i < KIND__MAX; i++)
		if (l->found[i] > SHOWN && !l->d->a->json)
			doctor_ok(l->d, kinds[i].check, "and %d more of these: --json has all",
			          l->found[i] - SHOWN);
}

static void
check_clock(struct doctor *d)
{
	const struct finding f = { LEVEL_ERROR, "clock", "events would get times of before those that "
		"are there, and tokens be valid for longer, or not yet", "set the clock right: timedatectl "
		"set-ntp true, for one" };
	int64_t ahead_us = d->last_us - clock_now_us();
	char at[TIME_TEXT];

	if (ahead_us > AHEAD_US)
		doctor_say(d, &f, "the last event was logged at %s, which is %" PRId64 " s from now: the "
		           "clock was set back, or was wrong then", time_text(d->last_us / 1000000, at),
		           ahead_us / 1000000);
}

void
doctor_logs(struct doctor *d)
{
	struct logs l = { .d = d, .states_until_ms = clock_mono_ms() + STATES_MS };

	installed_init(&l.in, d->config.profiles);
	if (list_projects(&l)) {
		for (size_t i = 0; i < l.n; i++) {
			l.at = &l.list[i];
			check_project(&l);
		}
		tell_more(&l);
		check_clock(d);
		if (l.found[KIND_LOG] + l.found[KIND_PROFILE] == 0)
			doctor_ok(d, "logs", "%zu project%s, %" PRId64 " events (td-sync-admin project "
			          "verify looks at all of one)", l.n, l.n == 1 ? "" : "s", l.events);
	}
	installed_close(&l.in);
	free(l.list);
}
