/* The handlers of the route table, a file each (members and projects: one). */
#ifndef TDSYNC_HTTP_HANDLERS_H
#define TDSYNC_HTTP_HANDLERS_H

#include "http/route.h"

handler health_run;

handler projects_list_run, projects_create_run;
handler project_get_run, project_patch_run, project_delete_run;

handler members_list_run, members_add_run;
handler member_patch_run, member_delete_run;

handler push_run, pull_run, status_run, snapshot_run;
handler conflicts_run, restore_run, digest_run, history_run;

#endif
