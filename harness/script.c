#include "script.h"

#include "check.h"
#include "emit.h"
#include "stock.h"
#include "sync.h"

#include "store/events.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORDS 24

/* A line cut into words; `rest` is what follows a colon, else NULL. `whole` is
 * the line as it came, the caller's. */
struct line {
	const char *whole;
	char text[400];
	char *word[WORDS + 1]; /* ended by NULL */
	int n;
	const char *rest;
};

static bool run_line(struct run *run, const char *text);

static void
cut(const char *text, struct line *l)
{
	char *p, *to;

	memset(l, 0, sizeof(*l));
	l->whole = text + strspn(text, " \t\n");
	if (strlen(text) >= sizeof(l->text))
		die("script: the line is too long: %s", text);
	strcpy(l->text, text);
	for (p = l->text; *p != '\0';) {
		while (isspace((unsigned char)*p))
			p++;
		if (*p == '\0')
			break;
		if (p[0] == ':' && (p[1] == ' ' || p[1] == '\0')) {
			l->rest = text + (p + 1 - l->text);
			break;
		}
		if (l->n == WORDS)
			die("script: too many words: %s", text);
		l->word[l->n++] = p;
		if (*p == '\'') {
			l->word[l->n - 1] = ++p;
			if ((to = strchr(p, '\'')) == NULL)
				die("script: no end of the text: %s", text);
		} else {
			for (to = p; *to != '\0' && !isspace((unsigned char)*to); to++)
				;
		}
		p = to + (*to != '\0');
		*to = '\0';
	}
}

/* --- names --- */

static const char *
id_of(struct run *run, const char *name)
{
	size_t i;

	for (i = 0; i < run->n_names; i++)
		if (strcmp(run->names[i].name, name) == 0)
			return run->names[i].id;
	die("script: nothing is called %s", name);
}

static void
name_it(struct run *run, const char *name, const char *id)
{
	size_t i;

	for (i = 0; i < run->n_names; i++)
		if (strcmp(run->names[i].name, name) == 0)
			break;
	if (i == RUN_NAMES)
		die("script: too many names");
	snprintf(run->names[i].name, sizeof(run->names[i].name), "%s", name);
	snprintf(run->names[i].id, sizeof(run->names[i].id), "%s", id);
	if (i == run->n_names)
		run->n_names++;
}

/* --- edits --- */

/* What a line does that is neither an edit nor a call, in its own words. */
static void
tell_happened(struct run *run, const struct replica *r, const struct line *l)
{
	char what[60];

	snprintf(what, sizeof(what), "%s%s%s", l->word[1], l->n > 2 ? " " : "",
	    l->n > 2 ? l->word[2] : "");
	run_tell(run, r, what);
}

static void
tell_edit(struct run *run, const struct replica *r, const char *command,
          const char *id, int entries)
{
	trace_line(&run->trace, "edit", "s:replica", r->name, "s:command", command, "s:id",
	    id, "i:entries", (int64_t)entries, NULL);
}

/* A text, or where it is '@' and a number, one of so many bytes. */
static const char *
text_of(const char *word, struct buf *out)
{
	static const char some[] = "It costs 5 \xe2\x82\xac < \"quoted\" \\ & so on,\n"
	    "over and over, until it is as long as a text that somebody pasted.\n";
	size_t n = word[0] == '@' ? (size_t)strtoul(word + 1, NULL, 10) : 0;

	if (n == 0)
		return word;
	while (out->len < n)
		buf_add(out, some, sizeof(some) - 1);
	return buf_cstr(out);
}

/* A command's arguments as a line has them. */
struct arguments {
	struct emit_args args;
	struct buf text;
	const char *made;    /* what it makes is called so; NULL: it makes nothing */
};

