/*
 * td's profile: entity types, aliases and actions (protocol.md section 4),
 * and the tables as td's schema 38 has them, columns in its order
 * (tests/fixtures/empty-v38.db; a test compares).
 */
#include "profiles/profile.h"

#define NOW " DEFAULT CURRENT_TIMESTAMP"
#define CASCADE " ON DELETE CASCADE"
#define OF_ISSUE "FOREIGN KEY (issue_id) REFERENCES issues(id)"
#define NAMES(...) (const char *const[]){ __VA_ARGS__, NULL }
#define COLUMNS (const struct profile_column[])
#define INDEXES (const struct profile_index[])

static const struct profile_edge depends_on = {
	"issue_id", "depends_on_id", "relation_type", "depends_on"
};

static const struct profile_entity entities[] = {
	{ .table = "issues", .aliases = NAMES("issue"), .unwrap = "issue",
	  .parent = "parent_id", /* not a foreign key: '' stands for none */
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "title", "TEXT NOT NULL" },
		{ "description", "TEXT DEFAULT ''" },
		{ "status", "TEXT NOT NULL DEFAULT 'open'" },
		{ "type", "TEXT NOT NULL DEFAULT 'task'" },
		{ "priority", "TEXT NOT NULL DEFAULT 'P2'" },
		{ "points", "INTEGER DEFAULT 0" },
		{ "labels", "TEXT DEFAULT ''", PROFILE_CSV },
		{ "parent_id", "TEXT DEFAULT ''" },
		{ "acceptance", "TEXT DEFAULT ''" },
		{ "implementer_session", "TEXT DEFAULT ''" },
		{ "reviewer_session", "TEXT DEFAULT ''" },
		{ "created_at", "DATETIME NOT NULL" NOW },
		{ "updated_at", "DATETIME NOT NULL" NOW },
		{ "closed_at", "DATETIME" },
		{ "deleted_at", "DATETIME" },
		{ "minor", "INTEGER DEFAULT 0" },
		{ "created_branch", "TEXT DEFAULT ''" },
		{ "creator_session", "TEXT DEFAULT ''" },
		{ "sprint", "TEXT DEFAULT ''" },
		{ "defer_until", "TEXT" },
		{ "due_date", "TEXT" },
		{ "defer_count", "INTEGER DEFAULT 0" },
		{ "reviewed_at", "DATETIME" },
		{ "review_requested_by_session", "TEXT DEFAULT ''" },
		{ "closed_by_session", "TEXT DEFAULT ''" },
		{ 0 } },
	  .indexes = INDEXES{
		{ "idx_issues_status", "(status)" },
		{ "idx_issues_priority", "(priority)" },
		{ "idx_issues_type", "(type)" },
		{ "idx_issues_parent", "(parent_id)" },
		{ "idx_issues_deleted", "(deleted_at)" },
		{ "idx_issues_deleted_status", "(deleted_at, status)" },
		{ "idx_issues_defer_until", "(defer_until)" },
		{ "idx_issues_due_date", "(due_date)" },
		{ 0 } } },
	{ .table = "boards", .aliases = NAMES("board"),
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "name", "TEXT NOT NULL COLLATE NOCASE" },
		{ "last_viewed_at", "DATETIME" },
		{ "created_at", "DATETIME NOT NULL" NOW },
		{ "updated_at", "DATETIME NOT NULL" NOW },
		{ "query", "TEXT NOT NULL DEFAULT ''" },
		{ "is_builtin", "INTEGER NOT NULL DEFAULT 0" },
		{ "view_mode", "TEXT NOT NULL DEFAULT 'swimlanes'" },
		{ 0 } },
	  /* `td init` makes this board everywhere and no event ever does; an event
	   * that puts an issue on it would be an orphan without. Its times are the
	   * init's, so nobody compares them. */
	  .seed = "(id, name, created_at, updated_at, is_builtin)"
		" VALUES ('bd-all-issues', 'All Issues', '1970-01-01 00:00:00',"
		" '1970-01-01 00:00:00', 1)" },
	{ .table = "work_sessions", .aliases = NAMES("work_session"),
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "name", "TEXT NOT NULL" },
		{ "session_id", "TEXT NOT NULL" },
		{ "worktree_id", "TEXT DEFAULT ''", PROFILE_LOCAL },
		{ "worktree_root", "TEXT DEFAULT ''", PROFILE_LOCAL },
		{ "repo_root", "TEXT DEFAULT ''", PROFILE_LOCAL },
		{ "started_at", "DATETIME NOT NULL" NOW },
		{ "ended_at", "DATETIME" },
		{ "start_sha", "TEXT DEFAULT ''" },
		{ "end_sha", "TEXT DEFAULT ''" },
		{ 0 } } },
	{ .table = "sessions", .aliases = NAMES("session"), .held_back = true,
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "name", "TEXT DEFAULT ''" },
		{ "branch", "TEXT DEFAULT ''" },
		{ "agent_type", "TEXT DEFAULT ''" },
		{ "agent_pid", "INTEGER DEFAULT 0" },
		{ "context_id", "TEXT DEFAULT ''" },
		{ "match_context_id", "TEXT DEFAULT ''" },
		{ "worktree_id", "TEXT DEFAULT ''" },
		{ "worktree_root", "TEXT DEFAULT ''" },
		{ "repo_root", "TEXT DEFAULT ''" },
		{ "previous_session_id", "TEXT DEFAULT ''" },
		{ "started_at", "DATETIME NOT NULL" NOW },
		{ "ended_at", "DATETIME" },
		{ "last_activity", "DATETIME" },
		{ 0 } },
	  .indexes = INDEXES{
		{ "idx_sessions_branch", "(branch)" },
		{ "idx_sessions_branch_agent",
		  "(branch, agent_type, agent_pid, match_context_id, worktree_id)" },
		{ 0 } } },
	{ .table = "logs", .aliases = NAMES("log"),
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "issue_id", "TEXT DEFAULT ''" },
		{ "session_id", "TEXT NOT NULL" },
		{ "work_session_id", "TEXT DEFAULT ''" },
		{ "message", "TEXT NOT NULL" },
		{ "type", "TEXT NOT NULL DEFAULT 'progress'" },
		{ "timestamp", "DATETIME NOT NULL" NOW },
		{ 0 } },
	  .indexes = INDEXES{
		{ "idx_logs_issue", "(issue_id)" },
		{ "idx_logs_timestamp", "(timestamp)" },
		{ "idx_logs_work_session", "(work_session_id)" },
		{ 0 } } },
	{ .table = "handoffs", .aliases = NAMES("handoff"),
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "issue_id", "TEXT NOT NULL" },
		{ "session_id", "TEXT NOT NULL" },
		{ "done", "TEXT DEFAULT '[]'" },
		{ "remaining", "TEXT DEFAULT '[]'" },
		{ "decisions", "TEXT DEFAULT '[]'" },
		{ "uncertain", "TEXT DEFAULT '[]'" },
		{ "timestamp", "DATETIME NOT NULL" NOW },
		{ 0 } },
	  .constraints = OF_ISSUE CASCADE,
	  .indexes = INDEXES{
		{ "idx_handoffs_issue", "(issue_id)" },
		{ "idx_handoffs_timestamp", "(timestamp)" },
		{ 0 } } },
	{ .table = "comments", .aliases = NAMES("comment"),
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "issue_id", "TEXT NOT NULL" },
		{ "session_id", "TEXT NOT NULL" },
		{ "text", "TEXT NOT NULL" },
		{ "created_at", "DATETIME NOT NULL" NOW },
		{ 0 } },
	  .constraints = OF_ISSUE CASCADE,
	  .indexes = INDEXES{
		{ "idx_comments_issue", "(issue_id)" },
		{ "idx_comments_created_at", "(created_at)" },
		{ 0 } } },
	{ .table = "board_issue_positions", .aliases = NAMES("board_position"),
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "board_id", "TEXT NOT NULL" },
		{ "issue_id", "TEXT NOT NULL" },
		{ "position", "INTEGER NOT NULL" },
		{ "added_at", "DATETIME" NOW },
		{ "deleted_at", "DATETIME" },
		{ 0 } },
	  .constraints = "UNIQUE(board_id, issue_id),\n"
		"\tFOREIGN KEY (board_id) REFERENCES boards(id)" CASCADE ",\n"
		"\t" OF_ISSUE CASCADE },
	{ .table = "work_session_issues", .aliases = NAMES("work_session_issue"),
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "work_session_id", "TEXT NOT NULL" },
		{ "issue_id", "TEXT NOT NULL" },
		{ "tagged_at", "DATETIME NOT NULL" NOW },
		{ 0 } },
	  .constraints = "UNIQUE(work_session_id, issue_id),\n"
		"\tFOREIGN KEY (work_session_id) REFERENCES work_sessions(id)" CASCADE ",\n"
		"\t" OF_ISSUE CASCADE },
	{ .table = "issue_files", .aliases = NAMES("file_link"),
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "issue_id", "TEXT NOT NULL" },
		{ "file_path", "TEXT NOT NULL" },
		{ "role", "TEXT NOT NULL DEFAULT 'implementation'" },
		{ "linked_sha", "TEXT DEFAULT ''" },
		{ "linked_at", "DATETIME NOT NULL" NOW },
		{ 0 } },
	  .constraints = "UNIQUE(issue_id, file_path),\n\t" OF_ISSUE CASCADE,
	  .indexes = INDEXES{
		{ "idx_issue_files_issue", "(issue_id)" },
		{ 0 } } },
	{ .table = "issue_dependencies", .aliases = NAMES("dependency"),
	  .edge = &depends_on,
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "issue_id", "TEXT NOT NULL" },
		{ "depends_on_id", "TEXT NOT NULL" },
		{ "relation_type", "TEXT NOT NULL DEFAULT 'depends_on'" },
		{ 0 } },
	  .constraints = "UNIQUE(issue_id, depends_on_id, relation_type),\n"
		"\t" OF_ISSUE CASCADE ",\n"
		"\tFOREIGN KEY (depends_on_id) REFERENCES issues(id)" CASCADE },
	{ .table = "issue_reviews", .aliases = NAMES("issue_review"),
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "issue_id", "TEXT NOT NULL" },
		{ "reviewer_session", "TEXT NOT NULL" },
		{ "decision", "TEXT NOT NULL" },
		{ "summary", "TEXT NOT NULL DEFAULT ''" },
		{ "requested_by_session", "TEXT DEFAULT ''" },
		{ "created_at", "DATETIME NOT NULL" NOW },
		{ "superseded_at", "DATETIME" },
		{ "self_review", "INTEGER NOT NULL DEFAULT 0" },
		{ "reviewed_by", "TEXT NOT NULL DEFAULT ''" },
		{ 0 } },
	  .constraints = OF_ISSUE, /* so an issue with reviews can't be deleted */
	  .indexes = INDEXES{
		{ "idx_issue_reviews_issue_id", "(issue_id)" },
		{ "idx_issue_reviews_active", "(issue_id) WHERE superseded_at IS NULL" },
		{ 0 } } },
	{ .table = "git_snapshots", .aliases = NAMES("git_snapshot"), .held_back = true,
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "issue_id", "TEXT NOT NULL" },
		{ "event", "TEXT NOT NULL" },
		{ "commit_sha", "TEXT NOT NULL" },
		{ "branch", "TEXT NOT NULL" },
		{ "dirty_files", "INTEGER DEFAULT 0" },
		{ "timestamp", "DATETIME NOT NULL" NOW },
		{ 0 } },
	  .constraints = OF_ISSUE CASCADE,
	  .indexes = INDEXES{
		{ "idx_git_snapshots_issue", "(issue_id)" },
		{ 0 } } },
	{ .table = "issue_session_history", .aliases = NAMES("issue_session_histories"),
	  .held_back = true,
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "issue_id", "TEXT NOT NULL" },
		{ "session_id", "TEXT NOT NULL" },
		{ "action", "TEXT NOT NULL" },
		{ "created_at", "DATETIME" NOW },
		{ 0 } },
	  .constraints = OF_ISSUE CASCADE,
	  .indexes = INDEXES{
		{ "idx_ish_issue", "(issue_id)" },
		{ "idx_ish_session", "(session_id)" },
		{ 0 } } },
	{ .table = "notes", .aliases = NAMES("note"),
	  .columns = COLUMNS{
		{ "id", "TEXT PRIMARY KEY" },
		{ "title", "TEXT NOT NULL" },
		{ "content", "TEXT NOT NULL" },
		{ "created_at", "TEXT NOT NULL" },
		{ "updated_at", "TEXT NOT NULL" },
		{ "pinned", "INTEGER DEFAULT 0" },
		{ "archived", "INTEGER DEFAULT 0" },
		{ "deleted_at", "TEXT" },
		{ 0 } },
	  .indexes = INDEXES{
		{ "idx_notes_deleted", "(deleted_at)" },
		{ "idx_notes_updated", "(updated_at DESC)" },
		{ 0 } } },
	{ 0 }
};

static const struct profile_alias actions[] = {
	{ "handoff", ACTION_CREATE },
	{ "add_dependency", ACTION_CREATE },
	{ "link_file", ACTION_CREATE },
	{ "board_create", ACTION_CREATE },
	{ "board_update", ACTION_CREATE },
	{ "board_add_issue", ACTION_CREATE },
	{ "board_set_position", ACTION_CREATE },
	{ "work_session_tag", ACTION_CREATE },
	{ "remove_dependency", ACTION_DELETE },
	{ "unlink_file", ACTION_DELETE },
	{ "board_delete", ACTION_DELETE },
	{ "work_session_untag", ACTION_DELETE },
	{ "review_delete", ACTION_DELETE },
	{ "board_unposition", ACTION_SOFT_DELETE },
	{ "board_remove_issue", ACTION_SOFT_DELETE },
	{ 0 }
};

const struct profile profile_td = {
	.name = "td",
	.version = 1,
	.entities = entities,
	.actions = actions,
};
