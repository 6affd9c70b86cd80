// Who asks for a page: the same principals as before gRPC (service/auth.h), and two rules more, because HTTP is not
// encrypted and a browser sends what any web site tells it to.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "server/http/http_message.h"
#include "server/service/auth.h"

namespace evoke {

// With tokens, the one in "Authorization: Bearer TOKEN" decides; no web site can make a browser send it. Without, where
// whoever can connect is admin: only this machine is let in, unless `from_anywhere`, and only under a name that cannot be
// given to it by somebody else's DNS. UNAUTHENTICATED or PERMISSION_DENIED. `auth` null: everybody is let in.
absl::StatusOr<std::shared_ptr<const Principal>> CallerOf(const HttpRequest& request, const Auth* auth,
                                                          bool from_anywhere);

}  // namespace evoke
