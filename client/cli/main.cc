#include <unistd.h>

#include <iostream>

#include "client/cli/evokectl.h"

int main(int argc, char** argv) {
  const evoke::cli::Terminal terminal{.in = std::cin,
                                      .out = std::cout,
                                      .err = std::cerr,
                                      .err_is_terminal = isatty(STDERR_FILENO) != 0,
                                      .interactive = isatty(STDIN_FILENO) != 0 && isatty(STDERR_FILENO) != 0};
  return evoke::cli::RunEvokectl(std::vector<std::string>(argv + 1, argv + argc), terminal);
}
