// Running the tamis program from a test.
#ifndef TAMIS_TESTS_CLI_PROGRAM_H_
#define TAMIS_TESTS_CLI_PROGRAM_H_

#include <string>
#include <vector>

namespace tamis::testing {

struct Outcome {
  int status = -1;  ///< exit status; 128 + signal where one ended the program
  std::string out, err;
};

/// Runs `tamis arguments...` with `input` on stdin.
Outcome RunTamis(const std::vector<std::string>& arguments, const std::string& input = "");

/// The same with stdout going to `stdout_path`.
Outcome RunTamisInto(const std::string& stdout_path, const std::vector<std::string>& arguments);

/// Starts the program, sends SIGINT once it has printed something to stdout, and waits.
Outcome InterruptTamis(const std::vector<std::string>& arguments);

}  // namespace tamis::testing

#endif  // TAMIS_TESTS_CLI_PROGRAM_H_
