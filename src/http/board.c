/* The scoreboard, see board.h. */
#define _GNU_SOURCE /* pipe2 */
#include "http/board.h"

#include "base/clock.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

struct slot {
	_Atomic int state;
	_Atomic int64_t busy_since; /* clock_mono_ms() */
};

struct board {
	int slots;
	int wake[2];            /* a pipe, both ends without waiting */
	_Atomic bool draining;
	struct slot slot[];
};

static size_t
size_of(int slots)
{
	return sizeof(struct board) + (size_t)slots * sizeof(struct slot);
}

struct board *
board_new(int slots)
{
	struct board *b = mmap(NULL, size_of(slots), PROT_READ | PROT_WRITE,
	                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (b == MAP_FAILED)
		return NULL;
	b->slots = slots;
	if (pipe2(b->wake, O_NONBLOCK | O_CLOEXEC) != 0) {
		munmap(b, size_of(slots));
		return NULL;
	}
	return b;
}

void
board_free(struct board *b)
{
	if (b == NULL)
		return;
	close(b->wake[0]);
	close(b->wake[1]);
	munmap(b, size_of(b->slots));
}

int
board_slots(const struct board *b)
{
	return b->slots;
}

void
board_set(struct board *b, int slot, enum slot_state state)
{
	atomic_store(&b->slot[slot].state, (int)state);
}

enum slot_state
board_state(const struct board *b, int slot)
{
	return (enum slot_state)atomic_load(&b->slot[slot].state);
}

int
board_count(const struct board *b, enum slot_state state)
{
	int n = 0;

	for (int i = 0; i < b->slots; i++)
		n += board_state(b, i) == state;
	return n;
}

int64_t
board_busy_ms(const struct board *b, int slot)
{
	return board_state(b, slot) != SLOT_BUSY ? 0
	       : clock_mono_ms() - atomic_load(&b->slot[slot].busy_since);
}

void
board_drain(struct board *b)
{
	atomic_store(&b->draining, true);
}

bool
board_draining(const struct board *b)
{
	return atomic_load(&b->draining);
}

int
board_fd(const struct board *b)
{
	return b->wake[0];
}

void
board_clear(struct board *b)
{
	char trash[64];

	while (read(b->wake[0], trash, sizeof(trash)) == (ssize_t)sizeof(trash))
		;
}

void
board_idle(struct board *b, int slot)
{
	if (b != NULL)
		atomic_store(&b->slot[slot].state, SLOT_IDLE);
}

void
board_busy(struct board *b, int slot)
{
	if (b == NULL)
		return;
	atomic_store(&b->slot[slot].busy_since, clock_mono_ms());
	atomic_store(&b->slot[slot].state, SLOT_BUSY);
	if (board_count(b, SLOT_IDLE) + board_count(b, SLOT_STARTING) > 0)
		return;
	/* A full pipe has woken the master already. */
	if (write(b->wake[1], "", 1) < 0)
		return;
}
