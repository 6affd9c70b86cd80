// The flags of evoke-load, group by group.
#pragma once

#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "client/load/flags.h"

namespace evoke::load {

// Flags that become options together with others.
struct Texts {
  std::string address = "127.0.0.1:7380";
  std::string mix = "train_step";
  bool search = false;
  bool fill = false;
  bool tls = false;
  client::TlsOptions tls_files;
  std::optional<int> in_flight;
};

// Adds every flag to `app`; parsing fills `line` and `texts`, which must outlive it.
void AddFlags(CLI::App* app, CommandLine* line, Texts* texts);

}  // namespace evoke::load
