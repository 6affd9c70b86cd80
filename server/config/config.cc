#include "server/config/config.h"

#include <xxhash.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "server/config/option_table.h"
#include "server/config/toml.h"
#include "server/config/values.h"

namespace evoke {
namespace {

constexpr const char* kConfigKey = "config";

struct Given {
  std::string text;
  std::string source;  // "flag", "environment", "file" or "default"
};

const Option* FindOption(const std::string& key) {
  for (const Option& option : OptionTable()) {
    if (key == option.key) return &option;
  }
  return nullptr;
}

// The known key with the least distance to `key`, and that distance.
std::pair<std::string, int> Nearest(const std::string& key) {
  std::pair<std::string, int> best{kConfigKey, EditDistance(key, kConfigKey)};
  for (const Option& option : OptionTable()) {
    if (const int distance = EditDistance(key, option.key); distance < best.second)
      best = {option.key, distance};
  }
  return best;
}

// As a basic string of TOML. Requires: IsText(text).
std::string Quoted(const std::string& text) {
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"\"", "\\\""}}), "\"");
}

std::string DigestOf(const std::map<std::string, std::string>& values) {
  std::string text;
  for (const auto& [key, value] : values) absl::StrAppend(&text, key, " = ", Quoted(value), "\n");
  return absl::StrFormat("%016x", XXH3_64bits(text.data(), text.size()));
}

// Collects what the sources give, strongest first, and every error on the way.
class Loader {
 public:
  void ReadFlags(const std::vector<std::string>& args);
  void ReadEnvironment(const std::map<std::string, std::string>& environment);
  void ReadFile();
  absl::StatusOr<LoadedConfig> Finish();

  Action action() const { return loaded_.action; }

 private:
  void Give(const Option& option, const std::string& source, const std::string& text);
  void GiveTable(const toml::table& table, const std::string& section);
  void GiveNode(const Option& option, const toml::node& node);
  void SetAction(Action action) {
    if (loaded_.action == Action::kServe) loaded_.action = action;
  }
  void CheckTogether();

  LoadedConfig loaded_;
  std::map<std::string, Given> given_;
  std::optional<std::string> file_;
  std::vector<std::string> errors_;
};

void Loader::Give(const Option& option, const std::string& source, const std::string& text) {
  auto [it, fresh] = given_.try_emplace(option.key, Given{text, source});
  if (fresh || it->second.source != source) return;  // a stronger source spoke already
  if (option.many) {
    absl::StrAppend(&it->second.text, ",", text);
  } else {
    errors_.push_back(absl::StrCat(source, ": ", option.key, " is given twice"));
  }
}

void Loader::ReadFlags(const std::vector<std::string>& args) {
  for (size_t i = 0; i < args.size(); ++i) {
    if (!absl::StartsWith(args[i], "--")) {
      if (args[i] == "-h") {
        SetAction(Action::kHelp);
      } else {
        errors_.push_back(absl::StrCat("flag: \"", args[i], "\" is no option; options begin with --"));
      }
      continue;
    }
    const size_t equals = args[i].find('=');
    const std::string key = args[i].substr(2, equals == std::string::npos ? equals : equals - 2);
    std::optional<std::string> value;
    if (equals != std::string::npos) value = args[i].substr(equals + 1);

    constexpr std::pair<const char*, Action> kActions[] = {{"help", Action::kHelp},
                                                           {"version", Action::kVersion},
                                                           {"print-config", Action::kPrintConfig},
                                                           {"check-config", Action::kCheckConfig}};
    const auto* known =
        std::find_if(std::begin(kActions), std::end(kActions), [&](auto& a) { return key == a.first; });
    if (known != std::end(kActions)) {
      SetAction(known->second);
      continue;
    }
    const Option* option = FindOption(key);
    if (option == nullptr && key != kConfigKey) {
      errors_.push_back(absl::StrCat("flag: --", key, " is unknown, the nearest is --", Nearest(key).first));
      if (!value && i + 1 < args.size() && !absl::StartsWith(args[i + 1], "--"))
        ++i;  // most likely its value
      continue;
    }
    const bool is_switch = option != nullptr && option->value[0] == '\0';
    if (!value && is_switch) value = "true";
    if (!value && i + 1 < args.size()) value = args[++i];
    if (!value) {
      errors_.push_back(absl::StrCat("flag: --", key, " has no value"));
    } else if (option == nullptr) {
      file_ = *value;
    } else {
      Give(*option, "flag", *value);
    }
  }
}

