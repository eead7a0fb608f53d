/* Who waits for a project's lock, see waiters.h. */
#define _GNU_SOURCE /* F_OFD_SETLK */
#include "http/waiters.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Lock byte i. False, and errno says why not. */
static bool
take(int fd, int i)
{
	struct flock place = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i, .l_len = 1,
	};

	return fcntl(fd, F_OFD_SETLK, &place) == 0;
}

enum rc
waiters_enter(const char *dir, int max, int *place, struct err *err)
{
	char path[PATH_MAX + sizeof("/" WAITERS_FILE)];
	/* Not all begin at the same place: most find a free one at once. */
	int start = (int)(getpid() % max);

	snprintf(path, sizeof(path), "%s/" WAITERS_FILE, dir);
	*place = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
	for (int i = 0; *place >= 0 && i < max; i++) {
		if (take(*place, (start + i) % max))
			return RC_OK;
		if (errno != EAGAIN && errno != EACCES)
			break;
		if (i == max - 1) {
			waiters_leave(*place);
			*place = -1;
			return err_set(err, RC_BUSY, "%d requests wait for this project already",
			               max);
		}
	}
	log_write(LOG_WARN, "%s: %s", path, strerror(errno));
	waiters_leave(*place);
	*place = -1;
	return RC_OK;
}

void
waiters_leave(int place)
{
	if (place >= 0)
		close(place);
}
