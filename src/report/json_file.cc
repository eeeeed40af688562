#include "report/json_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace tamis {
namespace {

namespace fs = std::filesystem;

/// Writes everything or returns errno.
int WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(fd, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno;
    text.remove_prefix(static_cast<size_t>(wrote));
  }
  return 0;
}

[[noreturn]] void FailToWrite(const std::string& path, int error) {
  Fail("cannot write {}: {}; give --json a file on a disk with room", path, std::strerror(error));
}

void WriteDirectly(const std::string& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) FailToWrite(path, errno);
  int error = WriteAll(fd, text);
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error != 0) FailToWrite(path, error);
}

/// The permissions a newly created file gets here.
mode_t CreationMode() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

void WriteBeside(const std::string& path, std::string_view text) {
  std::string temporary = path + ".XXXXXX";
  const int fd = ::mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) FailToWrite(path, errno);
  struct stat status {};
  const bool replaces = ::stat(path.c_str(), &status) == 0;
  int error = WriteAll(fd, text);
  if (error == 0 && ::fchmod(fd, replaces ? status.st_mode & 07777 : CreationMode()) != 0) {
    error = errno;
  }
  if (error == 0 && ::fsync(fd) != 0) error = errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return;
  ::unlink(temporary.c_str());
  FailToWrite(path, error);
}

}  // namespace

JsonSink::JsonSink(std::string path) : path_(std::move(path)) {
  if (to_stdout()) return;
  Require(!path_.empty(), "--json was given an empty file name");
  // A link keeps pointing where it points: what it names is replaced, not the link.
  std::error_code error;
  const fs::path resolved = fs::weakly_canonical(path_, error);
  if (!error) path_ = resolved.string();

  const fs::file_status status = fs::status(path_, error);
  Require(status.type() != fs::file_type::directory, "cannot write {}: it is a directory", path_);
  regular_ = !fs::exists(status) || fs::is_regular_file(status);
  const std::string directory = fs::path(path_).parent_path().string();
  const std::string& target = regular_ ? directory : path_;
  if (::access(target.c_str(), W_OK) != 0) {
    Fail("cannot write {}: {}; give --json a file in a directory you may write to", path_,
         std::strerror(errno));
  }
}

void JsonSink::Write(const nlohmann::ordered_json& document) const {
  const std::string text =
      document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
  if (to_stdout()) {
    const int error = std::fflush(stdout) != 0 ? errno : WriteAll(STDOUT_FILENO, text);
    if (error != 0) Fail("cannot write to stdout: {}", std::strerror(error));
  } else if (regular_) {
    WriteBeside(path_, text);
  } else {
    WriteDirectly(path_, text);
  }
}

}  // namespace tamis
