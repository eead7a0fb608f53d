/* The handlers of the route table, a file each (members and projects: one). */
#ifndef TDSYNC_HTTP_HANDLERS_H
#define TDSYNC_HTTP_HANDLERS_H

#include "http/route.h"

handler health_run, metrics_run;

handler projects_list_run, projects_create_run;
handler project_get_run, project_patch_run, project_delete_run;

handler members_list_run, members_add_run;
handler member_patch_run, member_delete_run;

handler device_start_run, device_poll_run, approve_page_run, approve_run;
handler code_start_run, code_poll_run, verify_page_run, verify_run;

handler setup_page_run, setup_run;

handler token_self_run, tokens_list_run, tokens_create_run, token_delete_run;

handler links_list_run, links_create_run, link_delete_run;

handler invitations_list_run, invitations_create_run, invitation_delete_run;
handler own_invitations_run, invitation_accept_run, invitation_decline_run;

/* Append the member object of protocol.md section 2. */
void member_add_object(struct buf *out, const struct member *m, const char *email);

/* Append what a caller may know of a token; secret NULL: without it. */
void token_add_object(struct buf *out, const struct token_row *t, const char *email,
                      const char *secret);

/* Add a token to a list in r->out, if it is valid. */
enum rc token_list_valid(struct request *r, const struct token_row *t, const char *email);

handler push_run, pull_run, status_run, snapshot_run;
handler conflicts_run, restore_run, digest_run, history_run;

#endif
