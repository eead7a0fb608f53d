/*
 * devices.db: how far each device has been served, and how its clock differs
 * from ours. Advice: it may be lost, it is skipped when somebody else writes
 * it, and no answer waits for it (design.md, "An ack is a promise").
 */
#ifndef TDSYNC_STORE_DEVICES_H
#define TDSYNC_STORE_DEVICES_H

#include "base/buf.h"
#include "base/rc.h"

/*
 * Note that a device (or a token's id, where a pull names no device) was
 * served up to seq; call it when a page held events. A sealed page with more
 * behind it need not be noted: the device comes again. Written only when it is
 * news. `dir` is the project's folder. Failures are swallowed.
 */
void devices_served(const char *dir, struct span device, int64_t seq, int64_t now_us);

/*
 * What a process knows to be noted of the clocks of a project's devices, so
 * that most pushes need not open devices.db. Zero-initialise; it counts for as
 * long as the project's log is the same.
 */
#define DEVICES_KNOWN 16
struct devices_known {
	struct {
		uint64_t device; /* a hash of its name; 0: none */
		int64_t ahead_ms;
	} clock[DEVICES_KNOWN];
};

/*
 * Note how far the newest timestamp of a device's push lies from our clock
 * (milliseconds, positive: it is ahead of us). Written only when it changed
 * by more than half a minute. Failures are swallowed.
 */
void devices_clock(const char *dir, struct devices_known *known, struct span device,
                   int64_t ahead_ms);

/* What is known of one device. */
struct device_state {
	int64_t served_seq;  /* 0: never */
	int64_t served_us;
	int64_t ahead_ms;
};

/* RC_NOT_FOUND when nothing is known (or devices.db is lost). */
enum rc devices_get(const char *dir, struct span device, struct device_state *out);

/* The greatest cursor ever served; 0 when nothing is known. */
int64_t devices_greatest(const char *dir);

/* A device that holds events which the server lost: it pulled from inside the gap
 * that a restore made (events_gap()). */
struct device_lost {
	struct span name;    /* device id, or a token's id */
	int64_t after;       /* it may hold what had the numbers behind this one, */
	int64_t until;       /* up to its cursor */
	int64_t seen_us;     /* when it last pulled from there, microseconds since 1970 */
};

/* Note such a device; written only when it is news. Failures are swallowed. */
void devices_lost(const char *dir, const struct device_lost *d);

/* It knows of the log as it is now, so it has offered again what was lost (our
 * client does, design.md): forget that. */
void devices_found(const char *dir, struct span device);

/*
 * Call visit for each such device, by name; the spans are borrowed for the call.
 * `dir` is the project's folder. Anything but RC_OK of visit ends it with that
 * outcome. RC_BUSY: somebody is writing there just now. A devices.db that is lost
 * holds none.
 */
typedef enum rc devices_visit(void *ctx, const struct device_lost *d);
enum rc devices_each_lost(const char *dir, devices_visit *visit, void *ctx);

#endif
