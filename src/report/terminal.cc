#include "report/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace tamis {

Terminal Terminal::Of(int fd) {
  Terminal terminal;
  terminal.interactive = isatty(fd) == 1;
  if (!terminal.interactive) return terminal;
  const char* term = std::getenv("TERM");
  const char* no_colour = std::getenv("NO_COLOR");
  terminal.colour = (no_colour == nullptr || *no_colour == '\0') && term != nullptr &&
                    std::string_view(term) != "dumb";
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.columns = std::clamp<int>(size.ws_col, 40, 200);
  }
  return terminal;
}

std::string Terminal::Wrap(std::string_view code, std::string_view text) const {
  if (!colour || text.empty()) return std::string(text);
  return std::string(code) + std::string(text) + "\x1b[0m";
}

}  // namespace tamis