static void
read_arguments(struct run *run, const struct command *c, char **word, struct arguments *a)
{
	const char *t;

	memset(a, 0, sizeof(*a));
	if (*c->takes == '+')
		a->made = *word ? *word++ : "it";
	for (t = c->takes; *t != '\0'; t++) {
		if (*t == '+' || *word == NULL)
			continue;
		if (*t == 't')
			a->args.text = text_of(*word++, &a->text);
		else if (a->args.id == NULL)
			a->args.id = id_of(run, *word++);
		else
			a->args.other = id_of(run, *word++);
	}
	if (*c->takes == '+' && *word != NULL) /* create NAME TEXT PARENT */
		a->args.other = id_of(run, *word);
	if (a->args.text == NULL && strchr(c->takes, 't') != NULL)
		a->args.text = "Text";
}

/* A command was done, or not. */
static bool
end_edit(struct run *run, const struct replica *r, const struct command *c,
         struct arguments *a, bool done, const char *id)
{
	buf_free(&a->text);
	if (!done)
		return run_fail(run, "script: %s: td would refuse to %s", r->name, c->name);
	if (a->made != NULL)
		name_it(run, a->made, id);
	return true;
}

static bool
edit(struct run *run, struct replica *r, const struct command *c, char **word)
{
	struct arguments a;
	struct emit *e;
	char id[ID_MAX];
	bool done;

	read_arguments(run, c, word, &a);
	/* Within a call of the library td would wait for the lock it holds. */
	if ((e = emit_open(r, run->depth == 0)) == NULL) {
		buf_free(&a.text);
		return true;
	}
	done = emit_run(e, c, &a.args, id);
	if (done)
		tell_edit(run, r, c->name, id, emit_entries(e));
	emit_close(e);
	return end_edit(run, r, c, &a, done, id);
}

/* One command with arguments by chance. */
static bool
try_command(struct run *run, struct emit *e, struct replica *r, const struct command *c,
            int tries)
{
	int before = emit_entries(e);
	char id[ID_MAX];

	if (!emit_chance(e, c, tries, id))
		return false;
	tell_edit(run, r, c->name, id, emit_entries(e) - before);
	return true;
}

/* A command with arguments by chance, where it can be done. */
static bool
try_one(struct run *run, struct replica *r, const struct command *c)
{
	struct emit *e = emit_open(r, run->depth == 0);

	if (e != NULL) {
		try_command(run, e, r, c, 40);
		emit_close(e);
	}
	return true;
}

/* The same by a td that syncs by itself. */
static bool
td(struct run *run, struct replica *r, const struct command *c, char **word)
{
	struct arguments a;
	char id[ID_MAX];

	read_arguments(run, c, word, &a);
	return end_edit(run, r, c, &a, stock_command(run, r, c, &a.args, NULL, id), id);
}

static bool
random_edits(struct run *run, struct replica *r, int n)
{
	struct emit *e = emit_open(r, run->depth == 0);
	const struct command *c;
	char id[ID_MAX];
	int before;

	if (e == NULL)
		return true;
	while (n-- > 0) {
		before = emit_entries(e);
		if ((c = emit_random(e, id)) != NULL)
			tell_edit(run, r, c->name, id, emit_entries(e) - before);
	}
	emit_close(e);
	return true;
}

/* Every command once, in the order of the table; what could not be done is
 * tried again at the end, when there is more to do it to. */
static bool
walk(struct run *run, struct replica *r)
{
	static const char *const more[] = { "create", "board", "place", "start", "link",
	    "review", "ws-tag", "note" };
	struct emit *e = emit_open(r, true);
	const struct command *c, *missed[64];
	size_t n = 0, i, left = 0;

	for (c = commands; c->name != NULL; c++)
		if (!try_command(run, e, r, c, 40))
			missed[n++] = c;
	for (i = 0; i < 8 * (sizeof(more) / sizeof(more[0])); i++)
		try_command(run, e, r, command_find(more[i % (sizeof(more) / sizeof(more[0]))]),
		    40);
	for (i = 0; i < n; i++)
		if (!try_command(run, e, r, missed[i], 400))
			missed[left++] = missed[i];
	emit_close(e);
	/* Before schema 38 two of them are not there. */
	if (left > (r->schema < 38 ? 5 : 3))
		return run_fail(run, "script: %s: walk: %zu commands were not possible,"
		    " as %s", r->name, left, missed[left - 1]->name);
	return true;
}

