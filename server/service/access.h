// Who may call what: roles, the one table of methods, and the memories that a principal may name.
//
// Pure functions of their arguments; thread-safe. proto/README.md lists the reasons of the errors.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace evoke {

// Each may do what the one before may.
enum class Role {
  kReader,   // ask and look
  kTrainer,  // teach, make and empty memories, go back to a snapshot
  kAdmin     // everything: remove memories and snapshots, carry them elsewhere
};
std::string_view Name(Role role);
std::optional<Role> RoleNamed(std::string_view name);

struct MethodRule {
  std::string_view method;  // as in CallObserver: "AdminService/DeleteMemory"
  Role least = Role::kAdmin;
  bool audited = false;  // every call of it is a line of the audit log
};
// Every method of our services; grpc.health.v1 and reflection are not ours and open to all.
absl::Span<const MethodRule> MethodRules();
// nullptr: the table does not have it, and nobody may call it.
const MethodRule* RuleOf(std::string_view method);

// Whether `name` is what `pattern` says: '*' stands for any run of characters, everything else for itself.
bool MatchesPattern(std::string_view pattern, std::string_view name);

// Somebody who calls.
struct Principal {
  std::string name;  // for people and the audit log; not a secret
  Role role = Role::kReader;
  std::vector<std::string> patterns;  // of the memories that it may name

  bool MayName(std::string_view memory) const;
};

// OK, or PERMISSION_DENIED: the role is too low for the method.
absl::Status AuthorizeMethod(const Principal& principal, std::string_view method);
// OK, or PERMISSION_DENIED: no pattern of the principal allows the memory. Said before anything is looked up,
// so that it does not tell whether there is such a memory.
absl::Status AuthorizeMemory(const Principal& principal, std::string_view memory);

// The names of memories in a request: of its fields of type MemoryRef, and its fields `name` and `new_name`;
// not those that are empty. A request that names a memory in any other way must be checked by its handler.
std::vector<std::string> NamedMemories(const google::protobuf::Message& request);
// Whether its field `dry_run` is set.
bool IsDryRun(const google::protobuf::Message& request);

}  // namespace evoke
