// The code that a session's queries need beside their selector.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace dtpnode {

class Code {
 public:
  struct Package {
    std::string file;              // NAME.par
    std::vector<std::string> args; // of SETUP()
    bool enabled = false;
  };

  std::map<std::string, Package> packages; // by their names
  std::vector<std::string> order;          // in which packages were enabled
  std::vector<std::string> folders;        // where this process has built those that are set up in it
  std::vector<std::string> sources, headers, includeDirs, libraries;
  std::vector<std::string> lines; // of C++, for each process

  /// The arguments by which the job of a selector gets all that.
  std::vector<std::string> arguments(const std::string &selector) const;
};

} // namespace dtpnode
