/*
 * The scoreboard: memory that the master of a pool shares with its workers.
 * Each worker writes its own slot only; so one that dies leaves nothing
 * behind that others would trip over.
 */
#ifndef TDSYNC_HTTP_BOARD_H
#define TDSYNC_HTTP_BOARD_H

#include <stdbool.h>
#include <stdint.h>

struct board; /* fields are private to board.c */

enum slot_state {
	SLOT_FREE = 0, /* nobody's */
	SLOT_STARTING, /* forked, not yet waiting for requests */
	SLOT_IDLE,     /* waits for a request */
	SLOT_BUSY      /* serves one */
};

/* Make a board; NULL without memory. board_free() it in the master. */
struct board *board_new(int slots);
void board_free(struct board *b);
int board_slots(const struct board *b);

/* The master's side. */
void board_set(struct board *b, int slot, enum slot_state state);
enum slot_state board_state(const struct board *b, int slot);
int board_count(const struct board *b, enum slot_state state);

/* From now on a worker that is told to leave first takes what waits in the
 * socket's queue: nobody else will. */
void board_drain(struct board *b);
bool board_draining(const struct board *b);

/* For how long a worker has been at its request, in milliseconds; 0: at none. */
int64_t board_busy_ms(const struct board *b, int slot);

/* Becomes readable when the last idle worker became busy; for poll(2). */
int board_fd(const struct board *b);
void board_clear(struct board *b); /* read it empty */

/* The worker's side. */
void board_idle(struct board *b, int slot);
void board_busy(struct board *b, int slot);

#endif
