// A payload as a person can look at it.
#pragma once

#include "server/page/json_reply.h"
#include "storage/slot_store.h"

namespace evoke {

// {"step", "bytes", "kind", "data"}: kind "png" or "jpeg" by the first bytes, with all of them in base64; "text", as it is;
// else "bytes", with the first 256 in hex. Of what others put there nothing is believed: an image is one for the browser's
// decoder only.
Json ToJson(const Payload& payload);

}  // namespace evoke