/* --- calls --- */

struct meanwhile {
	struct run *run;
	const char *line;
};

static void
do_meanwhile(void *ctx, const char *step)
{
	struct meanwhile *m = ctx;

	(void)step;
	if (run_ok(m->run) && m->run->depth < 3)
		run_line(m->run, m->line);
}

/* What a line wants of a call. */
struct wish {
	struct plan plan;
	struct meanwhile meanwhile;
	const char *begins; /* "begins", "replays", or NULL */
	bool fails, wedged, may;
	char where[40];
};

/* Read it from the words after the call. It must stay where it is. */
static void
read_wish(struct run *run, const struct line *l, int at, const char *where, struct wish *w)
{
	memset(w, 0, sizeof(*w));
	w->plan.faults.where = where;
	w->plan.faults.times = 1;
	w->meanwhile = (struct meanwhile){ run, l->rest };
	for (; at < l->n; at++) {
		const char *word = l->word[at], *next = l->word[at + 1];
		enum fault f = fault_find(word);

		if (f != FAULT_NONE) {
			w->plan.faults.kind = f;
			continue;
		}
		if (strcmp(word, "fails") == 0) {
			w->fails = true;
			continue;
		}
		if (strcmp(word, "may") == 0) {
			w->may = true;
			continue;
		}
		if (strcmp(word, "wedged") == 0) {
			w->wedged = true;
			continue;
		}
		if (strcmp(word, "begins") == 0 || strcmp(word, "replays") == 0) {
			w->begins = word;
			continue;
		}
		if (next == NULL)
			die("script: what is %s in: %s", word, l->whole);
		at++;
		if (strcmp(word, "on") == 0) {
			snprintf(w->where, sizeof(w->where), "/sync/%s", next);
			w->plan.faults.where = w->where;
		} else if (strcmp(word, "die") == 0) {
			w->plan.die_at = atoi(next);
		} else if (strcmp(word, "retries") == 0) {
			w->plan.retries = atoi(next);
		} else if (strcmp(word, "meanwhile") == 0) {
			w->plan.at_step = next;
			w->plan.hook = do_meanwhile;
			w->plan.ctx = &w->meanwhile;
		} else {
			die("script: what is %s in: %s", word, l->whole);
		}
	}
}

/* Whether the call ended as it was to. */
static bool
judge(struct run *run, const struct replica *r, const struct line *l,
      const struct wish *w, const struct outcome *out)
{
	const struct plan *p = &w->plan;
	bool lossy = p->retries == 0 && fault_is_lossy(p->faults.kind);

	if (p->die_at > 0 && out->died)
		return run_ok(run);
	if (w->may && !out->wedged && (out->rc == TDSYNC_NETWORK || out->rc == TDSYNC_BUSY ||
	    out->rc == TDSYNC_OK))
		return run_ok(run);
	if (p->faults.kind != FAULT_NONE && p->faults.struck == 0)
		return run_fail(run, "%s: the fault met no request", r->name);
	if (p->faults.kind == FAULT_KILLED) /* in time, or not */
		return run_ok(run);
	if (w->begins != NULL && (w->begins[0] == 'b') != (out->result.snapshot_seq > 0))
		return run_fail(run, "%s: it %s with a snapshot", r->name,
		    w->begins[0] == 'b' ? "did not begin" : "began");
	if (w->wedged != out->wedged)
		return run_fail(run, "%s: a stock td is %swedged: %s", r->name,
		    out->wedged ? "" : "not ", out->error);
	if ((out->rc != TDSYNC_OK) != (w->fails || w->wedged || lossy))
		return run_fail(run, "%s: %s: %s: %s", r->name, l->word[1],
		    tdsync_rc_name(out->rc), out->error);
	return run_ok(run);
}

