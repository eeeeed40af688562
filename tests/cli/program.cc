#include "cli/program.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>

namespace tamis::testing {
namespace {

struct Pipe {
  int read = -1, write = -1;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    read = ends[0];
    write = ends[1];
  }
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  void CloseRead() { Close(read); }
  void CloseWrite() { Close(write); }
  static void Close(int& fd) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
};

Outcome Run(const std::vector<std::string>& arguments, const std::string& input,
            const std::string& stdout_path, bool interrupt) {
  std::vector<char*> argv = {const_cast<char*>(TAMIS_PROGRAM)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  Pipe in, out, err;
  const pid_t child = fork();
  if (child == 0) {
    // A test runner may have blocked or ignored it.
    signal(SIGINT, SIG_DFL);
    dup2(in.read, STDIN_FILENO);
    const int target = stdout_path.empty() ? out.write : open(stdout_path.c_str(), O_WRONLY);
    dup2(target, STDOUT_FILENO);
    dup2(err.write, STDERR_FILENO);
    execv(TAMIS_PROGRAM, argv.data());
    _exit(127);
  }
  in.CloseRead();
  out.CloseWrite();
  err.CloseWrite();
  // Inputs of tests fit a pipe's buffer.
  if (write(in.write, input.data(), input.size()) < 0) throw std::runtime_error("no stdin");
  in.CloseWrite();

  Outcome outcome;
  pollfd fds[2] = {{out.read, POLLIN, 0}, {err.read, POLLIN, 0}};
  std::string* const texts[2] = {&outcome.out, &outcome.err};
  for (int open = 2; open > 0;) {
    poll(fds, 2, -1);
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t got = read(fds[i].fd, buffer, sizeof(buffer));
      if (got <= 0) {
        fds[i].fd = -1;
        --open;
        continue;
      }
      texts[i]->append(buffer, static_cast<size_t>(got));
      if (interrupt && i == 0) {
        kill(child, SIGINT);
        interrupt = false;
      }
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

}  // namespace

Outcome RunTamis(const std::vector<std::string>& arguments, const std::string& input) {
  return Run(arguments, input, "", false);
}

Outcome RunTamisInto(const std::string& stdout_path, const std::vector<std::string>& arguments) {
  return Run(arguments, "", stdout_path, false);
}

Outcome InterruptTamis(const std::vector<std::string>& arguments) {
  return Run(arguments, "", "", true);
}

}  // namespace tamis::testing
