#include "client/load/flags.h"

#include <sstream>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/load/evoke_load.h"
#include "client/load/flag_groups.h"

namespace evoke::load {
namespace {

constexpr int kOpenLoopInFlight = 64;

constexpr char kWhat[] =
    "Puts load on a memory of an Evoke server, measures latencies, says where the server's time went,\n"
    "and checks that nothing is lost, applied twice or seen going back.";
constexpr char kFooter[] =
    R"(Closed loop by default: each of --connections x --in-flight callers makes its next call when it has a reply.
With --rate or --search the loop is open: calls are due at times of their own, and latency counts from when a call
was due, so a server that stalls is not spared the calls that would have come meanwhile.

  evoke-load --create --slots 65536 --dim 128 --fill --mix train_step --rows 64
  evoke-load -m faces --rate 500 --mix query=9,train_step --metrics http://127.0.0.1:7381/metrics
  evoke-load -m faces --search --p99 5ms --mix query --json report.json
  evoke-load -m trial --create --slots 4096 --dim 64 --verify

Every row of Update and TrainStep writes: the memory that is named is changed.
Exit code: 0 done, 1 failed, or the outcome of a mutation stayed unknown, 2 usage, 3 a promise was broken.)";

// What no single flag can tell. Empty: fine.
std::string Contradiction(const Options& options, const Texts& texts) {
  const MemoryOptions& memory = options.memory;
  if (memory.create && (memory.spec.capacity == 0 || memory.spec.key_dim == 0)) {
    return "--create needs --slots and --dim";
  }
  if (!memory.create && (memory.spec.capacity != 0 || memory.spec.key_dim != 0)) {
    return "--slots and --dim are of a memory that is made: --create is missing";
  }
  if (texts.search && options.search->bounds.empty()) return "--search needs a bound, such as --p99 5ms";
  if (!texts.search && !options.search->bounds.empty()) return "a bound is of a --search";
  if (texts.search && options.load.calls.has_value()) return "--search and --calls contradict each other";
  if (options.verify && !memory.create) return "--verify needs a fresh memory: --create, --slots and --dim";
  if (options.verify && memory.shared) return "--verify and --shared contradict each other";
  if (options.verify && (texts.search || options.load.rate.has_value() || options.load.connections > 1 ||
                         texts.in_flight.value_or(1) > 1)) {
    return "--verify makes one call at a time: the order of several is not in our hands";
  }
  if (options.verify && options.load.shed) return "--verify makes every call: --shed contradicts it";
  return "";
}

void Complete(const Texts& texts, Options* options) {
  options->client.addresses = absl::StrSplit(texts.address, ',');
  const client::TlsOptions& files = texts.tls_files;
  if (texts.tls || !files.root_certificates.empty() || !files.certificate.empty() || !files.key.empty() ||
      !files.server_name.empty()) {
    options->client.tls = files;
  }
  if (texts.fill) options->memory.fill = 0;
  const bool open = options->load.rate.has_value() || texts.search;
  options->load.in_flight = texts.in_flight.value_or(open ? kOpenLoopInFlight : 1);
  if (options->verify && !options->load.calls.has_value()) options->load.calls = 1000;
  if (texts.search) {
    // Windows agree in what is searched for.
    options->measurement.percentile = options->search->bounds.front().percentile;
  } else {
    options->search.reset();
  }
}

}  // namespace

CommandLine ParseCommandLine(const std::vector<std::string>& args) {
  CommandLine line;
  Options& options = line.options;
  Texts texts;
  options.arguments = args;
  options.rows.values = 0;  // by the memory's capacity
  options.search.emplace();

  CLI::App app(kWhat, "evoke-load");
  app.footer(kFooter);
  app.set_version_flag("--version", EVOKE_VERSION);
  app.get_formatter()->column_width(36);
  AddFlags(&app, &line, &texts);

  std::ostringstream out;
  const auto refuse = [&](const std::string& why) {
    line.message = absl::StrCat(why, "\nRun with --help for more information.\n");
    line.exit_code = kExitUsage;
    return line;
  };
  try {
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));  // CLI11 takes them from the back
  } catch (const CLI::ParseError& error) {
    line.exit_code = app.exit(error, out, out) == 0 ? kExitOk : kExitUsage;
    line.message = out.str();
    return line;
  }
  absl::StatusOr<Mix> mix = Mix::Parse(texts.mix);
  if (!mix.ok()) return refuse(absl::StrCat("--mix: ", mix.status().message()));
  options.workload.mix = *std::move(mix);
  const std::string contradiction = Contradiction(options, texts);
  if (!contradiction.empty()) return refuse(contradiction);
  Complete(texts, &options);
  line.run = true;
  return line;
}

}  // namespace evoke::load
