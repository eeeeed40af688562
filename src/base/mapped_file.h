// Read-only memory-mapped files.
#ifndef TAMIS_BASE_MAPPED_FILE_H_
#define TAMIS_BASE_MAPPED_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tamis {

/// A whole file mapped for reading. Movable. Throws Error where it cannot be opened or mapped.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

/// The contents of a (small) file; at most `limit` bytes. Throws Error naming the path.
std::string ReadFile(const std::string& path, size_t limit);

}  // namespace tamis

#endif  // TAMIS_BASE_MAPPED_FILE_H_
