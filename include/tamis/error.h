// The one exception type tamis throws for bad input.
#ifndef TAMIS_ERROR_H_
#define TAMIS_ERROR_H_

#include <stdexcept>
#include <string>

namespace tamis {

/// Bad input from a caller: arguments, files, policies, requests. The message is one line that
/// names the offending value and the way to mend it, fit to be shown to an end user as it is.
/// Anything else that escapes tamis (std::logic_error, std::bad_alloc) is a defect or exhaustion.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace tamis

#endif  // TAMIS_ERROR_H_