static bool
call(struct run *run, struct replica *r, enum call c, const struct line *l, int at)
{
	struct wish w;
	struct outcome out;

	read_wish(run, l, at, c == CALL_PULL ? "/sync/pull" : c == CALL_STATUS ? NULL :
	    "/sync/push", &w);
	sync_call(run, r, c, &w.plan, &out);
	return judge(run, r, l, &w, &out);
}

static bool
stock(struct run *run, struct replica *r, enum stock_how how, const struct line *l, int at)
{
	struct wish w;
	struct outcome out;

	read_wish(run, l, at, how == STOCK_PULL ? "/sync/pull" : "/sync/push", &w);
	if (r->one_shot)
		replica_new_device(r);
	stock_call(run, r, how, &w.plan, &out);
	return judge(run, r, l, &w, &out);
}

/* A td that syncs by itself does something; of its syncs nobody hears. */
static bool
td_chance(struct run *run, struct replica *r, const struct line *l)
{
	struct wish w;
	char id[ID_MAX];

	read_wish(run, l, 3, "/sync/push", &w);
	stock_command(run, r, NULL, NULL, &w.plan, id);
	return run_ok(run);
}

static bool
die_everywhere(struct run *run, struct replica *r, const char *line)
{
	struct outcome out = { .died = true };
	int n;

	for (n = 1; out.died && run_ok(run); n++) {
		struct plan p = { .die_at = n };

		if (!run_line(run, line))
			break;
		sync_call(run, r, CALL_SYNC, &p, &out);
		if (!out.died && out.rc != TDSYNC_OK)
			run_fail(run, "%s: sync after %d deaths: %s", r->name, n - 1, out.error);
	}
	if (run_ok(run) && n < 6)
		run_fail(run, "%s: a sync has only %d steps to die at", r->name, n - 2);
	return run_ok(run);
}

/* --- expectations --- */

static const char *
table_of(const char *id)
{
	return strncmp(id, "td-", 3) == 0 ? "issues" : strncmp(id, "bd-", 3) == 0 ? "boards" :
	    strncmp(id, "nt-", 3) == 0 ? "notes" : "work_sessions";
}

static bool
expect(struct run *run, const char *name, const char *column, const char *value)
{
	const char *id = id_of(run, name), *table = table_of(id), *have;
	struct buf text = { 0 };
	char sql[200];
	size_t i;
	bool ok = true;

	for (i = 0; i < run->n && ok; i++) {
		sqlite3 *db = sql_open(run->replicas[i].db, false);

		if (!sql_has(db, table, column)) {
			sql_close(db);
			continue;
		}
		snprintf(sql, sizeof(sql), "SELECT coalesce(\"%s\", 'NULL') FROM \"%s\""
		    " WHERE id = ?", column, table);
		have = sql_text(db, &text, sql, "s", id) ? text.p : "absent";
		if (strcmp(value, "SET") == 0 ? strcmp(have, "NULL") == 0 :
		    strcmp(have, value) != 0)
			ok = run_fail(run, "%s: %s %s (%s): %s expected, but it is %s",
			    run->replicas[i].name, name, column, id, value, have);
		sql_close(db);
	}
	buf_free(&text);
	return ok;
}

static bool
expect_rows(struct run *run, const char *table, int64_t n)
{
	char sql[200];
	int64_t have;
	size_t i;
	bool ok = true;

	for (i = 0; i < run->n && ok; i++) {
		sqlite3 *db = sql_open(run->replicas[i].db, false);

		if (sql_has(db, table, "id")) {
			snprintf(sql, sizeof(sql), "SELECT count(*) FROM \"%s\"%s%s", table,
			    sql_has(db, table, "deleted_at") ? " WHERE deleted_at IS NULL" : "",
			    strcmp(table, "boards") == 0 ? " WHERE is_builtin = 0" : "");
			have = sql_int(db, 0, sql, "");
			if (have != n)
				ok = run_fail(run, "%s: %lld rows of %s, %lld expected",
				    run->replicas[i].name, (long long)have, table, (long long)n);
		}
		sql_close(db);
	}
	return ok;
}

