#include "server/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "absl/strings/str_split.h"
#include "server/config/option_table.h"
#include "server/config/values.h"

namespace evoke {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Environment = std::map<std::string, std::string>;

std::string WriteFile(const std::string& text) {
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::string path = ::testing::TempDir() + "/" + test->name() + ".toml";
  std::ofstream(path) << text;
  return path;
}

Config Load(const std::vector<std::string>& args, const Environment& environment = {}) {
  const auto loaded = LoadConfig(args, environment);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? loaded->config : Config{};
}

std::vector<std::string> Errors(const std::vector<std::string>& args, const Environment& environment = {}) {
  const auto loaded = LoadConfig(args, environment);
  EXPECT_FALSE(loaded.ok());
  return absl::StrSplit(std::string(loaded.status().message()), '\n');
}

TEST(LoadConfigTest, DefaultsAreThoseOfTheDesign) {
  const Config config = Load({"--data-dir", "/d"});
  EXPECT_EQ(config.data_dir, "/d");
  EXPECT_THAT(config.listen, ElementsAre("127.0.0.1:7380"));
  EXPECT_EQ(config.http_listen, "127.0.0.1:7381");
  EXPECT_EQ(config.engine.index, "flat");
  EXPECT_EQ(config.max_message_bytes, 64u << 20);
  EXPECT_EQ(config.drain_timeout, absl::Seconds(30));
  EXPECT_FALSE(config.allow_insecure_remote);
}

TEST(LoadConfigTest, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const std::string file = WriteFile("max-rows = 1\nmax-k = 1\nthreads = 1\n");
  const Environment environment = {{"EVOKE_MAX_ROWS", "2"}, {"EVOKE_MAX_K", "2"}, {"EVOKE_DATA_DIR", "/d"}};
  const Config config = Load({"--config", file, "--max-rows=3"}, environment);
  EXPECT_EQ(config.max_rows, 3u);
  EXPECT_EQ(config.max_k, 2u);
  EXPECT_EQ(config.threads, 1u);
  EXPECT_EQ(config.io_threads, 4u);
}

TEST(LoadConfigTest, TheEnvironmentMayNameTheFile) {
  const std::string file = WriteFile("# all of it\ndata-dir = \"/from file\"\n");
  EXPECT_EQ(Load({}, {{"EVOKE_CONFIG", file}}).data_dir, "/from file");
}

TEST(LoadConfigTest, ListenMayBeRepeatedOrAList) {
  EXPECT_THAT(Load({"--data-dir=/d", "--listen", "unix:/s", "--listen=[::1]:1,localhost:2"}).listen,
              ElementsAre("unix:/s", "[::1]:1", "localhost:2"));
  const std::string file = WriteFile("listen = [\"unix:/s\", \"127.0.0.1:9\"]\n");
  EXPECT_THAT(Load({"--data-dir=/d", "--config", file}).listen, ElementsAre("unix:/s", "127.0.0.1:9"));
}

TEST(LoadConfigTest, AllErrorsOfAllSourcesAreReportedAtOnce) {
  const std::string file = WriteFile("max-kk = 5\nindex = \"hnsw\"\n");
  const auto errors = Errors({"--config", file, "--thread=4", "--max-rows", "many", "stray"},
                             {{"EVOKE_DRAIN_TIMEOUT", "soon"}});
  EXPECT_THAT(errors, SizeIs(7));
  EXPECT_THAT(errors, Contains(HasSubstr("--thread is unknown, the nearest is --threads")));
  EXPECT_THAT(errors, Contains(HasSubstr("max-kk is unknown, the nearest is max-k")));
  EXPECT_THAT(errors, Contains(HasSubstr("index is \"hnsw\", expects flat, faiss_flat, canonical")));
  EXPECT_THAT(errors, Contains(HasSubstr("max-rows is \"many\"")));
  EXPECT_THAT(errors, Contains(HasSubstr("environment: drain-timeout is \"soon\"")));
  EXPECT_THAT(errors, Contains(HasSubstr("\"stray\" is no option")));
  EXPECT_THAT(errors, Contains(HasSubstr("data-dir is required: --data-dir or EVOKE_DATA_DIR")));
}

TEST(LoadConfigTest, AMisspelledVariableIsAnErrorAForeignOneAWarning) {
  EXPECT_THAT(Errors({"--data-dir=/d"}, {{"EVOKE_THREAD", "4"}}),
              ElementsAre(HasSubstr("nearest is EVOKE_THREADS")));
  const auto loaded =
      LoadConfig({"--data-dir=/d"}, {{"EVOKE_PORT_7380_TCP_ADDR", "10.0.0.1"}, {"PATH", "/bin"}});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(loaded->warnings, ElementsAre(HasSubstr("EVOKE_PORT_7380_TCP_ADDR")));
}

TEST(LoadConfigTest, DevicesAreDifferentNumbersOrAll) {
  EXPECT_THAT(Load({"--data-dir=/d"}).engine.gpu_devices, ::testing::IsEmpty());
  EXPECT_THAT(Load({"--data-dir=/d", "--gpu-devices=2, 0"}).engine.gpu_devices, ElementsAre(2, 0));
  for (const std::string wrong : {"0,0", "x", "0,", "-1", "4096"}) {
    EXPECT_THAT(Errors({"--data-dir=/d", "--gpu-devices=" + wrong}), ElementsAre(HasSubstr("different numbers of GPUs"))) << wrong;
  }
}

TEST(LoadConfigTest, AnOptionGivenTwiceIsAnError) {
  EXPECT_THAT(Errors({"--data-dir=/d", "--max-k=1", "--max-k=2"}),
              ElementsAre(HasSubstr("max-k is given twice")));
}

TEST(LoadConfigTest, AFlagWithoutItsValueIsAnError) {
  EXPECT_THAT(Errors({"--data-dir=/d", "--max-k"}), ElementsAre(HasSubstr("--max-k has no value")));
}

TEST(LoadConfigTest, AMissingFileIsAnError) {
  EXPECT_THAT(Errors({"--data-dir=/d", "--config=/nowhere/x"}), ElementsAre(HasSubstr("cannot be read")));
}

TEST(LoadConfigTest, ListensBeyondThisMachineOnlyWhenTold) {
  for (const char* address :
       {"0.0.0.0:7380", "[::]:7380", "example.com:1", "127.example.com:1", "10.0.0.1:1"}) {
    EXPECT_THAT(Errors({"--data-dir=/d", "--listen", address}),
                ElementsAre(HasSubstr("--allow-insecure-remote")))
        << address;
    EXPECT_THAT(Errors({"--data-dir=/d", "--http-listen", address}), ElementsAre(HasSubstr(address)));
    EXPECT_THAT(Load({"--data-dir=/d", "--listen", address, "--allow-insecure-remote"}).listen,
                ElementsAre(address));
  }
}

TEST(LoadConfigTest, ListensBeyondThisMachineWithTlsOrTokensAndWarnsOfWhatIsLeftOpen) {
  const std::vector<std::string> remote = {"--data-dir=/d", "--listen=0.0.0.0:1", "--http-listen=0.0.0.0:2"};
  const auto warnings = [&](std::vector<std::string> more) {
    more.insert(more.end(), remote.begin(), remote.end());
    const auto loaded = LoadConfig(more, {});
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded.ok() ? loaded->warnings : std::vector<std::string>{"not loaded"};
  };
  const std::string certificate = "--tls-certificate=/c", key = "--tls-key=/k";
  EXPECT_THAT(warnings({certificate, key}), ElementsAre(HasSubstr("whoever can connect is admin")));
  EXPECT_THAT(warnings({"--tokens=/t"}), ElementsAre(HasSubstr("unencrypted")));
  EXPECT_THAT(warnings({certificate, key, "--tokens=/t"}), IsEmpty());
  EXPECT_THAT(warnings({certificate, key, "--tls-client-ca=/a"}), IsEmpty());
}

TEST(LoadConfigTest, HalfOfTlsIsAnError) {
  EXPECT_THAT(Errors({"--data-dir=/d", "--tls-certificate=/c"}), ElementsAre(HasSubstr("tls-key")));
  EXPECT_THAT(Errors({"--data-dir=/d", "--tls-key=/k"}), ElementsAre(HasSubstr("tls-certificate")));
  EXPECT_THAT(Errors({"--data-dir=/d", "--tls-client-ca=/a"}), ElementsAre(HasSubstr("tls-client-ca needs")));
}

TEST(LoadConfigTest, TellsWhichChangedOptionsARunningProcessCannotTakeOver) {
  const auto running = LoadConfig({"--data-dir=/d", "--max-rows=5", "--threads=1"}, {});
  const auto fresh = LoadConfig({"--data-dir=/d", "--max-rows=6", "--threads=2", "--log-level=debug"}, {});
  ASSERT_TRUE(running.ok() && fresh.ok());
  EXPECT_THAT(NeedRestart(*running, *fresh), ElementsAre("threads"));
}

TEST(LoadConfigTest, HttpMayBeOff) {
  EXPECT_THAT(Load({"--data-dir=/d", "--http-listen=off"}).http_listen, IsEmpty());
}

TEST(LoadConfigTest, AMailboxMustHoldTheLargestRequest) {
  EXPECT_THAT(Errors({"--data-dir=/d", "--mailbox-rows=100", "--max-rows=101"}),
              ElementsAre(HasSubstr("mailbox-rows")));
}

TEST(LoadConfigTest, PrintedConfigTellsSourcesAndIsAFileItself) {
  const auto loaded =
      LoadConfig({"--print-config", "--data-dir=/d", "--listen=unix:/a,unix:/b"}, {{"EVOKE_MAX_K", "7"}});
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->action, Action::kPrintConfig);
  EXPECT_THAT(loaded->printed, HasSubstr("# data-dir from flag\ndata-dir = \"/d\"\n"));
  EXPECT_THAT(loaded->printed, HasSubstr("# max-k from environment\nmax-k = \"7\"\n"));
  EXPECT_THAT(loaded->printed, HasSubstr("# threads from default\n"));
  const Config again = Load({"--config", WriteFile(loaded->printed)});
  EXPECT_EQ(again.max_k, 7u);
  EXPECT_THAT(again.listen, ElementsAre("unix:/a", "unix:/b"));
}

