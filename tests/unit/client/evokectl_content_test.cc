// Numbers from a command line, and what evokectl sends for them.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "client/cli/arrays.h"
#include "client/cli/evokectl.h"
#include "evoke/testing/fake_server.h"
#include "evoke/testing/manual_clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace evoke::cli {
namespace {

using client::FakeServer;
using client::ManualClock;
using nlohmann::json;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr char kTraceParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

template <typename T>
std::string Npy(const std::string& descr, const std::string& shape, const std::vector<T>& numbers) {
  std::string head = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  head.resize(118, ' ');
  std::string bytes("\x93NUMPY\x01\x00\x76\x00", 10);
  return bytes + head + std::string(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T));
}

class ArraysTest : public testing::Test {
 protected:
  ArraysTest() { std::filesystem::create_directories(folder_); }
  ~ArraysTest() override { std::filesystem::remove_all(folder_); }
  std::string File(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ + name, std::ios::binary) << bytes;
    return folder_ + name;
  }
  std::string RowsError(const std::string& source) {
    const auto rows = ReadRows(source, nothing_);
    return rows.ok() ? "" : std::string(rows.status().message());
  }

  const std::string folder_ = testing::TempDir() + "/arrays-" + std::to_string(getpid()) + "/";
  std::istringstream nothing_;
};

TEST_F(ArraysTest, RowsAreReadFromTheCommandLineStdinAndFiles) {
  const std::vector<float> f4 = {1, 2, 3, 4};
  const std::vector<double> f8 = {1, 2, 3, 4};
  std::istringstream in("[[1, 2],\n [3, 4.0]]");
  const std::string json_file = File("x.json", "[[1,2],[3,4]]");
  for (const std::string& source : {std::string("[[1,2],[3,4]]"), std::string("-"), json_file,
                                    File("a.npy", Npy("<f4", "2, 2", f4)), File("b.npy", Npy("<f8", "2, 2", f8))}) {
    SCOPED_TRACE(source);
    const auto rows = ReadRows(source, in);
    ASSERT_TRUE(rows.ok()) << rows.status();
    EXPECT_THAT(rows->numbers, ElementsAre(1, 2, 3, 4));
    EXPECT_EQ(rows->rows, 2u);
    EXPECT_EQ(rows->dim, 2u);
  }
  for (const std::string& source : {std::string("1,2,3,4"), std::string("[1,2,3,4]"), File("c.npy", Npy("<f4", "4,", f4))}) {
    SCOPED_TRACE(source);
    const auto rows = ReadRows(source, nothing_);
    ASSERT_TRUE(rows.ok()) << rows.status();
    EXPECT_EQ(rows->rows, 1u);
    EXPECT_EQ(rows->dim, 4u);
  }
}

TEST_F(ArraysTest, WhatIsNoMatrixIsRefusedWithItsPlace) {
  EXPECT_THAT(RowsError("one,two"), HasSubstr("no list"));
  EXPECT_THAT(RowsError(""), HasSubstr("no list"));
  EXPECT_THAT(RowsError("-"), HasSubstr("stdin is no list"));
  EXPECT_THAT(RowsError("[[1,2],[3]]"), HasSubstr("row 1"));
  EXPECT_THAT(RowsError("[[1,2],3]"), HasSubstr("row 1"));
  EXPECT_THAT(RowsError("[[1,null]]"), HasSubstr("no number"));
  EXPECT_THAT(RowsError(folder_ + "absent.npy"), HasSubstr("absent.npy cannot be read"));
  EXPECT_THAT(RowsError(File("x.npy", "hello")), HasSubstr("x.npy is no .npy"));
  EXPECT_THAT(RowsError(File("x.npy", Npy<float>("<f4", "2, 2", {1, 2, 3}))), HasSubstr("12 bytes of type <f4, expected 4 numbers"));
  EXPECT_THAT(RowsError(File("x.npy", Npy<int64_t>("<i8", "1, 1", {1}))), HasSubstr("of type <i8, expected"));
  EXPECT_THAT(RowsError(File("x.npy", Npy<float>("<f4", "99999, 99999", {}))), HasSubstr("too many"));
  EXPECT_THAT(RowsError(File("x.npy", Npy<float>("<f4", "1, 1, 1", {1}))), HasSubstr("no matrix"));
}

