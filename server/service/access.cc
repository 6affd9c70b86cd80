#include "server/service/access.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "evoke/v1/types.pb.h"
#include "server/base/errors.h"

namespace evoke {
namespace {

// README.md of this folder shows this table, and a test compares the two. What is undone only from a backup,
// and what carries a memory's content past the patterns of others, is for admins; so is what takes disk
// without a spec's bounds.
constexpr MethodRule kRules[] = {
    {"MemoryService/Query", Role::kReader},
    {"MemoryService/GetSlots", Role::kReader},
    {"MemoryService/Export", Role::kReader},
    {"MemoryService/Update", Role::kTrainer},
    {"MemoryService/TrainStep", Role::kTrainer},
    {"MemoryService/TrainStream", Role::kTrainer},
    {"MemoryService/Import", Role::kTrainer},
    {"AdminService/DescribeMemory", Role::kReader},
    {"AdminService/ListMemories", Role::kReader},
    {"AdminService/StateHash", Role::kReader},
    {"AdminService/Status", Role::kReader},
    {"AdminService/ListSnapshots", Role::kReader},
    {"AdminService/VerifySnapshot", Role::kReader},
    {"AdminService/CreateMemory", Role::kTrainer, true},
    {"AdminService/ClearMemory", Role::kTrainer, true},
    {"AdminService/CreateSnapshot", Role::kTrainer, true},
    {"AdminService/RestoreSnapshot", Role::kTrainer, true},
    {"AdminService/DeleteSnapshot", Role::kTrainer, true},  // but not a scheduled one
    {"AdminService/DeleteMemory", Role::kAdmin, true},
    {"AdminService/ForkMemory", Role::kAdmin, true},
    {"AdminService/CopySnapshot", Role::kAdmin, true},
};

constexpr std::string_view kRoleNames[] = {"reader", "trainer", "admin"};

absl::Status Denied(const std::string& message) {
  return MakeError(absl::StatusCode::kPermissionDenied, message, {.reason = "PERMISSION_DENIED"});
}

// Debian's Abseil has a string_view of its own.
absl::string_view ToAbsl(std::string_view s) {
  return {s.data(), s.size()};
}

}  // namespace

std::string_view Name(Role role) {
  return kRoleNames[static_cast<int>(role)];
}

std::optional<Role> RoleNamed(std::string_view name) {
  const auto* found = std::find(std::begin(kRoleNames), std::end(kRoleNames), name);
  if (found == std::end(kRoleNames)) return std::nullopt;
  return static_cast<Role>(found - std::begin(kRoleNames));
}

absl::Span<const MethodRule> MethodRules() {
  return kRules;
}

const MethodRule* RuleOf(std::string_view method) {
  const auto* rule =
      std::find_if(std::begin(kRules), std::end(kRules), [&](auto& r) { return r.method == method; });
  return rule == std::end(kRules) ? nullptr : rule;
}

bool MatchesPattern(std::string_view pattern, std::string_view name) {
  // Only the last star is ever tried again, so the work is at most the product of the lengths: no pattern is
  // slow.
  size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

bool Principal::MayName(std::string_view memory) const {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return MatchesPattern(pattern, memory); });
}

absl::Status AuthorizeMethod(const Principal& principal, std::string_view method) {
  const MethodRule* rule = RuleOf(method);
  // Whoever adds a method decides its role; until then it is closed.
  if (rule == nullptr) return Denied(absl::StrCat(ToAbsl(method), " has no least role and is closed to all"));
  if (principal.role >= rule->least) return absl::OkStatus();
  return Denied(absl::StrCat(ToAbsl(method), " needs the role ", ToAbsl(Name(rule->least)), ", \"",
                             principal.name, "\" is a ", ToAbsl(Name(principal.role))));
}

absl::Status AuthorizeMemory(const Principal& principal, std::string_view memory) {
  if (principal.MayName(memory)) return absl::OkStatus();
  return Denied(absl::StrCat("\"", principal.name, "\" may name the memories ",
                             absl::StrJoin(principal.patterns, ","), ", not \"", ToAbsl(memory), "\""));
}

std::vector<std::string> NamedMemories(const google::protobuf::Message& request) {
  std::vector<std::string> names;
  const auto& reflection = *request.GetReflection();
  const google::protobuf::Descriptor& type = *request.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const google::protobuf::FieldDescriptor* field = type.field(i);
    if (field->is_repeated() || !reflection.HasField(request, field)) continue;
    if (field->message_type() == v1::MemoryRef::descriptor()) {
      names.push_back(static_cast<const v1::MemoryRef&>(reflection.GetMessage(request, field)).name());
    } else if (field->name() == "name" || field->name() == "new_name") {
      names.push_back(reflection.GetString(request, field));
    }
  }
  std::erase(names, "");
  return names;
}

bool IsDryRun(const google::protobuf::Message& request) {
  const google::protobuf::FieldDescriptor* field = request.GetDescriptor()->FindFieldByName("dry_run");
  return field != nullptr && request.GetReflection()->GetBool(request, field);
}

}  // namespace evoke
