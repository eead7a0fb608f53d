/* The least that a FastCGI worker can do, see hello.h. */
#include "bench/hello.h"

#include "bench/plain.h"

#include <fcgiapp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is not read, a closed connection would answer with a reset. */
static void
read_body(FCGX_Stream *in)
{
	char part[8192];

	while (FCGX_GetStr(part, sizeof(part), in) == (int)sizeof(part))
		;
}

static void
serve(int fd, const char *db)
{
	static const char answer[] =
	    "Content-Type: application/json\r\nContent-Length: 18\r\n\r\n"
	    "{\"hello\":\"world!\"}";
	struct plain *plain = db != NULL ? plain_open(db) : NULL;
	int lock = db != NULL ? open(db, O_RDWR | O_CLOEXEC) : -1;
	FCGX_Request r;

	if (FCGX_Init() != 0 || FCGX_InitRequest(&r, fd, 0) != 0)
		_exit(1);
	while (FCGX_Accept_r(&r) >= 0) {
		read_body(r.in);
		if (plain != NULL) {
			flock(lock, LOCK_EX);
			plain_add(plain);
			flock(lock, LOCK_UN);
		}
		FCGX_PutStr(answer, sizeof(answer) - 1, r.out);
		FCGX_Detach(&r);
		FCGX_Finish_r(&r);
	}
	_exit(1);
}

void
hello_start(struct hello *h, const char *path, size_t n, const char *db)
{
	int fd = FCGX_OpenSocket(path, 511);
	pid_t parent = getpid();

	if (fd < 0)
		abort();
	h->n = n < HELLO_MAX ? n : HELLO_MAX;
	for (size_t i = 0; i < h->n; i++) {
		h->pids[i] = fork();
		if (h->pids[i] < 0)
			abort();
		if (h->pids[i] > 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			serve(fd, db);
		_exit(1);
	}
	close(fd);
}

void
hello_stop(struct hello *h)
{
	for (size_t i = 0; i < h->n; i++) {
		kill(h->pids[i], SIGKILL);
		waitpid(h->pids[i], NULL, 0);
	}
	h->n = 0;
}