TEST(LoadConfigTest, AValueWithEverySignOfTheFormatIsPrintedSoThatItIsReadAgain) {
  const std::string value = "/a b/#1, \"c\"='d' \\ [e]\xc3\xa9";
  const auto loaded = LoadConfig({"--data-dir", value, "--backup-dir=\"", "--audit-log= "}, {});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Config again = Load({"--config", WriteFile(loaded->printed)});
  EXPECT_EQ(again.data_dir, value);
  EXPECT_EQ(again.backup_dir, "\"");
  EXPECT_EQ(again.audit_log, " ");
}

TEST(LoadConfigTest, AValueThatNoFileCouldSayIsRefused) {
  for (const std::string bad : {"a\nthreads = 9", "\x1b[2J", "\xff", "\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xc2\x85"}) {
    EXPECT_THAT(Errors({"--data-dir=/d", "--backup-dir", bad}), ElementsAre(HasSubstr("backup-dir is no text")));
  }
}

TEST(LoadConfigTest, AFileIsWholeTomlAndNothingOfItIsDroppedSilently) {
  const auto data_dir = [](const std::string& text) { return Load({"--config", WriteFile(text)}).data_dir; };
  EXPECT_EQ(data_dir("data-dir = \"/disk#1\" # not this\n"), "/disk#1");
  EXPECT_EQ(data_dir("data-dir = '/a\"b'\n"), "/a\"b");
  const auto errors = [](const std::string& text) { return Errors({"--data-dir=/d", "--config", WriteFile(text)}); };
  EXPECT_THAT(errors("threads\n"), ElementsAre(HasSubstr(":1: ")));
  EXPECT_THAT(errors("threads = 1\nthreads = 2\n"), ElementsAre(HasSubstr(":2: ")));
  EXPECT_THAT(errors("threads = 1.5\n"), ElementsAre(HasSubstr("threads is neither text nor number")));
  EXPECT_THAT(errors("threads = [1]\n"), ElementsAre(HasSubstr("threads is neither text nor number")));
  EXPECT_THAT(errors("[engine]\nthreads = 1\n"), ElementsAre(HasSubstr("engine.threads is unknown, the nearest is")));
  EXPECT_EQ(Load({"--data-dir=/d", "--config", WriteFile("")}).data_dir, "/d");
  EXPECT_THAT(Errors({"--data-dir=/d", "--config", ::testing::TempDir()}), ElementsAre(HasSubstr("cannot be read")));
}

