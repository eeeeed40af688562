// Two texts beside each other.
#ifndef TAMIS_REPORT_SIDE_BY_SIDE_H_
#define TAMIS_REPORT_SIDE_BY_SIDE_H_

#include <string>
#include <string_view>

#include "report/terminal.h"

namespace tamis {

/// Two columns that fill the terminal's width, each under its title. Where the texts part, the
/// first word that differs is preceded by "»" in both, and what follows is coloured.
std::string SideBySide(std::string_view left_title, std::string_view left,
                       std::string_view right_title, std::string_view right,
                       const Terminal& terminal);

}  // namespace tamis

#endif  // TAMIS_REPORT_SIDE_BY_SIDE_H_
