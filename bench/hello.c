/* The least that a FastCGI worker can do, see hello.h. */
#include "bench/hello.h"

#include <fcgiapp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void
serve(int fd)
{
	static const char answer[] =
	    "Content-Type: application/json\r\nContent-Length: 18\r\n\r\n"
	    "{\"hello\":\"world!\"}";
	FCGX_Request r;

	if (FCGX_Init() != 0 || FCGX_InitRequest(&r, fd, 0) != 0)
		_exit(1);
	while (FCGX_Accept_r(&r) >= 0) {
		FCGX_PutStr(answer, sizeof(answer) - 1, r.out);
		FCGX_Detach(&r);
		FCGX_Finish_r(&r);
	}
	_exit(1);
}

void
hello_start(struct hello *h, const char *path, size_t n)
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
			serve(fd);
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
