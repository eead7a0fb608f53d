/* Limits on how long calls may block, see limit.h. */
#include "http/limit.h"

#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

/* How often the signal is repeated: one that comes just before a call begins
 * to block does not end it. */
#define AGAIN_MS 10

static void
on_alarm(int sig)
{
	(void)sig; /* only there to end calls with EINTR */
}

void
limit_init(void)
{
	struct sigaction sa = { .sa_handler = on_alarm }; /* no SA_RESTART */
	sigset_t set;

	sigemptyset(&sa.sa_mask);
	sigaction(SIGALRM, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void
limit_start(int64_t ms)
{
	struct itimerval timer = { { 0, AGAIN_MS * 1000 }, { 0, 1 } };

	if (ms > 0)
		timer.it_value = (struct timeval){ ms / 1000, ms % 1000 * 1000 };
	setitimer(ITIMER_REAL, &timer, NULL);
}

void
limit_stop(void)
{
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
}
