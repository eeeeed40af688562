// Writing a command's JSON document: whole, or not at all.
#ifndef TAMIS_REPORT_JSON_FILE_H_
#define TAMIS_REPORT_JSON_FILE_H_

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace tamis {

/// Version of every JSON document that tamis prints.
inline constexpr int kReportSchemaVersion = 1;

/// Where a command's JSON document goes.
class JsonSink {
 public:
  /// `path`: a file, or "-" for stdout. Throws Error at once where the file cannot be written, so
  /// that hours of work do not end in a missing directory.
  explicit JsonSink(std::string path);

  /// Writes the document and a newline. A file is written beside its place and then renamed, so
  /// that readers see the old document or the new one; what is no regular file (a device, a pipe)
  /// is written to directly. Throws Error, leaving nothing behind, where the disk is full.
  void Write(const nlohmann::ordered_json& document) const;
  bool to_stdout() const { return path_ == "-"; }

 private:
  std::string path_;
  bool regular_ = true;
};

}  // namespace tamis

#endif  // TAMIS_REPORT_JSON_FILE_H_
