// A user's selector class, and the link between its data members and its output objects.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

class TClass;
class TList;
class TObject;
class TSelector;
class TTree;

namespace dtpnode {

/// A class that derives from TSelector, out of one library, or of a source that ROOT's interpreter runs.
class SelectorClass {
 public:
  /// Loads the code in this process. Throws Failure "code".
  explicit SelectorClass(const nlohmann::json &load);

  /// A new object. It is never deleted: the process ends before, and destructors of selectors are
  /// where old code crashes.
  TSelector *make() const;
  const TClass *type() const { return class_; }

  /// Whether the class, or one that it derives from other than TSelector, has a method of its own of that name.
  bool overrides(const char *method) const;
  /// Whether a member of s points at an object, which is not looked at.
  bool pointsAt(const TSelector &s, const TObject *object) const;
  /// The trees in no directory at which members of s point, as far as that can be known: a member may point anywhere.
  std::vector<TTree *> looseTrees(const TSelector &s) const;
  /// Which members of s point at objects of the list: member name -> object name. As PROOF did it,
  /// by value, so that a member keeps its object also where their names differ.
  std::map<std::string, std::string> membersIn(const TSelector &s, const TList &list) const;
  /// Points members of s at the objects of the list that bound names; a member that bound lacks, at
  /// the object of its own name if there is one.
  void bind(TSelector &s, const TList &list, const std::map<std::string, std::string> &bound) const;

 private:
  struct Member {
    std::string name;
    TClass *cls;     // declared class
    long offset;     // in the selector's class
    long baseOffset; // of TObject in cls
  };
  void collectMembers(TClass *cls, long offset);
  TObject **slot(const TSelector &s, const Member &m) const;

  TClass *class_ = nullptr;
  long selectorOffset_ = 0; // of TSelector in class_
  std::vector<Member> members_;
};

} // namespace dtpnode
