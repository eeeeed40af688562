// What the terminal behind a file descriptor can show.
#ifndef TAMIS_REPORT_TERMINAL_H_
#define TAMIS_REPORT_TERMINAL_H_

#include <string>
#include <string_view>

namespace tamis {

struct Terminal {
  bool interactive = false;  ///< a person watches: progress and colour make sense
  bool colour = false;
  int columns = 100;

  /// Looks at `fd`. Colour is off where NO_COLOR is set or TERM is "dumb".
  static Terminal Of(int fd);

  std::string Bold(std::string_view text) const { return Wrap("\x1b[1m", text); }
  std::string Dim(std::string_view text) const { return Wrap("\x1b[2m", text); }
  /// For what differs.
  std::string Mark(std::string_view text) const { return Wrap("\x1b[33m", text); }

 private:
  std::string Wrap(std::string_view code, std::string_view text) const;
};

}  // namespace tamis

#endif  // TAMIS_REPORT_TERMINAL_H_
