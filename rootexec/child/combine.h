// Objects of one name and class become one. ROOT leaves that to a method Merge of the class, which a class may inherit
// and not be able to use: then elements, rows or points go missing without a word. So each class has a rule here, and
// what a merge has left is counted.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

class TClass;
class TCollection;
class TMap;
class TObject;

namespace dtpnode {

class RootGuard;

using Objects = std::vector<std::unique_ptr<TObject>>;

/// How many names are told of, and how long they may be: lists are made by nodes whose word is not to be taken.
constexpr size_t kMostNames = 1000;
std::string clipped(const std::string &name);

/// True if the class gets its code from none of ROOT's own libraries: what it does is user code.
bool isUserClass(const TClass &cls);

/// Combines objects by the rules of their classes, and notes what it could not combine. An element of a list has a
/// path: the name of the list, '/' and its own name.
class Combiner {
 public:
  explicit Combiner(RootGuard &guard) : guard_(guard) {}

  /// Merges others into into; path is the name of all. If it returns false, or dirty() afterwards, what could not be
  /// combined is known, and has been spoilt on the way: the same has to be done once more, with objects read anew, and
  /// leaves alone then what it must.
  bool combine(TObject &into, Objects &others, const std::string &path);
  /// Whether something was found since start() that cannot be combined, and was not known before.
  bool dirty() const { return dirty_; }
  void start() { dirty_ = false; }
  /// Notes that objects of a path are never combined.
  void refuse(const std::string &path);

  /// Notes the class of an object that is alone under its path so far, and of all within it if it is a list.
  void noteClass(const TObject &object, const std::string &path, bool inside);
  /// Notes that objects of a class are under a path.
  void addClass(const std::string &path, const std::string &cls) { classes_[path].insert(cls); }
  /// Paths of what could not be combined and stands side by side.
  const std::vector<std::string> &apart() const { return apart_; }
  void setApart(const std::string &path);
  /// Classes of the objects by path.
  const std::map<std::string, std::set<std::string>> &classes() const { return classes_; }

 private:
  bool combineOnce(TObject &into, Objects &others, const std::string &path);
  bool combineLists(TCollection &into, Objects &others, const std::string &path);
  void combineElements(TCollection &into, TCollection &from, const std::string &path);
  bool combineMaps(TMap &into, Objects &others, const std::string &path);
  bool combineParts(TObject &into, Objects &others, const std::string &path,
                    const std::function<TCollection *(TObject &)> &listOf);
  bool combineTried(TObject &into, Objects &others, const std::string &path);

  RootGuard &guard_;
  bool dirty_ = false;
  std::set<std::string> refused_; // paths
  std::vector<std::string> apart_; // at most kMostNames
  std::set<std::string> known_;    // those of apart_
  std::map<std::string, std::set<std::string>> classes_;
};

} // namespace dtpnode
