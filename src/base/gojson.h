/*
 * JSON as Go's encoding/json writes a value that it has decoded before: what
 * stock td and the Go server store where they parse and write again.
 */
#ifndef TDSYNC_BASE_GOJSON_H
#define TDSYNC_BASE_GOJSON_H

#include "base/buf.h"

/*
 * Append a validated value the way json.Unmarshal into `any` and
 * json.Marshal leave it: members sorted by key, of equal keys the last,
 * numbers as doubles in Go's spelling, strings escaped as buf_add_json()
 * does, no white space. False: a number does not fit a double (Go refuses
 * it too); out then holds a part. No memory: out->failed.
 */
bool gojson_add(struct span value, struct buf *out);

/*
 * Append a number as Go writes a float64: the fewest digits that read back
 * as the same, an exponent below 1e-6 and from 1e21 on.
 */
void gojson_add_double(double v, struct buf *out);

#endif