void Loader::ReadEnvironment(const std::map<std::string, std::string>& environment) {
  for (const auto& [name, value] : environment) {
    if (!absl::StartsWith(name, "EVOKE_")) continue;
    std::string key = absl::AsciiStrToLower(name.substr(6));
    std::replace(key.begin(), key.end(), '_', '-');
    if (key == kConfigKey) {
      if (!file_) file_ = value;
    } else if (const Option* option = FindOption(key); option != nullptr) {
      Give(*option, "environment", value);
    } else if (const auto [nearest, distance] = Nearest(key); distance <= 2) {
      errors_.push_back(
          absl::StrCat("environment: ", name, " is unknown, the nearest is ", VariableOf(nearest)));
    } else {
      // Others share this prefix: clients, and container platforms that announce services by variables.
      loaded_.warnings.push_back(absl::StrCat("environment: ", name, " is no option of the server"));
    }
  }
}

void Loader::ReadFile() {
  if (!file_) return;
  std::ifstream in(*file_);
  std::ostringstream text;
  const bool empty = in && in.peek() == std::ifstream::traits_type::eof();  // copying nothing counts as a failure
  if (in.bad() || (!empty && !(text << in.rdbuf()))) {
    errors_.push_back(absl::StrCat("file: ", *file_, " cannot be read"));
    return;
  }
  try {
    GiveTable(toml::parse(text.str()), "");
  } catch (const toml::parse_error& e) {
    errors_.push_back(absl::StrCat("file: ", *file_, ":", e.source().begin.line, ": ", std::string(e.description())));
  }
}

void Loader::GiveTable(const toml::table& table, const std::string& section) {
  for (const auto& [name, node] : table) {
    const std::string key = section + std::string(name.str());
    if (const toml::table* below = node.as_table()) {
      GiveTable(*below, key + ".");
      continue;
    }
    const Option* option = FindOption(key);
    if (option == nullptr) {
      errors_.push_back(
          absl::StrCat("file: ", *file_, ": ", key, " is unknown, the nearest is ", Nearest(key).first));
    } else if (const toml::array* many = node.as_array(); many != nullptr && option->many) {
      many->for_each([&](const auto& item) { GiveNode(*option, item); });
    } else {
      GiveNode(*option, node);
    }
  }
}

void Loader::GiveNode(const Option& option, const toml::node& node) {
  if (const auto text = node.value_exact<std::string>()) {
    Give(option, "file", *text);
  } else if (const auto number = node.value_exact<int64_t>()) {
    Give(option, "file", absl::StrCat(*number));
  } else if (const auto flag = node.value_exact<bool>()) {
    Give(option, "file", *flag ? "true" : "false");
  } else {
    errors_.push_back(absl::StrCat("file: ", *file_, ": ", option.key, " is neither text nor number nor true nor false",
                                   option.many ? ", nor a list of texts" : ""));
  }
}

absl::StatusOr<LoadedConfig> Loader::Finish() {
  for (const Option& option : OptionTable()) {
    if (option.fallback != nullptr) given_.try_emplace(option.key, Given{option.fallback, "default"});
    const auto it = given_.find(option.key);
    if (it == given_.end()) {
      errors_.push_back(
          absl::StrCat(option.key, " is required: --", option.key, " or ", VariableOf(option.key)));
      continue;
    }
    const auto& [text, source] = it->second;
    if (const std::string expected = option.set(text, &loaded_.config); !expected.empty()) {
      errors_.push_back(absl::StrCat(source, ": ", option.key, " is \"", text, "\", expects ", expected));
    }
    loaded_.values[option.key] = text;
    // What no file could say is not taken from anywhere, and would not be legible in a log either.
    if (!IsText(text)) errors_.push_back(absl::StrCat(source, ": ", option.key, " is no text in UTF-8 without control characters"));
    absl::StrAppend(&loaded_.printed, "# ", option.key, " from ", source, "\n", option.key, " = ", Quoted(text), "\n");
  }
  loaded_.config.text = loaded_.printed;
  loaded_.config.digest = DigestOf(loaded_.values);
  CheckTogether();
  if (!errors_.empty()) return absl::InvalidArgumentError(absl::StrJoin(errors_, "\n"));
  return loaded_;
}

