// What a selector adds to its output list under a name that the list has already.
#pragma once

#include <nlohmann/json.hpp>
#include <map>
#include <string>
#include <vector>

class TList;
class TObject;
class TSelector;

namespace dtpnode {

class BlobWriter;

/// Knows the objects that an output list has refused. ROOT's list takes the first object of a name, tells of others in
/// a line of the log, and forgets them: what they count would be gone without a word in the result.
///
/// Those that SlaveBegin and SlaveTerminate add, each process alike, are kept aside, and merged by their place among
/// the objects of their name and class. Others, such as those of an entry, have no place that means the same in each
/// process: they are counted.
class Namesakes {
 public:
  Namesakes();

  /// Gives a selector a list that tells of what it refuses, in place of its own, whose objects move.
  void watch(TSelector &selector);
  /// Says whether what is refused from now on is kept.
  void keep(bool on) { keeping_ = on; }
  /// What was kept and still lives, in the order in which it was added.
  std::vector<TObject *> kept() const;
  /// Adds to a blob what is told of them; nothing if there are none.
  void write(BlobWriter &out) const;

  /// Called by the list.
  void refused(TObject &object);

 private:
  TList *kept_; // ROOT takes out of it what is deleted
  std::map<std::string, long long> places_, lost_; // by name: how many objects were kept, and how many were not
  bool keeping_ = false;
};

/// What blobs tell of refused objects, merged.
class Refused {
 public:
  void add(const TObject &list);
  /// Whether objects of a name are there that Terminate does not find, since the list has another one.
  bool has(const std::string &name) const { return places_.count(name) > 0; }
  /// Sentences for the user, a few.
  nlohmann::json notes() const;

 private:
  std::map<std::string, long long> places_, lost_;
};

} // namespace dtpnode
