#include "client/load/flag_groups.h"

#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace evoke::load {
namespace {

constexpr double kMaxRate = 1e6;

void AddDuration(CLI::App* app, const std::string& flag, absl::Duration* target, const std::string& help) {
  app->add_option_function<std::string>(
         flag,
         [flag, target](const std::string& text) {
           if (absl::ParseDuration(text, target) && *target > absl::ZeroDuration() &&
               *target != absl::InfiniteDuration()) {
             return;
           }
           throw CLI::ValidationError(flag,
                                      absl::StrCat("\"", text, "\" is no duration such as 2s, 500ms or 1m"));
         },
         help)
      ->type_name("DURATION");
}

// CLI11 would print the bounds in place of what a flag means; they are told when they are broken.
template <typename T>
CLI::Validator Within(T low, T high) {
  return CLI::Range(low, high).description("");
}
CLI::Validator Positive() {
  return CLI::Validator(CLI::PositiveNumber).description("");
}

// Puts what `add` adds under a heading of its own in --help.
template <typename Function>
void AddGroup(CLI::App* app, const std::string& heading, Function add) {
  const size_t before = app->get_options().size();
  add();
  const std::vector<CLI::Option*> options = app->get_options();
  for (size_t i = before; i < options.size(); ++i) options[i]->group(heading);
}

template <typename Enum>
void AddEnum(CLI::App* app, const std::string& flag, Enum* target, const std::map<std::string, Enum>& names,
             const std::string& help) {
  app->add_option(flag, *target, help)
      ->transform(CLI::CheckedTransformer(names, CLI::ignore_case).description(""))
      ->type_name("NAME");
}

void AddServerFlags(CLI::App* app, Options* options, Texts* texts) {
  app->add_option("-a,--address", texts->address,
                  "host:port or unix:PATH; several, by comma, are tried in turn")
      ->envname("EVOKE_ADDRESS")
      ->capture_default_str();
  AddDuration(app, "-d,--deadline", &options->client.deadline,
              "of every call, its retries included; default 30s");
  app->add_option("--metrics", options->metrics_url,
                  "the server's metrics, http://host:7381/metrics: for where its time went");
  app->add_flag("--tls", texts->tls, "speak TLS, and believe the system's roots; each --tls-... implies it");
  app->add_option("--tls-ca", texts->tls_files.root_certificates,
                  "PEM: roots that the server's certificate leads to")
      ->envname("EVOKE_TLS_CA");
  app->add_option("--tls-cert", texts->tls_files.certificate, "PEM: the certificate to show, with --tls-key");
  app->add_option("--tls-key", texts->tls_files.key, "PEM: its key");
  app->add_option("--tls-server-name", texts->tls_files.server_name,
                  "what the server's certificate says; default the host of the address");
  app->add_option("--token-file", options->client.token_file, "file that holds the token")
      ->envname("EVOKE_TOKEN_FILE");
  app->add_flag("--allow-insecure-token", options->client.allow_insecure_token,
                "send it to another machine without TLS, where whoever listens can take it");
}

void AddMemoryFlags(CLI::App* app, MemoryOptions* memory, Texts* texts) {
  app->add_option("-m,--memory", memory->name, "name")->capture_default_str();
  app->add_flag("--create", memory->create, "make it, with --slots and --dim; fine when an equal one exists");
  app->add_option("--slots", memory->spec.capacity, "capacity of a memory that is made");
  app->add_option("--dim", memory->spec.key_dim, "floats of its keys");
  app->add_option("--choose-k", memory->spec.choose_k, "neighbors that its decisions look at; default 256");
  app->add_option("--age-noise", memory->spec.age_noise, "width of its random choice among the oldest slots");
  AddEnum(app, "--durability", &memory->spec.durability,
          {{"fsync", client::Durability::kFsync},
           {"wal", client::Durability::kWal},
           {"memory", client::Durability::kMemory}},
          "fsync (survives power loss), wal (a crash) or memory (RAM only); default fsync");
  app->add_flag("--fill", texts->fill, "write random rows first, until every slot is live");
  app->add_option("--fill-to", memory->fill, "the same, until so many are");
  app->add_flag("--shared", memory->shared, "others write to it meanwhile: its steps may be more than ours");
}

void AddCallFlags(CLI::App* app, Options* options, Texts* texts) {
  WorkloadOptions& workload = options->workload;
  app->add_option("--mix", texts->mix, "methods by weight: query=9,update=1,train_step=1")
      ->capture_default_str();
  app->add_option("--rows", workload.rows, "rows of a call")->check(Positive())->capture_default_str();
  app->add_option("--k", workload.k, "neighbors of a query; default the memory's choose_k")
      ->check(Positive());
  app->add_flag("--neighbors", workload.neighbors, "queries return their neighbors, not only the answer");
  AddEnum(app, "--form", &workload.form,
          {{"scores", client::ReturnForm::kScores},
           {"gradient", client::ReturnForm::kGradient},
           {"keys", client::ReturnForm::kKeys}},
          "what train steps return: scores, gradient or keys; default scores");
  app->add_option("--values", options->rows.values, "distinct values; default an eighth of the slots")
      ->check(Positive());
  app->add_option("--zipf", options->rows.zipf,
                  "exponent, above 1: few values are common and most rare; default all alike")
      ->check(Within(1.0001, 100.0));
  app->add_option("--spread", options->rows.spread,
                  "of a value's embeddings, whose cosine is 1 / (1 + spread^2)")
      ->check(Within(0.0, 1e6))
      ->capture_default_str();
  app->add_option("--seed", options->rows.seed, "of rows, mix and arrivals")->capture_default_str();
}

void AddLoadFlags(CLI::App* app, LoadOptions* load, Texts* texts) {
  app->add_option("-c,--connections", load->connections, "sockets")
      ->check(Within(1, 1024))
      ->capture_default_str();
  app->add_option("-f,--in-flight", texts->in_flight,
                  "calls at a time on each connection; default 1, in an open loop at most 64")
      ->check(Within(1, 65536));
  app->add_option("-r,--rate", load->rate, "open loop: calls a second in all; of a search the first")
      ->check(Within(1e-3, kMaxRate));
  AddEnum(app, "--arrivals", &load->arrivals,
          {{"poisson", ArrivalKind::kPoisson}, {"constant", ArrivalKind::kConstant}},
          "of the open loop: poisson (bursts, as of many users) or constant; default poisson");
  app->add_option("--calls", load->calls, "make exactly so many, and measure them all; no warm-up")
      ->check(Positive());
  app->add_flag("--shed", load->shed,
                "count what the server has no room for; default it is sent again when it says");
}

void AddMeasurementFlags(CLI::App* app, MeasurementOptions* plan) {
  AddDuration(app, "--warmup", &plan->warmup, "not measured; default 2s");
  AddDuration(app, "--window", &plan->window, "of one measurement; default 2s");
  app->add_option("--stable", plan->stable_windows, "windows in a row that must agree")
      ->check(Within(1, 100))
      ->capture_default_str();
  app->add_option("--tolerance", plan->tolerance, "with their mean, in rate and latency: 0.1 is 10%")
      ->check(Within(0.0, 1.0))
      ->capture_default_str();
  app->add_option("--percentile", plan->percentile, "of the latency that must agree")
      ->check(Within(0.0, 100.0))
      ->capture_default_str();
  app->add_option("--max-windows", plan->max_windows, "then the last ones count all the same, as not stable")
      ->check(Within(1, 1'000'000))
      ->capture_default_str();
}

void AddSearchFlags(CLI::App* app, SearchOptions* search, Texts* texts) {
  app->add_flag("--search", texts->search,
                "find the highest rate at which every bound holds and no call fails");
  for (const auto& [flag, percentile] : {std::pair("--p50", 50.0), std::pair("--p90", 90.0),
                                         std::pair("--p99", 99.0), std::pair("--p99.9", 99.9)}) {
    app->add_option_function<std::string>(
           flag,
           [search, flag = std::string(flag), percentile = percentile](const std::string& text) {
             absl::Duration latency;
             if (!absl::ParseDuration(text, &latency) || latency <= absl::ZeroDuration()) {
               throw CLI::ValidationError(flag, absl::StrCat("\"", text, "\" is no duration such as 5ms"));
             }
             search->bounds.push_back({.percentile = percentile, .latency = latency});
           },
           "bound on this percentile of all calls' latency")
        ->type_name("DURATION");
  }
  app->add_option("--max-rate", search->highest, "no higher one is tried")->check(Within(1.0, kMaxRate));
  app->add_option("--precision", search->precision, "of the rate: 0.05 is 5%")
      ->check(Within(0.001, 1.0))
      ->capture_default_str();
}

void AddOutputFlags(CLI::App* app, CommandLine* line) {
  app->add_flag(
      "--verify", line->options.verify,
      "make --calls (default 1000), one at a time, and again on NAME-again, which is removed: the states\n"
      "must be equal");
  app->add_option("--json", line->options.json_file,
                  "write the report there; - is stdout, in place of the text");
  AddEnum(app, "--progress", &line->progress,
          {{"auto", WhenProgress::kAuto}, {"always", WhenProgress::kAlways}, {"never", WhenProgress::kNever}},
          "on stderr: auto (a live line on a terminal, else a line a window), always (live) or never");
}

}  // namespace

void AddFlags(CLI::App* app, CommandLine* line, Texts* texts) {
  Options& options = line->options;
  AddGroup(app, "Server", [&] { AddServerFlags(app, &options, texts); });
  AddGroup(app, "Memory", [&] { AddMemoryFlags(app, &options.memory, texts); });
  AddGroup(app, "Calls", [&] { AddCallFlags(app, &options, texts); });
  AddGroup(app, "Load", [&] { AddLoadFlags(app, &options.load, texts); });
  AddGroup(app, "Measurement", [&] { AddMeasurementFlags(app, &options.measurement); });
  AddGroup(app, "Search", [&] { AddSearchFlags(app, &*options.search, texts); });
  AddGroup(app, "Checks and output", [&] { AddOutputFlags(app, line); });
}

}  // namespace evoke::load