/* Every replica knows of so many conflicts that are certain. */
static bool
expect_conflicts(struct run *run, int64_t n)
{
	char path[PATH_LEN + 32];
	int64_t have;
	size_t i;
	bool ok = true;

	for (i = 0; i < run->n && ok; i++) {
		sqlite3 *db;

		if (run->replicas[i].stock)
			continue;
		snprintf(path, sizeof(path), "%s/.todos/td-sync.db", run->replicas[i].dir);
		db = sql_open(path, false);
		have = sql_int(db, 0, "SELECT count(*) FROM conflict WHERE certain", "");
		sql_close(db);
		if (have != n)
			ok = run_fail(run, "%s: %lld conflicts, %lld expected", run->replicas[i].name,
			    (long long)have, (long long)n);
	}
	return ok;
}

static bool
expect_entries(struct run *run, const struct replica *r, int64_t n)
{
	sqlite3 *db = sql_open(r->db, false);
	int64_t have = sql_int(db, 0, "SELECT count(*) FROM action_log", "");

	sql_close(db);
	return have == n || run_fail(run, "%s: %lld entries in its action log, %lld expected",
	    r->name, (long long)have, (long long)n);
}

/* Events of clients, and the server's own. */
static enum rc
count_event(void *ctx, const struct event *ev, bool *stop)
{
	(void)stop;
	((int64_t *)ctx)[ev->by_server]++;
	return RC_OK;
}

static bool
expect_log(struct run *run, bool by_server, int64_t n)
{
	struct events *log;
	int64_t have[2] = { 0 };
	struct err err;
	char dir[700];

	if (events_open(server_log(&run->server, dir), &log, &err) != RC_OK ||
	    events_walk(log, 0, INT64_MAX, true, NULL, count_event, have, &err) != RC_OK)
		die("%s", err.text);
	events_close(log);
	return have[by_server] == n || run_fail(run, "%lld events %s in the log, %lld expected",
	    (long long)have[by_server], by_server ? "of the server's" : "of clients",
	    (long long)n);
}

/* --- lines --- */

static int64_t
number(const struct line *l, int at)
{
	if (at >= l->n)
		die("script: a number is missing: %s", l->whole);
	return strtoll(l->word[at], NULL, 10);
}

static void
run_sql(const struct replica *r, const char *sql)
{
	sqlite3 *db = replica_open(r);

	sql_run(db, sql, "");
	sql_close(db);
}

static void
new_session(struct replica *r)
{
	sqlite3 *db = replica_open(r);

	replica_new_session(r, db);
	sql_close(db);
}

