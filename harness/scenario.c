#include "scenario.h"

#include "check.h"
#include "plan.h"
#include "script.h"
#include "sync.h"

#include <string.h>

/* Every one ends with `quiet` and the checks of check.h, said or not. */
const struct scenario scenarios[] = {
	{ "one-way", "what one replica has comes to another, that comes late", ON_ALL,
	  "new 38\n"
	  "A create i1 'Check the valve wiring'; A comment i1 'Seen'; A log i1 'Tried 9 V'\n"
	  "A sync; expect-log 3\n"
	  "new 38; B sync\n"
	  "expect i1 title 'Check the valve wiring'; expect-rows comments 1\n" },

	{ "both-ways", "two replicas edit by turns, each sees the other's work", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 'From A'; A sync; B sync\n"
	  "B start i1; B create i2 'From B'; B depend i2 i1; B sync; A sync\n"
	  "expect i1 status in_progress; expect i2 title 'From B'\n"
	  "A close i1; A sync; B sync; expect i1 status closed; expect i1 closed_at SET\n" },

	{ "fields", "different fields both survive, of one field the last arrival", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 First; A create i2 Second; A labels i1 zone-1; all sync; all sync\n"
	  "A priority i1 P0; B points i1 8\n"
	  "A title i2 'By A'; B title i2 'By B'\n"
	  "A labels i1 zone-1,urgent; B labels i1 zone-1,spring\n"
	  "B sync; A sync; B sync\n"
	  "expect i1 priority P0; expect i1 points 8; expect i1 labels zone-1,urgent\n"
	  "expect i2 title 'By A'\n" },

	{ "every-command", "each replica walks through every command of td", ON_ALL,
	  "new 38; new 38\n"
	  "repeat 6 : A create i 'To walk on'\n"
	  "A walk; A sync; B sync; B walk; A random 30; B sync; A sync; A walk\n" },

	{ "lost-request", "a request never arrives; it is sent again", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A sync lost-request; expect-log 0\n"
	  "A create i2 Two; A sync; expect-log 2; B sync lost-request on pull; B sync\n"
	  "expect i2 title Two\n" },

	{ "lost-answer", "the server committed, the client never hears of it", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A sync; B sync\n"
	  "A title i1 Uno; A sync lost-answer; expect-log 2\n"
	  "B title i1 Eins; B sync\n"
	  "A create i2 Two; A sync; expect-log 4; B sync\n"
	  "expect i1 title Eins\n" },

	{ "one-shot-devices", "another device id for every command: a retry is a retry", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A create i2 Two; A sync lost-answer; A new-device; A sync\n"
	  "expect-log 2; A title i1 Uno; A new-device; A stock push; A new-device; A sync\n"
	  "B sync; B new-device; B title i1 Eins; B sync; A new-device; A sync; expect-log 4\n"
	  "expect i1 title Eins\n" },

	{ "sent-twice", "every push and pull arrives twice", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A random 12; A sync twice; B sync twice on pull\n"
	  "B random 12; B sync twice; A pull twice; A create i1 Two; A push twice\n"
	  "A title i1 End; A push twice; B sync\n"
	  "expect i1 title End\n" },

	{ "slow-and-busy", "latency, and a front end that answers 503 in HTML", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A sync slow; B sync busy on pull; B random 5; B sync busy\n"
	  "A sync busy on pull; B random 2; B sync slow; A sync slow on pull\n" },

	{ "answered-badly", "429, 413, 502, 504, and 200 with a page of HTML", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A sync; B sync; A random 8\n"
	  "A sync limited; A sync gateway; A sync html; A sync late; A sync too-large; A sync\n"
	  "B random 8; B sync html on pull; B sync limited on pull; B sync gateway on pull\n"
	  "B sync late on pull; B sync; A sync\n" },

	{ "damaged", "connections cut, answers cut, garbled and of a wrong length", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A sync; B sync\n"
	  "repeat 3 : A random 4 & A sync cut-request & A sync cut-answer & B random 4 &"
	  " B sync garbled & B sync length & A sync length on pull & B sync cut-answer on pull\n"
	  "repeat 3 : A random 4 & A sync garbled & A sync length & A sync garbled on pull\n"
	  "A sync; B sync\n" },

	{ "hanging", "the server takes it and never answers", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A sync hang; expect-log 1; A create i2 Two; A sync; expect-log 2\n"
	  "B sync hang on pull; B sync; expect i2 title Two\n" },

	{ "at-once", "each request arrives twice at the same instant", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; repeat 4 : A random 5 & A sync at-once & B random 5 & B sync at-once on pull\n"
	  "B random 4; B sync at-once; A random 4; A sync at-once\n" },

	{ "server-killed", "who serves a push is killed at any of its writes",
	  ON_DIRECT | ON_CGI,
	  "new 38; new 38\n"
	  "A create i1 One; A sync; B sync\n"
	  "repeat 8 : A random 2 & A sync killed & B random 2 & B sync killed\n"
	  "A create i2 Two; A sync; B sync; expect i2 title Two\n" },

	{ "pool-killed", "a worker at a write, all workers, their master, and nobody there",
	  ON_FASTCGI,
	  "new 38; new 38\n"
	  "A create i1 One; A sync; server kill-workers; B random 4; B sync\n"
	  /* A new master: the old one waits longer after each death. */
	  "repeat 4 : A random 3 & A sync killed & B random 3 & B push killed &"
	  " server kill-master & A sync & B sync\n"
	  "A create i2 Two; server down; A sync fails; B sync fails; server up\n"
	  "A sync; B sync; expect i2 title Two\n" },

	{ "lock-held", "a stranger holds the log's lock: 503, and later all is well", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A sync; B sync; A title i1 Uno\n"
	  "server lock; A push fails; B sync; server unlock; A sync; B sync\n"
	  "expect-log 2; expect i1 title Uno\n" },

	{ "disk-fails", "a full, a read-only and a broken disk, each for a while", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A sync; B sync; A title i1 Uno\n"
	  "server disk-full; A sync fails; server disk-well; expect-log 1; A sync\n"
	  "A title i1 Due; B create i2 Two; server disk-read-only; A push fails; B push fails\n"
	  "server disk-well; B sync; A title i1 Tre\n"
	  "server disk-broken; A push fails; server disk-well; A sync; B sync; expect-log 5\n"
	  "expect i1 title Tre; expect i2 title Two\n" },

	{ "log-lost", "events.db is gone for a while, then an empty one is there", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A create i2 Two; A random 6; A sync; B sync; B title i1 Uno; B sync\n"
	  "A sync; server keep-log aside; server lose-log; A title i2 Due; A sync fails\n"
	  "B sync fails; server set-back-log aside; A sync; B sync; expect i1 title Uno\n"
	  "server new-log; B create i3 Three; B sync; A sync; B sync; expect i1 title Uno\n"
	  "expect i2 title Due; expect i3 title Three; expect-rows issues 3\n" },

	{ "log-damaged", "little of events.db is left for a while", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A random 6; A sync; B sync; A title i1 Uno; B create i2 Two\n"
	  "server keep-log whole; server cut-log; A push fails; B sync fails\n"
	  "server set-back-log whole; A sync; B sync; A sync; expect i1 title Uno\n"
	  "expect i2 title Two\n" },

	{ "log-set-back", "an older copy of events.db takes its place, twice", ON_ALL,
	  "new 38; new 38; new 38\n"
	  "A create i1 One; A create i2 Two; A sync; B sync; C sync; server keep-log old\n"
	  "A title i1 Uno; A sync; B create i3 Three; B sync; A sync\n"
	  "server set-back-log old; C create i4 Four; C sync; B sync; A sync; C sync; B sync\n"
	  "expect i1 title Uno; expect i3 title Three; expect i4 title Four\n"
	  "A title i2 Due; A sync; B sync; server set-back-log old; A sync; B sync; C sync\n"
	  "A sync; B sync; expect i2 title Due; expect i1 title Uno; expect-rows issues 4\n" },

	{ "log-lost-overtaken", "what others wrote over an edit is not undone by a lost log",
	  ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A sync; B sync; A title i1 'By A'; A points i1 3; A sync; B sync\n"
	  "B title i1 'By B'; B sync; A sync; server new-log; B sync; A sync; B sync\n"
	  "expect i1 title 'By B'; expect i1 points 3\n" },

	{ "clocks-jump", "the server's clock and a client's jump to and fro", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A sync; server clock 86400; A title i1 Uno; A sync; B sync\n"
	  "server clock 10; B clock -7200; B title i1 Eins; B sync; A sync\n"
	  "B clock 7200; A clock -60; A title i1 Due; A sync; B describe i1 Text; B sync\n"
	  "server clock 80000; B clock 0; B points i1 3; B sync; server clock 0; A sync; expect i1 title Due; expect i1 description Text\n" },

	{ "retries", "the library tries again by itself", ON_DIRECT,
	  "new 38\n"
	  "A create i1 One; A sync lost-request retries 2; A title i1 Uno\n"
	  "A sync lost-answer retries 2; expect-log 2\n" },

	{ "dies-anywhere", "a client is killed at each of its steps in turn", ON_DIRECT | ON_CGI,
	  "new 38; new 38\n"
	  "A create i1 One; all sync\n"
	  "A die-everywhere : B random 3 & A random 3 & B sync\n" },

	{ "dies-anywhere-old", "the same in a database of schema 27, with its WAL", ON_DIRECT,
	  "new 27; new 31\n"
	  "A create i1 One; all sync\n"
	  "A die-everywhere : B random 2 & A random 2 & B sync\n"
	  "B die-everywhere : A random 2 & B random 2 & A sync\n" },

	{ "wrong-clocks", "clocks 17 minutes ahead and 9 behind: arrival counts", ON_ALL,
	  "new 38; new 38; new 38\n"
	  "A clock 1020; B clock -540\n"
	  "A create i1 One; A create i2 Two; all sync; all sync\n"
	  "A title i1 'A says'; B title i1 'B says'; A sync; B sync\n"
	  "A delete i2; B describe i2 'Still needed'; A sync; B sync; C sync; C restore i2\n"
	  "C sync; A sync; B sync\n"
	  "expect i1 title 'B says'; expect i2 deleted_at NULL\n"
	  "expect i2 description 'Still needed'\n" },

	{ "schemas", "replicas of schema 27, 31 and 38 edit the same things", ON_ALL,
	  "new 27; new 31; new 38\n"
	  "C create i1 One; C date i1 2026-12-07; all sync; all sync\n"
	  "repeat 4 : all create i 'To walk on'\n"
	  "all sync; all sync; all walk; all sync; all random 15; all sync\n"
	  "C create i1 New; all sync; all sync; A title i1 'By the oldest'; A sync; all sync\n"
	  " expect i1 title 'By the oldest'\n" },

	{ "intervals", "one syncs after every edit, one seldom, one only pulls", ON_ALL,
	  "new 38; new 38; new 38\n"
	  "A create i1 One; all sync\n"
	  "repeat 12 : A random 1 & A sync & B random 3 & C pull\n"
	  "B sync; repeat 6 : C random 2 & C push & A random 1 & A sync\n" },

	{ "undo", "undone before and after the push; an undone create restored", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A create i2 Two; A sync; B sync\n"
	  "A title i1 Uno; A undo; A sync\n"
	  "A title i1 Eins; A sync; B describe i1 'By B'; B sync; A undo; A sync\n"
	  "expect-log 6\n"
	  "A create i3 Three; A undo; A sync; A restore i3; A sync\n"
	  "B depend i2 i1; B undo; B link i1 src/pump.c; B undo; B sync\n"
	  "A board b1 Bench; A place b1 i1 65536; A sync; B sync\n"
	  "B board-delete b1; B undo; B sync; A sync; expect b1 name Bench\n"
	  "expect-rows board_issue_positions 1\n"
	  "A board-delete b1; A sync; B sync; A undo; A sync; B sync\n" },

	{ "conflicts", "what somebody wrote over is kept, the same everywhere, and put back", ON_ALL,
	  "new 38; new 38; new 31; A create i1 One; A create i2 Two; A board b1 Bench\n"
	  "A place b1 i2 65536; all sync; all sync; expect-conflicts 0\n"
	  "A title i1 'By A'; B title i1 'By B'; C title i1 'By C'; C points i1 3; all sync\n"
	  "all sync; expect-conflicts 2; expect i1 title 'By C'\n"
	  "A put-back; all sync; expect i1 title 'By B'; expect i1 points 3; expect-conflicts 2\n"
	  "C put-back lost-answer on conflicts; C sync; all sync; expect i1 title 'By A'\n"
	  /* A delete over an edit; a board edited over a place; a cycle. */
	  "B describe i2 Text; B sync; A delete i2; A sync; B sync; B put-back; all sync\n"
	  "expect i2 deleted_at NULL; expect i2 description Text\n"
	  "A depend i1 i2; B depend i2 i1; A sync; B sync; C sync; C put-back fails; all sync\n" },

	{ "undone-parents", "what hangs on an issue whose create was undone is not lost", ON_ALL,
	  "new 38; new 38; new 31; A board b1 Bench; A create i9 Other; all sync; all sync\n"
	  "A create i1 One; A comment i1 Seen; A undo; A sync; all sync\n"
	  "expect-rows comments 1; expect i1 deleted_at SET\n"
	  "A restore i1; A sync; all sync; expect i1 deleted_at NULL\n"
	  /* Undone between two pushes, with more to come; and by an older td. */
	  "A create i2 Two; A log i2 'Tried 9 V'; A place b1 i2 65536; A comment i2 Seen; A undo\n"
	  "A push; A comment i2 More; A restore i2; A title i2 Due; A push; A sync; all sync\n"
	  "expect-rows comments 3; expect-rows board_issue_positions 1; expect i2 title Due\n"
	  "C create i3 Three; C comment i3 Seen; C undo; C sync; C comment i3 Still; C sync\n"
	  "all sync; expect-rows comments 5; expect i3 deleted_at SET\n"
	  /* A database that was never synced. */
	  "new 38; D create i5 Five; D comment i5 Seen; D undo; D sync; all sync\n"
	  "expect-rows comments 6; expect i5 deleted_at SET\n" },

	{ "undone-log-set-back", "an undone create that was sent is lost with the log", ON_ALL,
	  "new 38; new 38; A create i9 Other; all sync; all sync; server keep-log old\n"
	  "A create i1 One; A comment i1 Seen; A undo; A push\n"
	  "server set-back-log old; A sync; B sync; expect-rows comments 1; A restore i1\n"
	  "A sync; B sync; expect i1 title One; expect i1 deleted_at NULL\n"
	  "server new-log; B sync; A sync; B sync; expect-rows comments 1; expect i1 title One\n" },

	{ "boards", "a board edited (a create) keeps its places, a session ended its tags",
	  ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A create i2 Two; A board b1 Bench; A ws-start w1 Round\n"
	  "A place b1 i1 65536; A place b1 i2 131072; A ws-tag w1 i1; all sync; all sync\n"
	  "expect-rows board_issue_positions 2; expect-rows work_session_issues 1\n"
	  "A board-edit b1 Shelf; B place b1 i1 32768; A sync; B sync; A sync\n"
	  "expect-rows board_issue_positions 2\n"
	  "B ws-tag w1 i2; A ws-end w1; B sync; A sync; B sync\n"
	  "expect-rows work_session_issues 2\n" },

	{ "cycles", "dependencies that together make cycles of two, three and four", ON_ALL,
	  "new 38; new 38; new 38\n"
	  "A create i1 1; A create i2 2; A create i3 3; A create i4 4; A create i5 5\n"
	  "all sync; all sync\n"
	  "A depend i1 i2; B depend i2 i1; A sync; B sync; A sync\n"
	  "A depend i3 i4; all sync; B depend i4 i5; C depend i5 i3; B sync; C sync\n"
	  "all sync; A depend i2 i3; B depend i4 i2; all sync\n" },

	{ "deletes", "deleted here, worked on there: issues, boards, notes", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A create i2 Two; A board b1 Bench; A note n1 Text; all sync\n"
	  "B sync; A delete i1; B comment i1 'Meanwhile'; B title i1 'Still mine'\n"
	  "A board-delete b1; B place b1 i2 65536; A note-delete n1; B note-edit n1 More\n"
	  "A sync; B sync; A sync\n"
	  "expect i1 title 'Still mine'; expect i1 deleted_at SET; expect b1 name absent\n"
	  "expect-rows comments 1; expect-rows board_issue_positions 0\n" },

	{ "in-between", "others push between a client's steps", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; all sync\n"
	  "A random 6; A sync meanwhile * : B random 1 & B sync\n"
	  "A create i1 Last; all sync; all sync\n"
	  "A title i1 Mine; A sync meanwhile * : B title i1 'No, mine' & B push\n" },

	{ "beside-td", "td writes to the database while the client syncs it", ON_ALL,
	  "new 38; new 31\n"
	  "A create i1 One; all sync\n"
	  "repeat 3 : B random 4 & B sync & A random 4 & A sync meanwhile * : A random 1\n"
	  "repeat 3 : A random 4 & A sync & B random 4 & B sync meanwhile * : B random 1\n" },

	{ "by-turns", "a stock td and the client by turns in the same database", ON_ALL,
	  "new 38; new 38; new 31\n"
	  "A create i1 One; A create i2 Two; A random 10; A stock sync; all sync\n"
	  "repeat 3 : A random 6 & A stock sync & B random 6 & B sync & A random 4 & A sync\n"
	  "repeat 3 : B random 5 & B stock push & A random 5 & A stock auto & B sync & A sync\n"
	  "C random 6; C stock push; C sync; B random 6; B sync; B stock pull\n"
	  "A create i1 Last; A stock push; all sync; expect i1 title Last\n" },

	{ "many-events", "more than two blocks and five pushes, there and back",
	  ON_DIRECT | ON_FASTCGI,
	  "new 38; new 38\n"
	  "repeat 10 : A create i Base\n"
	  "A random 1300; B random 400; B sync; A sync; B sync; new 31\n"
	  "C sync; C random 40; C sync\n" },

	{ "large-texts", "pushes and pages cut by their bytes; one event above a page",
	  ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A create i2 Two; A note n1 @200000; A describe i1 @450000\n"
	  "repeat 3 : A describe i1 @500000 & A describe i1 @450000\n"
	  "A sync lost-answer; A sync; B sync; B accept i2 @2200000; B accept i2 @2100000\n"
	  "B sync; A title i2 Zwei; A sync; B sync; expect i2 title Zwei\n" },

	{ "crowd", "five processes sync at the same moment, three times over", ON_ALL,
	  "new 38; new 38; new 31; new 38; new 27\n"
	  "A create i1 One; all sync\n"
	  "all random 12; crowd 1; all random 12; crowd 2\n" },

	{ "backfill", "rows older than the action log are offered first", ON_ALL,
	  "new 38; new 38; new 31\n"
	  "repeat 5 : A create i Old\n"
	  "A random 30; A create i Old; A forget-log; A title i New; all sync\n"
	  "expect i title New\n"
	  "new 31; repeat 3 : D create j Older\n"
	  "D forget-log; D sync; B sync; B title j Newer; all sync; all sync\n"
	  "expect j title Newer\n" },

	{ "numbers-again", "the action log's numbers start again (a bootstrap)", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A create i2 Two; A sync; B sync; A forget-log\n"
	  "A title i1 Uno; A title i2 Due; A sync; B sync; expect-log 4\n"
	  "expect i1 title Uno; expect i2 title Due\n" },

	{ "same-database", "copies of one database (in git) pushed by several people", ON_ALL,
	  "new 38; new 38\n"
	  "A random 12; A create i1 One; A comment i1 Seen; clone A; A sync\n"
	  "A title i1 Uno; A labels i1 zone-1; A sync; B sync\n"
	  "C title i1 Eins; C create i2 Two; C sync; all sync\n"
	  "expect i1 title Eins; expect i1 labels zone-1\n"
	  "fork A; D random 6; A random 6; D sync; A sync; C sync\n" },

	{ "set-back", "git puts an older database in place, twice", ON_ALL,
	  "new 38; new 38\n"
	  "A create i1 One; A sync; B sync; A keep old\n"
	  "A title i1 Two; A create i2 More; A sync; B describe i1 Text; B sync; A sync\n"
	  "A set-back old; A sync; expect i1 title Two; expect i1 description Text\n"
	  "expect i2 title More\n"
	  "A keep newer; B title i1 Three; B sync; A sync; A set-back newer\n"
	  "A points i1 5; A sync; B sync; expect i1 title Three; expect i1 points 5\n"
	  /* To before what it wrote was ever sent: the log has that, and more. */
	  "new 38; C status; C create i3 One; C title i3 Two; C keep old; C sync; B sync\n"
	  "B title i3 Three; B sync; C sync; C set-back old; C sync; all sync\n"
	  "expect i3 title Three\n" },

	{ "log-replayed", "the action logs of recorded replicas, lived again in new ones",
	  ON_ALL,
	  "new 38; new 38; new 38\n"
	  "A replay replay/team/after/A.db 0 60; A sync; B sync\n"
	  "B replay replay/team/after/B.db 0 80; A replay replay/team/after/A.db 60 130\n"
	  "B sync; A sync; C sync\n"
	  "C replay replay/team/after/C.db 0 400; A replay replay/team/after/A.db 130 400\n"
	  "B replay replay/team/after/B.db 80 400; A sync; C sync; B sync\n" },

	{ "real-team", "three real databases of one team, all actions pending again", ON_ALL,
	  "copy replay/team/after/A.db; copy replay/team/after/B.db\n"
	  "copy replay/team/after/C.db; new 38\n"
	  "A sync; B sync; C sync; D sync; D random 20; A random 20; all sync\n" },

	{ "real-versions", "real databases of schema 31 and 38, and a crash", ON_ALL,
	  "copy replay/versions/after/A.db; copy replay/versions/after/B.db; new 27\n"
	  "A sync lost-answer; A sync; B sync die 3; B sync; all sync; all random 10\n"
	  "all sync\n" },

	{ "real-rows", "real databases whose action logs are gone: all is backfill", ON_ALL,
	  "copy-rows replay/team/after/A.db; copy-rows replay/conflicts/after/B.db; new 31\n"
	  "A sync; B sync; A sync; C sync; C random 20; all sync\n" },

	{ "real-nightshift", "a real project of schema 27 meets two others", ON_ALL,
	  "skip-unless nightshift-v27.db\n"
	  "copy nightshift-v27.db; new 38; copy nightshift-v27.db\n"
	  "A sync; B sync; B random 10; A random 10; B sync; A sync; C sync; all random 5\n" },

	{ "real-sindri", "a real project of schema 31, with and without its log", ON_ALL,
	  "skip-unless sindri-v31.db\n"
	  "copy sindri-v31.db; copy-rows sindri-v31.db; new 38\n"
	  "A sync; B sync; C sync; C random 10; A random 10; C sync; A sync; all sync\n" },

	{ "bootstrap", "a new replica begins with a snapshot, of whatever schema it is", ON_ALL,
	  "new 38; repeat 4 : A create i 'To walk on'\n"
	  "A walk; A random 60; A sync; new 38; new 31; new 27; all threshold 1\n"
	  "B sync begins; C sync begins; D sync begins; B sync replays; all random 10\n"
	  "all sync; all sync; A title i Uno; A sync; new 38; E threshold 1; E sync begins\n"
	  "all sync; B title i Due; B sync; all sync; expect i title Due\n"
	  /* What was made here before, logged or not, or too short a log. */
	  "new 38; F threshold 1; F create j1 'Made before'; F sync replays; all sync\n"
	  "new 38; G threshold 1; G create j2 'Not logged'; G forget-log; G sync replays\n"
	  "new 38; H threshold 5000; H sync replays; all sync; expect j1 title 'Made before'\n"
	  "expect j2 title 'Not logged'\n" },

	{ "bootstrap-beside-td", "td and others work while a new replica begins", ON_ALL,
	  "new 38; repeat 3 : A create i Base\n"
	  "A random 40; A sync; new 38; new 31; new 38; all threshold 1\n"
	  "B sync meanwhile * : B random 1\n"
	  "C sync meanwhile * : A random 1 & A sync\n"
	  "D sync meanwhile snapshot.committed : D random 2 & A random 2 & A sync\n"
	  "all sync; all random 5; all sync\n" },

	{ "bootstrap-damaged", "its snapshot is lost, cut, late, or something else", ON_ALL,
	  "new 38; repeat 3 : A create i Base\n"
	  "A random 40; A sync; new 38; B threshold 1\n"
	  "B sync lost-request on snapshot; B sync lost-answer on snapshot\n"
	  "B sync cut-answer on snapshot; B sync length on snapshot; B sync html on snapshot\n"
	  "B sync busy on snapshot; B sync limited on snapshot; B sync gateway on snapshot\n"
	  "B sync late on snapshot; B sync hang on snapshot; B sync twice on snapshot begins\n"
	  "B renew; B sync at-once on snapshot begins; B renew\n"
	  "B sync cut-answer on snapshot retries 2 begins; B renew\n"
	  "B sync lost-answer on status; B sync killed on snapshot; B sync; B random 3\n" },

	{ "bootstrap-dies", "a client is killed at each step of its beginning", ON_DIRECT | ON_CGI,
	  "new 38; repeat 3 : A create i Base\n"
	  "A random 30; A sync; new 38; new 31; B threshold 1; C threshold 1\n"
	  "B die-everywhere : B sync & B renew & A random 2 & A sync\n"
	  "C die-everywhere : C sync & C renew & A random 2 & A sync\n" },

	{ "bootstrap-set-back", "what the log removed before the snapshot stays away", ON_ALL,
	  "new 38; new 38; A create i1 One; A board b1 Bench; A place b1 i1 65536; all sync\n"
	  "B sync; B keep old; A board-delete b1; A sync; B renew; B threshold 1\n"
	  "B sync begins; B set-back old; B sync; expect b1 name absent; B renew\n"
	  "B sync begins; B set-back old\n"
	  "B sql 'UPDATE sync_state SET last_pulled_server_seq = 0'; B sync; A sync\n"
	  "expect b1 name absent; expect-rows board_issue_positions 0\n" },

	{ "bootstrap-log-lost", "the log is lost after a replica began with its snapshot", ON_ALL,
	  "new 38; new 38; B threshold 1; A create i1 One; A random 20; A sync\n"
	  "A title i1 Uno; A sync; B sync begins; A renew; server new-log; B points i1 3\n"
	  "B sync; A sync; expect i1 title Uno; expect i1 points 3\n"
	  "server keep-log old; A title i1 Due; A sync; B renew; B sync begins\n"
	  "server set-back-log old; A title i1 Tre; A sync; B sync; A sync\n"
	  "expect i1 title Tre\n" },

	{ "stock", "stock devices and a client, by hand and automatic, across their ids", ON_ALL,
	  "stock 38; stock 38; new 38; B one-shot; A create i1 One; all sync; expect-log 1\n"
	  "A td title i1 Uno; B td points i1 3; B new-session; B td labels i1 zone-1\n"
	  "C title i1 Eins; C sync; A td comment i1 Seen; B td log i1 'Tried 9 V'\n"
	  "all sync; expect i1 title Eins; expect i1 points 3; expect-log 7\n"
	  "A create i2 Two; A sync lost-answer; A title i2 Due; A sync; B sync; expect-log 9\n"
	  "B create i3 Three; B sync lost-answer; B sync; expect-log 10\n"
	  "B priority i3 P0; B sync lost-request; B sync die 1; B sync die 2; B sync\n"
	  "expect-log 11; all sync; expect i2 title Due; expect i3 priority P0\n" },

	{ "stock-dies", "a stock td is killed at each step of its sync", ON_DIRECT | ON_CGI,
	  "stock 38; stock 38\n"
	  "A die-everywhere : A create i1 One & B create i2 Two & B sync\n"
	  "all sync; expect i1 title One; expect i2 title Two\n" },

	{ "stock-pushes", "more than one push of a stock td, the answer to one is lost",
	  ON_DIRECT | ON_FASTCGI,
	  "stock 38; stock 38; repeat 12 : A create i1 One\n"
	  "repeat 100 : A comment i1 Seen & A log i1 Tried & A title i1 Uno & A points i1 3 & A"
	  " priority i1 P0 & A describe i1 Text\n"
	  "expect-log 0; A sync lost-answer; expect-log 500; A sync; B sync; expect-log 612\n"
	  "expect-rows comments 100\n" },

	{ "stock-backfill", "rows older than a stock td's log, whose answer is lost", ON_ALL,
	  "stock 38; stock 38; A create i1 One; A create i2 Two; A log i1 Tried; A forget-log\n"
	  "A sync die 1; A entries 0; expect-log 0; A sync lost-answer; A entries 0\n"
	  /* Its numbers are given again: to another entry, and the rows get others. */
	  "expect-log 3; A title i1 Uno; A sync; A entries 4; B sync; expect i1 title Uno\n"
	  "expect-rows logs 1; B title i2 Due; B sync; B entries 1; A sync; expect i2 title Due\n"
	  /* Linked again, it tells of all that it has from others, and of a later time. */
	  "B stock unlink; B sync; B entries 5; A sync; expect i2 title Due; expect-rows logs 1\n" },

	{ "stock-begins", "a stock td begins with a snapshot, and loses what it never told",
	  ON_ALL,
	  "new 38; A create i1 One; A board b1 Bench; A place b1 i1 65536; A sync\n"
	  "stock 38; B threshold 1; B create i2 Old; B forget-log; B sync begins\n"
	  "expect i2 title absent; B create i3 New; B sync; A sync; expect i3 title New\n"
	  "stock 38; C create i4 Pending; C threshold 1; C sync replays\n"
	  "stock 38; D threshold 1; D sync html on snapshot; D sync length on snapshot\n"
	  "D sync lost-answer on snapshot; D sync die 2; A title i1 Uno; A sync; D sync begins\n"
	  "stock 31; E threshold 1; E sync replays; stock 38; F threshold 5000; F sync replays\n"
	  "all sync; expect i1 title Uno; expect i4 title Pending\n" },

	/* What the server heals; each is another without it. */
	{ "heal-undone-create", "a create that was undone, and what follows it", ON_ALL,
	  "stock 38; stock 38; stock 38; A create i9 Other; quiet\n"
	  "A create i1 One; A undo; quiet; expect i1 title One; expect i1 deleted_at SET\n"
	  "A create i2 Two; A undo; A restore i2; A title i2 Due; quiet; expect i2 title Due\n"
	  "expect i2 deleted_at NULL; B create i3 Three; B comment i3 Seen; B log i3 'Tried 9 V'\n"
	  "B undo; quiet; expect i3 deleted_at SET\n"
	  "expect-rows comments 1; expect-rows logs 1; C restore i3; quiet\n"
	  "expect i3 deleted_at NULL; expect-rows comments 1\n", .heals = true },

	{ "heal-undone-handoff", "an undone handoff is deleted where it can't be marked so",
	  ON_DIRECT,
	  "stock 38; stock 38; new 38; A create i1 One; A handoff i1 Done; quiet\n"
	  "expect-rows handoffs 1; A undo; quiet; expect-rows handoffs 0; B handoff i1 Done\n"
	  "B undo; quiet; expect-rows handoffs 0\n", .heals = true },

	{ "heal-board-back", "a board's deletion is undone, before it is sent, and after",
	  ON_DIRECT,
	  "stock 38; stock 38; new 38; A create i1 One; A board b1 Bench; A place b1 i1 65536\n"
	  "quiet; A board-delete b1; quiet; expect b1 name absent; A undo; quiet\n"
	  "expect b1 name Bench; A place b1 i1 65536; quiet; A board-delete b1; A undo; quiet\n"
	  "expect b1 name Bench; expect-rows board_issue_positions 1\n", .heals = true },

	{ "heal-updated-at", "who deletes has a time of its own, until it is everybody's",
	  ON_DIRECT,
	  "stock 38; stock 38; A create i1 One; A create i2 Two; A note n1 Text; quiet\n"
	  "A delete i1; A sync; A clock 300; A note-delete n1; B delete i2; quiet\n"
	  "expect i1 deleted_at SET; expect i2 deleted_at SET\n", .heals = true },

	{ "heal-cycle", "three edges of three people are a cycle: one goes, two stay", ON_ALL,
	  "stock 38; stock 38; stock 38; A create i1 1; A create i2 2; A create i3 3; quiet\n"
	  "A depend i1 i2; B depend i2 i3; C depend i3 i1; quiet\n"
	  "expect-rows issue_dependencies 2\n", .heals = true },

	{ "heal-cycle-of-ten", "the same with ten, and again through edges that were healed",
	  ON_DIRECT,
	  "stock 38; stock 38; stock 38; A create i1 1; A create i2 2; A create i3 3\n"
	  "A create i4 4; A create i5 5; A create i6 6; A create i7 7; A create i8 8\n"
	  "A create i9 9; A create i10 10; quiet\n"
	  "A depend i1 i2; A depend i2 i3; A depend i3 i4; A depend i4 i5; B depend i5 i6\n"
	  "B depend i6 i7; B depend i7 i8; C depend i8 i9; C depend i9 i10; C depend i10 i1\n"
	  "quiet; expect-rows issue_dependencies 9\n"
	  "A undepend i5; quiet; B depend i10 i1; C depend i5 i6; quiet\n"
	  "expect-rows issue_dependencies 9\n", .heals = true },

	{ "heal-board-edit", "a board that is edited keeps its places", ON_DIRECT,
	  "stock 38; stock 38; A create i1 One; A create i2 Two; A board b1 Bench\n"
	  "A place b1 i1 65536; quiet; A board-edit b1 Shelf; B place b1 i2 131072; quiet\n"
	  "expect-rows board_issue_positions 2; expect b1 name Shelf\n"
	  "A board-edit b1 Rack; B unplace b1 i1; quiet\n"
	  "expect-rows board_issue_positions 1\n", .heals = true },

	{ "heal-session-end", "a work session that ends keeps its tags", ON_DIRECT,
	  "stock 38; stock 38; A create i1 One; A create i2 Two; A ws-start w1 Round\n"
	  "A ws-tag w1 i1; quiet; A ws-end w1; B ws-tag w1 i2; quiet\n"
	  "expect-rows work_session_issues 2\n", .heals = true },

	{ "heal-doubled", "a backfill that is sent again, and a device that is linked again",
	  ON_DIRECT,
	  "stock 38; stock 38; A create i1 One; A board b1 Bench; A place b1 i1 65536\n"
	  "A forget-log; A push lost-answer; A push; expect-log 3; B create i2 Two; B delete i2\n"
	  "B push; B push; B push; expect-log 6; A sync; B sync; A sync; B sync; expect-log 6\n"
	  "A stock unlink; A sync; A stock unlink; A sync; B stock unlink; B sync; expect-log 6\n"
	  "quiet; expect-rows board_issue_positions 1\n", .heals = true },

	{ "heal-older-issue", "what hangs on an issue that is older than the log comes before it",
	  ON_DIRECT,
	  "stock 38; stock 38; new 31; A create i1 One; A review i1; A forget-log\n"
	  "A comment i1 Seen; A log i1 'Tried 9 V'; A approve i1; quiet\n"
	  "expect-rows comments 1; expect-rows issue_reviews 1\n", .heals = true },

	{ "heal-told", "a loss is told where people look", ON_ALL,
	  "stock 38; stock 38; new 38; A create i1 One; A create i2 Two; quiet\n"
	  "A title i1 'By A'; B title i1 'By B'; A sync; B sync; quiet; expect-server 1\n"
	  "expect-rows logs 1; B title i2 'Still mine'; A delete i2; B sync; A sync; quiet\n"
	  "expect-rows logs 2; expect-conflicts 2\n", .heals = true },

	{ "heal-fought", "who takes back what was healed, over and over, is answered each time",
	  ON_DIRECT,
	  "stock 38; stock 38; B create i9 Other; quiet; A create i1 One; A undo; quiet\n"
	  "expect-server 1; expect-log 2; repeat 5 : A restore i1 & A sync & A delete i1 & A sync\n"
	  "quiet; expect-log 12; repeat 4 : A stock unlink & A sync\n"
	  "expect-log 13; repeat 3 : quiet; expect-log 13\n"
	  "A create i2 Two; A board b1 Bench; A place b1 i2 65536; quiet; expect-log 16\n"
	  "repeat 4 : A board-edit b1 Shelf & B board-edit b1 Bench & A sync & B sync & A sync\n"
	  "quiet; expect-log 24; expect-rows board_issue_positions 1\n", .heals = true },

	{ "heal-undoing", "two who undo each other", ON_DIRECT,
	  "stock 38; stock 38; stock 38; A create i1 One; quiet\n"
	  "repeat 6 : A delete i1 & A sync & B sync & B restore i1 & B sync & A sync\n"
	  "quiet; expect-log 13; repeat 3 : quiet; expect-log 13; expect i1 deleted_at NULL\n"
	  "A delete i1; quiet; quiet; expect i1 deleted_at SET\n", .heals = true },

	{ "heal-off-and-on", "what came while it was off is left alone, what comes then is not",
	  ON_DIRECT,
	  "stock 38; stock 38; A create i1 One; quiet; server heal-off; A delete i1; quiet\n"
	  "expect-server 0; server heal-on; quiet; expect-server 0\n"
	  "A restore i1; quiet; A create i2 Two; A undo; quiet; expect i2 deleted_at SET\n"
	  "expect-server 1\n" },

	{ .name = "devices", .about = "stock devices, and clients beside them, by chance",
	  .plan = plan_make },
	{ .name = "random", .about = "everything by chance, from a seed" },
	{ .name = NULL }
};

const struct scenario *
scenario_find(const char *name)
{
	const struct scenario *s;

	for (s = scenarios; s->name != NULL; s++)
		if (strcmp(s->name, name) == 0)
			return s;
	return NULL;
}

static void
run_plan(struct run *run, const struct scenario *s)
{
	struct buf script = { 0 };

	s->plan(run->seed, &script);
	script_run(run, buf_cstr(&script));
	buf_free(&script);
}

void
scenario_run(struct run *run, const struct scenario *s)
{
	if (run->skipped[0] != '\0')
		return;
	if (s->plan != NULL)
		run_plan(run, s);
	else if (s->script != NULL)
		script_run(run, s->script);
	else
		random_run(run);
	if (run->skipped[0] == '\0' && run_ok(run) && sync_quiet(run) && sync_join(run))
		check_run(run);
}
