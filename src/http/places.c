/* Places that few can have, see places.h. */
#define _GNU_SOURCE /* F_OFD_SETLK */
#include "http/places.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Lock byte i; where that fails errno says why. */
bool
place_add(int place, int i)
{
	struct flock byte = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i, .l_len = 1,
	};

	return fcntl(place, F_OFD_SETLK, &byte) == 0;
}

enum rc
place_take(const char *path, int n, int *place)
{
	/* Not all begin at the same place: most find a free one at once. */
	int start = (int)(getpid() % n);

	*place = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
	for (int i = 0; *place >= 0 && i < n; i++) {
		if (place_add(*place, (start + i) % n))
			return RC_OK;
		if (errno != EAGAIN && errno != EACCES)
			break;
		if (i == n - 1) {
			place_leave(*place);
			*place = -1;
			return RC_BUSY;
		}
	}
	log_write(LOG_WARN, "%s: %s", path, strerror(errno));
	place_leave(*place);
	*place = -1;
	return RC_OK;
}

void
place_leave(int place)
{
	if (place >= 0)
		close(place);
}
