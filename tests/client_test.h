/* The parts of the client's test program. */
#ifndef TDSYNC_TESTS_CLIENT_TEST_H
#define TDSYNC_TESTS_CLIENT_TEST_H

#include <check.h>

TCase *client_beside_cases(void);
TCase *client_conflict_cases(void);
TCase *client_fault_cases(void);
TCase *client_history_cases(void);
TCase *client_login_cases(void);
TCase *client_verify_cases(void);

#endif
