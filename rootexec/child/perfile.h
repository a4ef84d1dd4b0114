// What code adds to its output once for each file, in Init or Notify: the sum of a histogram that the files have, say.
// Each process that reads a part of the file would add it.
#pragma once

#include <map>
#include <string>

class TCollection;
class TObject;

namespace dtpnode {

/// Sees whether Init and Notify add to objects of the output.
class PerFile {
 public:
  /// Takes output as it is before Init.
  explicit PerFile(const TCollection &output);
  /// The name of the first object that counts more, or something else, than it did; empty if there is none. An object
  /// that Init has made counts if it is a histogram with entries.
  std::string added(const TCollection &output) const;

 private:
  std::map<const TObject *, double> before_;
};

} // namespace dtpnode
