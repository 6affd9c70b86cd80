#include "client/cli/evokectl.h"

#include <map>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/cli/commands.h"
#include "client/cli/spec_flags.h"
#include "evoke/request_scope.h"

namespace evoke::cli {
namespace {

CLI::Validator PositiveDuration() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        absl::Duration duration;
        if (absl::ParseDuration(text, &duration) && duration > absl::ZeroDuration() &&
            duration != absl::InfiniteDuration()) {
          return "";
        }
        return absl::StrCat("\"", text, "\" is no duration such as 30s, 500ms or 2m");
      },
      "DURATION");
}

// A command whose callback sets what is to be run once everything has been parsed.
using Command = int (Commands::*)();

CLI::App* AddCommand(CLI::App* parent, const std::string& name, const std::string& help, Command command,
                     Command* chosen) {
  CLI::App* app = parent->add_subcommand(name, help);
  app->callback([chosen, command] { *chosen = command; });
  return app;
}

void AddName(CLI::App* command, Flags* flags) {
  command->add_option("name", flags->name, "of the memory")->required();
}

void AddYes(CLI::App* command, Flags* flags) {
  command->add_flag("-y,--yes", flags->yes, "do not ask; required when nobody is there to be asked");
}

void AddMemoryCommands(CLI::App* app, Flags* flags, Command* chosen) {
  CLI::App* memory = app->add_subcommand("memory", "Make, look at, empty and remove memories");
  memory->require_subcommand(1);
  memory->fallthrough();

  CLI::App* create = AddCommand(memory, "create", "Make a memory", &Commands::Create, chosen);
  create
      ->add_option("name", flags->name,
                   "1 to 128 of letters, digits, '.', '_', '-'; not beginning with '.' or '-'")
      ->required();
  AddSpecFlags(create, &flags->spec);
  create->add_flag("--if-not-exists", flags->if_not_exists,
                   "a memory of that name with an equal spec is fine");

  AddCommand(memory, "list", "All memories, by name", &Commands::List, chosen);
  AddName(AddCommand(memory, "describe", "Spec and figures of a memory", &Commands::Describe, chosen), flags);

  CLI::App* clear =
      AddCommand(memory, "clear", "Free every slot; cannot be undone", &Commands::Clear, chosen);
  AddName(clear, flags);
  AddYes(clear, flags);

  CLI::App* remove = AddCommand(memory, "delete", "Remove a memory and its data; cannot be undone",
                                &Commands::Delete, chosen);
  AddName(remove, flags);
  AddYes(remove, flags);
  remove->add_option("--uid", flags->uid,
                     "32 hex digits: only this one of that name, and fine when it is gone");

  CLI::App* fork = AddCommand(memory, "fork", "Copy a memory under a new name", &Commands::Fork, chosen);
  AddName(fork, flags);
  fork->add_option("new_name", flags->new_name, "of the copy")->required();

  for (CLI::App* command : memory->get_subcommands({})) command->fallthrough();
}

void AddBackup(CLI::App* command, Flags* flags) {
  command->add_option("--backup", flags->backup,
                      "look in this folder below the server's backup-dir (\"\" is that itself)");
}

void AddSnapshotCommands(CLI::App* app, Flags* flags, Command* chosen) {
  CLI::App* snapshot = app->add_subcommand("snapshot", "Complete copies of a memory at one state");
  snapshot->require_subcommand(1);
  snapshot->fallthrough();

  AddName(AddCommand(snapshot, "create", "Make one", &Commands::SnapshotCreate, chosen), flags);

  CLI::App* list = AddCommand(snapshot, "list", "The complete ones of a memory, or of a folder of backups",
                              &Commands::SnapshotList, chosen);
  list->add_option("name", flags->name, "of the memory; may be left out with --backup");
  AddBackup(list, flags);

  CLI::App* verify =
      AddCommand(snapshot, "verify", "Have every byte of one read again", &Commands::SnapshotVerify, chosen);
  verify->add_option("name", flags->name, "of the memory; may be left out with --backup and --id");
  verify->add_option("id,--id", flags->id, "of the snapshot; or give --token");
  AddBackup(verify, flags);

  CLI::App* restore = AddCommand(
      snapshot, "restore", "Back to one's content: in place, which cannot be undone, or as a new memory",
      &Commands::SnapshotRestore, chosen);
  restore->add_option("name", flags->name, "of the memory; may be left out with --backup and --as");
  restore->add_option("--id", flags->id, "of the snapshot; or");
  restore->add_option("--as", flags->as, "make a new memory of this name");
  AddBackup(restore, flags);
  AddYes(restore, flags);
  for (CLI::App* command : {verify, restore}) {
    command->add_option("--token", flags->token, "the state that it holds: evoke1:...");
  }

  CLI::App* remove =
      AddCommand(snapshot, "delete", "Remove one; cannot be undone", &Commands::SnapshotDelete, chosen);
  AddName(remove, flags);
  remove->add_option("id", flags->id, "of the snapshot")->required();
  AddYes(remove, flags);

  CLI::App* copy =
      AddCommand(snapshot, "copy", "Copy one to a folder of backups; goes on where an earlier try broke",
                 &Commands::SnapshotCopy, chosen);
  AddName(copy, flags);
  copy->add_option("id", flags->id, "of the snapshot")->required();
  copy->add_option("--to", flags->to, "folder below the server's backup-dir; \"\" is that itself")
      ->required();

  for (CLI::App* command : snapshot->get_subcommands({})) command->fallthrough();
}

