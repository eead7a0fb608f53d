/*
 * No memory, on demand: the link puts these in front of the allocator
 * (-Wl,--wrap=malloc and so on, Makefile.am), and SQLite's can be told to use one
 * of ours.
 */
#ifndef TDSYNC_TESTS_HUNGRY_H
#define TDSYNC_TESTS_HUNGRY_H

/* The allocation of this number from now on fails, once; negative: none does. */
extern long hungry_at;

/* SQLite's allocations count, too. Before it is used at all. */
void hungry_sqlite_too(void);

#endif