/* A step of one replica; word 0 is its name. */
static bool
run_own(struct run *run, struct replica *r, struct line *l)
{
	const char *verb = l->n > 1 ? l->word[1] : "";
	const struct command *c;
	struct emit *e;
	enum call which;
	enum stock_how how;
	char path[PATH_LEN];
	int n;

	if ((c = command_find(verb)) != NULL)
		return edit(run, r, c, &l->word[2]);
	if (sync_find(verb, &which))
		return call(run, r, which, l, 2);
	if (strcmp(verb, "stock") == 0 && l->n > 2 && stock_find(l->word[2], &how))
		return stock(run, r, how, l, 3);
	if (strcmp(verb, "try") == 0 && l->n > 2 && (c = command_find(l->word[2])) != NULL)
		return try_one(run, r, c);
	if (strcmp(verb, "td") == 0 && l->n > 2 && strcmp(l->word[2], "chance") == 0)
		return td_chance(run, r, l);
	if (strcmp(verb, "td") == 0 && l->n > 2 && (c = command_find(l->word[2])) != NULL)
		return td(run, r, c, &l->word[3]);
	if (strcmp(verb, "random") == 0)
		return random_edits(run, r, (int)number(l, 2));
	if (strcmp(verb, "walk") == 0)
		return walk(run, r);
	if (strcmp(verb, "entries") == 0)
		return expect_entries(run, r, number(l, 2));
	if (strcmp(verb, "die-everywhere") == 0)
		return die_everywhere(run, r, l->rest);
	if (strcmp(verb, "replay") == 0 && l->n > 2) {
		e = emit_open(r, true);
		n = emit_log(e, run_fixture(l->word[2], path), l->n > 4 ? number(l, 3) : 0,
		    l->n > 4 ? number(l, 4) : INT64_MAX);
		emit_close(e);
		tell_edit(run, r, "replay", "", n);
		return true;
	}
	if (l->n > 1)
		tell_happened(run, r, l);
	if (strcmp(verb, "keep") == 0 && l->n == 3) {
		replica_keep(r, l->word[2]);
	} else if (strcmp(verb, "set-back") == 0 && l->n == 3) {
		replica_set_back(r, l->word[2]);
	} else if (strcmp(verb, "new-device") == 0) {
		replica_new_device(r);
	} else if (strcmp(verb, "stock") == 0 && l->n == 3 &&
	    strcmp(l->word[2], "unlink") == 0) {
		stock_unlink(r);
	} else if (strcmp(verb, "one-shot") == 0) {
		r->one_shot = true;
	} else if (strcmp(verb, "new-session") == 0) {
		new_session(r);
	} else if (strcmp(verb, "clock") == 0) {
		r->skew_s = number(l, 2);
	} else if (strcmp(verb, "threshold") == 0) {
		r->threshold = (int)number(l, 2);
	} else if (strcmp(verb, "renew") == 0) {
		replica_renew(r);
	} else if (strcmp(verb, "forget-log") == 0) {
		run_sql(r, "DELETE FROM action_log");
	} else if (strcmp(verb, "sql") == 0 && l->n == 3) {
		run_sql(r, l->word[2]);
	} else {
		die("%s: no such step: %s", run->scenario, l->whole);
	}
	return true;
}

/* Another replica begins with the database of one that is there. */
static bool
clone(struct run *run, struct replica *of, bool as_it_is)
{
	if (of == NULL)
		die("script: %s: a clone of whom?", run->scenario);
	replica_keep(of, "cloned.db"); /* closes its journal */
	run_copy(run, of->db, as_it_is ? COPY_AS_IT_IS : COPY_UNSYNCED);
	return true;
}

/* Something happens to the server. */
static bool
server_step(struct run *run, const struct line *l)
{
	struct server *s = &run->server;
	const char *what = l->n > 1 ? l->word[1] : "";

	if (l->n > 1)
		tell_happened(run, NULL, l);
	if (strcmp(what, "clock") == 0) {
		s->clock_s = number(l, 2);
	} else if (strcmp(what, "keep-log") == 0 && l->n == 3) {
		server_keep_log(s, l->word[2]);
	} else if (strcmp(what, "set-back-log") == 0 && l->n == 3) {
		server_set_back_log(s, l->word[2]);
		run->log++;
	} else if (!server_suffer(s, what)) {
		die("%s: over %s this does not happen to a server: %s", run->scenario,
		    server_kind_name(s->kind), l->whole);
	}
	run->log += strcmp(what, "new-log") == 0;
	return true;
}