CLI::App* AddKeys(CLI::App* command, Flags* flags) {
  command->fallthrough();
  AddName(command, flags);
  command
      ->add_option("--keys", flags->keys,
                   "embeddings: 0.6,0.8 or [[0.6,0.8],[1,0]], a .npy or .json file, or - for JSON on stdin")
      ->required();
  command->add_option("--batch", flags->batch,
                      "rows of a request; default all in one. What an update of several rows means depends on it")
      ->check(CLI::PositiveNumber);
  return command;
}

void AddContentCommands(CLI::App* app, Flags* flags, Command* chosen) {
  CLI::App* query =
      AddKeys(AddCommand(app, "query", "Ask a memory: the value nearest to each key", &Commands::Query, chosen), flags);
  query->add_option("-k", flags->k, "neighbors of a row; default the memory's choose_k");
  query->add_option("--inverse-temperature", flags->inverse_temperature, "of the softmax; default the memory's");
  query->add_flag("--neighbors", flags->neighbors, "show them: slot, value, similarity, weight, age");
  query->add_flag("--payloads", flags->with_payloads, "and their payloads");

  CLI::App* update = AddKeys(
      AddCommand(app, "update", "Teach a memory: keys and their right values; each row exactly once", &Commands::Update, chosen),
      flags);
  update->add_option("--labels", flags->labels, "their right values: 7,12, a .npy or .json file, or -")->required();
  update->add_option("--payloads", flags->payload_texts, "texts kept with them: a JSON list, a .json file, or -");

  CLI::App* slots = AddCommand(app, "slots", "What a memory holds: slots with value, age and hits", &Commands::Slots, chosen);
  slots->fallthrough();
  AddName(slots, flags);
  slots->add_option("--slot", flags->slots, "only these; by comma")->delimiter(',');
  slots->add_option("--value", flags->values, "only those of these values, the latest written first; by comma")
      ->delimiter(',');
  slots->add_flag("--oldest", flags->oldest, "those that will be evicted first, the oldest first; looks at every slot");
  slots->add_option("--limit", flags->limit, "slots to show, of each --value")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  slots->add_option("--after", flags->after, "go on behind this slot: the `next` of the page before");
  slots->add_flag("--keys", flags->with_keys, "with their keys, in JSON");
  slots->add_flag("--payloads", flags->with_payloads, "with their payloads");
}

void AddRequestFlags(CLI::App* app, Flags* flags) {
  const CLI::Validator id(
      [](std::string& text) {
        return client::IsRequestId(text) ? std::string()
                                         : absl::StrCat("\"", text, "\" is not 1 to 128 of letters, digits and ._-:/+=@,");
      },
      "ID");
  app->add_option("--request-id", flags->request_id, "what its calls are called in the server's log; default one a call")
      ->check(id);
  // Not checked: the variable belongs to others, and a tracer's new format must not stop a health probe.
  app->add_option("--traceparent", flags->traceparent,
                  "the trace that its calls are a part of (W3C Trace Context, version 00; else ignored)")
      ->envname("TRACEPARENT");
}

void AddTransferCommands(CLI::App* app, Flags* flags, Command* chosen) {
  CLI::App* out =
      AddCommand(app, "export", "Write a memory at one turn to a .npz; goes on where an earlier try broke",
                 &Commands::Export, chosen);
  out->fallthrough();
  AddName(out, flags);
  out->add_option("file", flags->file, "replaced when the export is whole; until then FILE.partial grows")
      ->required();
  out->add_flag("--without-payloads", flags->without_payloads, "leave them out");

  CLI::App* in =
      AddCommand(app, "import", "Make the memory that was exported; goes on where an earlier try broke",
                 &Commands::Import, chosen);
  in->fallthrough();
  in->add_option("file", flags->file, "that export wrote")->required();
  in->add_option("--as", flags->as, "name of the memory; default the one in the file");
}