TEST_F(ArraysTest, LabelsAreIntegersOfSixtyFourBits) {
  const auto labels = ReadIntegers("7,-9223372036854775808,9223372036854775807", nothing_);
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_THAT(*labels, ElementsAre(7, INT64_MIN, INT64_MAX));
  const auto file = ReadIntegers(File("y.npy", Npy<int64_t>("<i8", "2,", {7, -1})), nothing_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(*file, ElementsAre(7, -1));
  for (const char* bad : {"1.5", "9223372036854775808", "\"7\"", "[[1]]"}) EXPECT_FALSE(ReadIntegers(bad, nothing_).ok()) << bad;
}

class EvokectlContentTest : public testing::Test {
 protected:
  EvokectlContentTest() { server_.AddMemory("faces", 2); }
  int Run(std::vector<std::string> args, const std::string& typed = "") {
    args.insert(args.begin(), {"--address", server_.address(), "-o", "json"});
    std::istringstream in(typed);
    std::ostringstream out, err;
    const int code = RunEvokectl(args, {.in = in, .out = out, .err = err, .clock = std::make_shared<ManualClock>()});
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  FakeServer server_;
  std::string out_, err_;
};

TEST_F(EvokectlContentTest, AnUpdateIsOneRequestUnderASessionAndSaysWhereEachRowWent) {
  ASSERT_EQ(Run({"update", "faces", "--keys", "-", "--labels", "7,8"}, "[[1,0],[0,1]]"), kExitOk) << err_;
  const json reply = json::parse(out_);
  EXPECT_EQ(reply["step"], 2);
  EXPECT_EQ(reply["outcomes"], json({{"FREE", 2}}));
  EXPECT_EQ(reply["rows"][1], json({{"row", 1}, {"outcome", "FREE"}, {"slot", 1}}));
  ASSERT_THAT(server_.calls("Update"), SizeIs(1));
  EXPECT_THAT(server_.calls("Update")[0].session, SizeIs(16));
}

TEST_F(EvokectlContentTest, AnUpdateWhoseReplyIsLostIsAppliedOnce) {
  server_.Fail("Update", {{.apply = true}, {}});
  ASSERT_EQ(Run({"update", "faces", "--keys", "1,0", "--labels", "7"}), kExitOk) << err_;
  EXPECT_EQ(json::parse(out_)["step"], 1);
  EXPECT_THAT(server_.calls("Update"), SizeIs(3));
  EXPECT_EQ(server_.step("faces"), 1u);
}

TEST_F(EvokectlContentTest, BatchesAreRequestsOfTheirOwn) {
  ASSERT_EQ(Run({"update", "faces", "--keys", "[[1,0],[0,1],[1,1]]", "--labels", "7,8,9", "--batch", "2"}), kExitOk) << err_;
  EXPECT_THAT(server_.calls("Update"), SizeIs(2));
  EXPECT_THAT(json::parse(out_)["rows"], SizeIs(3));
  EXPECT_EQ(json::parse(out_)["rows"][2]["row"], 2);
}

TEST_F(EvokectlContentTest, WhatDoesNotFitTogetherSendsNothing) {
  EXPECT_EQ(Run({"update", "faces", "--keys", "1,0", "--labels", "7,8"}), kExitUsage);
  EXPECT_THAT(err_, HasSubstr("1 keys and 2 labels"));
  EXPECT_EQ(Run({"update", "faces", "--keys", "1,0", "--labels", "7", "--payloads", "[\"a\",\"b\"]"}), kExitUsage);
  EXPECT_EQ(Run({"update", "faces", "--keys", "-", "--labels", "-"}, "[1]"), kExitUsage);
  EXPECT_EQ(Run({"update", "faces", "--keys", "1,0"}), kExitUsage);
  EXPECT_EQ(Run({"query", "faces", "--keys", "x"}), kExitUsage);
  EXPECT_THAT(err_, HasSubstr("--keys"));
  EXPECT_EQ(Run({"slots", "faces", "--oldest", "--value", "7"}), kExitUsage);
  EXPECT_EQ(Run({"slots", "faces", "--limit", "0"}), kExitUsage);
  EXPECT_THAT(server_.metadata("OpenMemory", "x-request-id"), IsEmpty());
  EXPECT_THAT(server_.calls("Update"), IsEmpty());
}

TEST_F(EvokectlContentTest, AnEmptyMemoryAnswersNothing) {
  ASSERT_EQ(Run({"query", "faces", "--keys", "[[1,0],[0,1]]"}), kExitOk) << err_;
  EXPECT_EQ(json::parse(out_)["rows"][0], json({{"row", 0}, {"value", nullptr}, {"confidence", nullptr}}));
}

TEST_F(EvokectlContentTest, CallsAreNamedAsTheFlagsSayAndAnErrorQuotesTheName) {
  ASSERT_EQ(Run({"query", "faces", "--keys", "1,0", "--request-id", "order-66", "--traceparent", kTraceParent}), kExitOk);
  EXPECT_THAT(server_.metadata("Query", "x-request-id"), ElementsAre("order-66"));
  EXPECT_THAT(server_.metadata("DescribeMemory", "traceparent"), Each(kTraceParent));
  server_.Fail("Query", {{.code = absl::StatusCode::kInternal, .reason = "INTERNAL"}});
  EXPECT_EQ(Run({"query", "faces", "--keys", "1,0", "--request-id", "order-67"}), kExitFailure);
  EXPECT_EQ(json::parse(err_)["error"]["request_id"], "order-67");
  EXPECT_EQ(Run({"health", "--request-id", "two words"}), kExitUsage);
  EXPECT_EQ(Run({"health", "--traceparent", "future"}), kExitOk);
}

}  // namespace
}  // namespace evoke::cli