void Loader::CheckTogether() {
  const Config& config = loaded_.config;
  const bool tls = !config.tls_certificate.empty();
  const bool tokens = !config.tokens.empty();
  std::vector<std::string> addresses = config.listen;
  if (!config.http_listen.empty()) addresses.push_back(config.http_listen);
  for (const std::string& address : addresses) {
    if (IsLocal(address) || config.allow_insecure_remote || tls || tokens) continue;
    errors_.push_back(absl::StrCat(
        address,
        " can be reached from other machines, and there are neither TLS (tls-certificate, tls-key) nor "
        "tokens (tokens); give them, listen on a loopback address, or give --allow-insecure-remote"));
  }
  if (tls != !config.tls_key.empty())
    errors_.push_back("tls-certificate and tls-key go together, and one of them is missing");
  if (!config.tls_client_ca.empty() && !tls)
    errors_.push_back("tls-client-ca needs tls-certificate and tls-key");
  for (const std::string& address : config.listen) {
    if (IsLocal(address)) continue;
    if (tokens && !tls)
      loaded_.warnings.push_back(
          absl::StrCat(address, ": tokens cross the network unencrypted, without TLS"));
    if (!tokens && config.tls_client_ca.empty())
      loaded_.warnings.push_back(
          absl::StrCat(address, ": whoever can connect is admin, without tokens or tls-client-ca"));
  }
  if (config.engine.mailbox_rows < config.max_rows) {
    errors_.push_back(absl::StrCat("mailbox-rows is ", config.engine.mailbox_rows, ", below max-rows, ",
                                   config.max_rows, ": such a request could never be taken"));
  }
}

}  // namespace

absl::StatusOr<LoadedConfig> LoadConfig(const std::vector<std::string>& args,
                                        const std::map<std::string, std::string>& environment) {
  Loader loader;
  loader.ReadFlags(args);
  if (loader.action() == Action::kHelp || loader.action() == Action::kVersion)
    return LoadedConfig{.action = loader.action()};
  loader.ReadEnvironment(environment);
  loader.ReadFile();
  return loader.Finish();
}

std::vector<std::string> NeedRestart(const LoadedConfig& running, const LoadedConfig& fresh) {
  std::vector<std::string> keys;
  for (const Option& option : OptionTable()) {
    if (!option.reloads && running.values.at(option.key) != fresh.values.at(option.key))
      keys.push_back(option.key);
  }
  return keys;
}

std::string HelpText() {
  std::string text =
      "evoked: a memory server for neural networks\n\n"
      "Usage: evoked --data-dir DIR [options]\n\n"
      "Every option is also a variable (EVOKE_DATA_DIR) and a key of the file (data-dir = \"...\");\n"
      "flag > variable > file > default.\n\n";
  const auto line = [&](const std::string& flag, const std::string& help) {
    absl::StrAppendFormat(&text, "  %-28s %s\n", flag, help);
  };
  for (const Option& option : OptionTable()) {
    const std::string flag = absl::StrCat("--", option.key, option.value[0] == '\0' ? "" : " ", option.value);
    line(flag, option.help);
    line("", option.fallback == nullptr   ? "Required."
             : option.fallback[0] == '\0' ? "Default: none"
                                          : absl::StrCat("Default: ", option.fallback));
  }
  line("--config FILE", "Read a file of options, TOML.");
  line("--print-config", "Print every value and where it came from.");
  line("--check-config", "Only say whether the options are right.");
  line("--version", "Print the version.");
  line("--help", "Print this.");
  return text;
}

}  // namespace evoke