/* A step of the run itself. */
static bool
run_common(struct run *run, struct line *l)
{
	const char *verb = l->word[0];
	char path[PATH_LEN];
	int64_t n;

	if (strcmp(verb, "quiet") == 0)
		return sync_quiet(run);
	if (strcmp(verb, "crowd") == 0) {
		for (n = number(l, 1); n > 0 && run_ok(run); n--)
			sync_crowd(run);
	} else if (strcmp(verb, "repeat") == 0) {
		for (n = number(l, 1); n > 0 && run_line(run, l->rest); n--)
			;
	} else if (strcmp(verb, "at") == 0 && l->n == 3 && l->rest != NULL) {
		run_at(run, number(l, 1), strtoull(l->word[2], NULL, 10));
		return run_line(run, l->rest);
	} else if (strcmp(verb, "name") == 0 && l->n == 3) {
		name_it(run, l->word[1], l->word[2]);
	} else if (strcmp(verb, "new") == 0) {
		run_add(run, (int)number(l, 1));
	} else if (strcmp(verb, "stock") == 0) {
		run_add(run, (int)number(l, 1))->stock = true;
	} else if (strcmp(verb, "clone") == 0 || strcmp(verb, "fork") == 0) {
		return clone(run, l->n == 2 ? run_replica(run, l->word[1]) : NULL,
		    strcmp(verb, "fork") == 0);
	} else if (strcmp(verb, "copy") == 0 && l->n == 2) {
		run_copy(run, run_fixture(l->word[1], path), COPY_UNSYNCED);
	} else if (strcmp(verb, "copy-rows") == 0 && l->n == 2) {
		run_copy(run, run_fixture(l->word[1], path), COPY_ROWS_ONLY);
	} else if (strcmp(verb, "expect") == 0 && l->n == 4) {
		return expect(run, l->word[1], l->word[2], l->word[3]);
	} else if (strcmp(verb, "expect-rows") == 0 && l->n == 3) {
		return expect_rows(run, l->word[1], number(l, 2));
	} else if (strcmp(verb, "expect-conflicts") == 0) {
		return expect_conflicts(run, number(l, 1));
	} else if (strcmp(verb, "expect-log") == 0) {
		return expect_log(run, false, number(l, 1));
	} else if (strcmp(verb, "expect-server") == 0) {
		return expect_log(run, true, number(l, 1));
	} else if (strcmp(verb, "server") == 0) {
		return server_step(run, l);
	} else if (strcmp(verb, "skip-unless") == 0 && l->n == 2) {
		if (access(run_fixture(l->word[1], path), R_OK) != 0)
			snprintf(run->skipped, sizeof(run->skipped), "%s is not here",
			    l->word[1]);
	} else {
		die("%s: no such step: %s", run->scenario, l->whole);
	}
	return run_ok(run);
}

/* One step, without '&'. */
static bool
run_step(struct run *run, const char *text)
{
	struct line l;
	struct replica *r;
	size_t i;

	cut(text, &l);
	if (l.n == 0 || l.word[0][0] == '#')
		return true;
	trace_line(&run->trace, "step", "s:line", text, NULL);
	if (strcmp(l.word[0], "all") != 0) {
		r = run_replica(run, l.word[0]);
		return r != NULL ? run_own(run, r, &l) : run_common(run, &l);
	}
	for (i = 0; i < run->n && run_ok(run); i++) {
		cut(text, &l);
		run_own(run, &run->replicas[i], &l);
	}
	return run_ok(run);
}

/* Steps with '&' between; what follows a colon belongs to its step. */
static bool
run_line(struct run *run, const char *text)
{
	char step[400];
	const char *colon = strstr(text, " : "), *and = strstr(text, " & ");

	if (and == NULL || (colon != NULL && colon < and))
		return run_step(run, text);
	snprintf(step, sizeof(step), "%.*s", (int)(and - text), text);
	return run_step(run, step) && run_line(run, and + 3);
}

bool
script_run(struct run *run, const char *script)
{
	char text[400];
	const char *end;

	for (; *script != '\0' && run_ok(run) && run->skipped[0] == '\0'; script = end) {
		end = script + strcspn(script, "\n;");
		if ((size_t)(end - script) >= sizeof(text))
			die("script: the line is too long: %.80s", script);
		snprintf(text, sizeof(text), "%.*s", (int)(end - script), script);
		run_line(run, text);
		end += *end != '\0';
	}
	return run_ok(run);
}
