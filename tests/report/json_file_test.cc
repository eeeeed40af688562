#include "report/json_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tamis/error.h"

namespace tamis {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class JsonFile : public ::testing::Test {
 protected:
  JsonFile() {
    std::string pattern = (fs::temp_directory_path() / "tamis-json-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~JsonFile() override { fs::remove_all(directory_); }

  std::string Path(const std::string& name) const { return (directory_ / name).string(); }
  size_t Entries() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(directory_), fs::directory_iterator{}));
  }
  static std::string Read(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  template <typename Action>
  static std::string Message(const Action& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path directory_;
};

TEST_F(JsonFile, WritesOneDocumentInTheOrderGiven) {
  JsonSink(Path("a.json")).Write({{"schema_version", 1}, {"b", "日"}, {"a", 0.5}});
  EXPECT_EQ(Read(Path("a.json")),
            "{\n  \"schema_version\": 1,\n  \"b\": \"日\",\n  \"a\": 0.5\n}\n");
  EXPECT_EQ(Entries(), 1u);
}

TEST_F(JsonFile, ReplacesKeepingPermissions) {
  std::ofstream(Path("a.json")) << "old";
  chmod(Path("a.json").c_str(), 0640);
  JsonSink(Path("a.json")).Write({{"x", 1}});
  EXPECT_THAT(Read(Path("a.json")), HasSubstr("\"x\": 1"));
  struct stat status {};
  stat(Path("a.json").c_str(), &status);
  EXPECT_EQ(status.st_mode & 07777, 0640u);
  EXPECT_EQ(Entries(), 1u);
}

TEST_F(JsonFile, ALinkKeepsPointing) {
  std::ofstream(Path("real.json")) << "old";
  fs::create_symlink(Path("real.json"), Path("link.json"));
  JsonSink(Path("link.json")).Write({{"x", 1}});
  EXPECT_TRUE(fs::is_symlink(Path("link.json")));
  EXPECT_THAT(Read(Path("real.json")), HasSubstr("\"x\""));
}

TEST_F(JsonFile, InvalidTextIsReplacedNotThrown) {
  JsonSink(Path("a.json")).Write({{"text", "a\xff"}});
  EXPECT_THAT(Read(Path("a.json")), HasSubstr("a\xef\xbf\xbd"));
}

TEST_F(JsonFile, AFullDiskIsOneLineAndTheDeviceStays) {
  const JsonSink sink("/dev/full");
  const std::string message = Message([&] { sink.Write({{"x", 1}}); });
  EXPECT_THAT(message, HasSubstr("/dev/full"));
  EXPECT_THAT(message, HasSubstr("No space left"));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

TEST_F(JsonFile, AMissingDirectoryIsRefusedBeforeTheWork) {
  EXPECT_THAT(Message([&] { JsonSink(Path("no/such/a.json")); }),
              HasSubstr("a.json: No such file"));
  EXPECT_THAT(Message([&] { JsonSink(directory_.string()); }), HasSubstr("is a directory"));
  EXPECT_THAT(Message([&] { JsonSink(""); }), HasSubstr("empty"));
}

TEST_F(JsonFile, AFailedRenameLeavesNothing) {
  const JsonSink sink(Path("a.json"));
  fs::create_directories(Path("a.json") + "/occupied");
  EXPECT_THAT(Message([&] { sink.Write({{"x", 1}}); }), HasSubstr("cannot write"));
  EXPECT_EQ(Entries(), 1u);
}

TEST_F(JsonFile, APlaceWhereNoFileCanBeIsRefused) {
  // /proc lets root pass the permission check and creates nothing all the same.
  EXPECT_THAT(Message([] {
                JsonSink("/proc/a.json").Write({{"x", 1}});
              }),
              HasSubstr("cannot write /proc/a.json"));
}

TEST_F(JsonFile, AReadOnlyDirectoryIsRefused) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  fs::permissions(directory_, fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_THAT(Message([&] { JsonSink(Path("a.json")); }), HasSubstr("Permission denied"));
  fs::permissions(directory_, fs::perms::owner_all);
}

}  // namespace
}  // namespace tamis