void AddSecurityFlags(CLI::App* app, Flags* flags) {
  app->add_flag("--tls", flags->tls, "speak TLS, and believe the system's roots; each --tls-... implies it");
  app->add_option("--tls-ca", flags->tls_files.root_certificates,
                  "PEM: roots that the server's certificate leads to")
      ->envname("EVOKE_TLS_CA");
  app->add_option("--tls-cert", flags->tls_files.certificate, "PEM: the certificate to show, with --tls-key");
  app->add_option("--tls-key", flags->tls_files.key, "PEM: its key");
  app->add_option("--tls-server-name", flags->tls_files.server_name,
                  "what the server's certificate says; default the host of the address");
  // There is no flag for the token itself: command lines can be seen by everybody on the machine.
  app->add_option("--token-file", flags->token_file, "file that holds the token")
      ->envname("EVOKE_TOKEN_FILE");
  app->add_flag("--allow-insecure-token", flags->allow_insecure_token,
                "send it to another machine without TLS, where whoever listens can take it");
}

}  // namespace

int RunEvokectl(const std::vector<std::string>& args, const Terminal& terminal) {
  Flags flags;
  Command chosen = nullptr;

  CLI::App app("Looks after an Evoke server. Exit code: 0 done, 1 failed or not serving, 2 usage.",
               "evokectl");
  app.require_subcommand(1);
  app.add_option("-a,--address", flags.address,
                 "host:port or unix:PATH; several, by comma, are tried in turn")
      ->envname("EVOKE_ADDRESS")
      ->capture_default_str();
  app.add_option("-d,--deadline", flags.deadline,
                 "of every call, its retries included; default 30s, and 1h for whole memories")
      ->check(PositiveDuration());
  app.add_option("-o,--output", flags.format, "table or json; default table")
      ->transform(CLI::CheckedTransformer(
                      std::map<std::string, Format>{{"table", Format::kTable}, {"json", Format::kJson}})
                      .description(""))
      ->type_name("NAME");

  app.add_option("--progress", flags.progress,
                 "of what takes long, on stderr: auto (when it is a terminal), always or never")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, WhenProgress>{{"auto", WhenProgress::kAuto},
                                                                      {"always", WhenProgress::kAlways},
                                                                      {"never", WhenProgress::kNever}})
              .description(""))
      ->type_name("NAME");
  AddSecurityFlags(&app, &flags);
  AddRequestFlags(&app, &flags);

  CLI::App* health = AddCommand(&app, "health", "Whether the server is serving", &Commands::Health, &chosen);
  health->fallthrough();
  health->add_option("--service", flags.service, "full name of a service; default the whole server");
  health->add_flag("--wait", flags.wait, "until it is serving");
  health->add_option("--timeout", flags.timeout, "of --wait")
      ->check(PositiveDuration())
      ->capture_default_str();
  AddCommand(&app, "status", "Version, limits and memories of the server", &Commands::Status, &chosen)
      ->fallthrough();
  AddMemoryCommands(&app, &flags, &chosen);
  AddContentCommands(&app, &flags, &chosen);
  AddSnapshotCommands(&app, &flags, &chosen);
  AddTransferCommands(&app, &flags, &chosen);
  CLI::App* hash = AddCommand(&app, "hash", "State hash of a memory and its step", &Commands::Hash, &chosen);
  hash->fallthrough();
  AddName(hash, &flags);
  CLI::App* plan = AddCommand(&app, "plan", "RAM, disk and time that a memory would take; makes nothing",
                              &Commands::Plan, &chosen);
  plan->fallthrough();
  AddSpecFlags(plan, &flags.spec);

  try {
    app.parse(std::vector<std::string>(args.rbegin(), args.rend()));  // CLI11 takes them from the back
  } catch (const CLI::ParseError& error) {
    return app.exit(error, terminal.out, terminal.err) == 0 ? kExitOk : kExitUsage;
  }
  const client::RequestScope scope({.request_id = flags.request_id, .traceparent = flags.traceparent});
  Commands commands(flags, terminal);
  return (commands.*chosen)();
}

}  // namespace evoke::cli
