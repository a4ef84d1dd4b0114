// What is shown of the output while a job runs: named objects, as they are between two packets.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

class TList;

namespace dtpnode {

class RootGuard;

/// Which objects are wanted, and how large each may be.
class Wanted {
 public:
  /// Reads "names" and "most" of a request: patterns in which * and ? stand for any characters, and bytes.
  explicit Wanted(const nlohmann::json &request);

  bool matches(const std::string &name) const;
  uint64_t most() const { return most_; }

 private:
  std::vector<std::string> patterns_;
  uint64_t most_;
};

/// Writes the objects of an output list that a request names to a blob of its own. The list is not changed. Objects of
/// classes that cannot be copied as they are, such as trees, and those that are too large are left out. The answer is
/// {units, left}: left are their names.
nlohmann::json snapshot(const nlohmann::json &request, const TList &output, long long units, uint64_t canary);

/// Answers requests about blobs, partials and snapshots alike: "pick" merges the named objects of some into a blob,
/// "show" into a ROOT file, and describes them for pictures.
nlohmann::json view(const nlohmann::json &request, RootGuard &guard);

} // namespace dtpnode