TEST(LoadConfigTest, HelpAndVersionNeedNothingElse) {
  EXPECT_EQ(LoadConfig({"--help"}, {})->action, Action::kHelp);
  EXPECT_EQ(LoadConfig({"--version", "--nonsense"}, {})->action, Action::kVersion);
  EXPECT_FALSE(LoadConfig({"--check-config", "--nonsense"}, {}).ok());
}

TEST(HelpTextTest, NamesEveryOption) {
  for (const Option& option : OptionTable())
    EXPECT_THAT(HelpText(), HasSubstr(std::string("--") + option.key + " ")) << option.key;
}

TEST(OptionTableTest, EveryDefaultIsLegal) {
  for (const Option& option : OptionTable()) {
    Config config;
    if (option.fallback == nullptr) continue;
    EXPECT_EQ(option.set(option.fallback, &config), "") << option.key;
  }
}

TEST(ParseBytesTest, TakesUnitsAndBounds) {
  uint64_t bytes = 0;
  EXPECT_EQ(ParseBytes("64MiB", 0, 1 << 30, &bytes), "");
  EXPECT_EQ(bytes, 64u << 20);
  EXPECT_EQ(ParseBytes("123", 0, 1 << 30, &bytes), "");
  EXPECT_EQ(bytes, 123u);
  for (const char* bad :
       {"", "MiB", "-1", "1.5MiB", "64MB", "64mib", "2GiB", "99999999999999999999", "17179869184GiB"}) {
    EXPECT_NE(ParseBytes(bad, 0, 1 << 30, &bytes), "") << bad;
  }
  EXPECT_NE(ParseBytes("1KiB", 1025, 1 << 30, &bytes), "");
}

TEST(CheckAddressTest, TakesHostPortAndUnixPaths) {
  for (const char* good : {"127.0.0.1:0", "localhost:65535", "[::1]:7", "unix:/run/evoke.sock"}) {
    EXPECT_EQ(CheckAddress(good, true), "") << good;
  }
  for (const char* bad : {"", "7380", ":7380", "host", "host:", "host:65536", "host:-1", "::1:80", "unix:"}) {
    EXPECT_NE(CheckAddress(bad, true), "") << bad;
  }
  EXPECT_NE(CheckAddress("unix:" + std::string(108, 'x'), true), "");
  EXPECT_NE(CheckAddress("unix:/s", false), "");
}

TEST(EditDistanceTest, CountsInsertionsDeletionsReplacementsAndSwaps) {
  EXPECT_EQ(EditDistance("listen", "listen"), 0);
  EXPECT_EQ(EditDistance("listne", "listen"), 1);
  EXPECT_EQ(EditDistance("lsten", "listen"), 1);
  EXPECT_EQ(EditDistance("max-k", "max-rows"), 4);
}

}  // namespace
}  // namespace evoke
