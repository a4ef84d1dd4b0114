#include "combine.h"

#include "axes.h"
#include "isolate.h"
#include "rootguard.h"
#include "tally.h"

#include <TChain.h>
#include <TChainElement.h>
#include <TClass.h>
#include <TClonesArray.h>
#include <TFileMergeInfo.h>
#include <TFolder.h>
#include <TGraph2D.h>
#include <TH1.h>
#include <THStack.h>
#include <THashTable.h>
#include <TList.h>
#include <TMap.h>
#include <TMethodCall.h>
#include <TMultiGraph.h>
#include <TNamed.h>
#include <TObjArray.h>
#include <TObjString.h>
#include <TPolyLine.h>
#include <TPolyLine3D.h>
#include <TPolyMarker.h>
#include <TPolyMarker3D.h>
#include <TROOT.h>
#include <TRefArray.h>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <unordered_map>

namespace dtpnode {

namespace {

/// How objects of a class become one.
enum class Rule {
  Apart,  // they do not
  List,   // element by element, by name
  Map,    // key by key
  Clones, // the elements of all, one after the other
  Chain,  // the files of all
  Stack,  // histogram by histogram, as a list
  Graphs, // graph by graph, as a list
  Folder, // object by object and folder by folder, as a list
  Same,   // equal ones are one: a text that each generation has made means the same once
  Points, // the points of all, one after the other
  Own,    // by a method Merge that is user code
  Method, // by the method Merge of the class
};

/// Where code that belongs to a class lies, for one that has a compiled dictionary.
void *codeOf(const TClass &cls) {
  if (auto make = cls.GetNew()) return reinterpret_cast<void *>(make);
  if (auto destroy = cls.GetDelete()) return reinterpret_cast<void *>(destroy);
  return reinterpret_cast<void *>(cls.GetDestructor());
}

/// The class, of those that cls consists of, that has a method Merge of a collection of its own; null if there is none.
TClass *declaresMerge(TClass &cls) {
  if (cls.GetMethodAny("Merge")) return &cls;
  if (!cls.GetListOfBases()) return nullptr;
  for (TObject *o : *cls.GetListOfBases())
    if (TClass *base = TClass::GetClass(o->GetName()))
      if (TClass *found = declaresMerge(*base)) return found;
  return nullptr;
}

/// Classes that inherit a Merge which combines only part of them, or that hold references to what only the process has
/// in which they were filled.
bool cannotUseMerge(const TClass &cls) {
  for (const char *name : {"TRefArray", "RooRefArray", "TEntryListFromFile", "TGraphQQ", "TGraphPolar", "RooHist",
                           "RooCurve", "RooEllipse", "TCurlyLine", "THelix", "TTreeSQL", "TParallelCoordSelect"})
    if (cls.InheritsFrom(name)) return true;
  return false;
}

Rule ruleOf(TClass &cls) {
  if (isUserClass(cls)) {
    TClass *its = declaresMerge(cls);
    if (its && isUserClass(*its)) return Rule::Own;
  }
  if (cannotUseMerge(cls)) return Rule::Apart;
  if (&cls == TNamed::Class() || &cls == TObjString::Class()) return Rule::Same;
  if (cls.InheritsFrom(TClonesArray::Class())) return Rule::Clones;
  if (cls.InheritsFrom(TMap::Class())) return Rule::Map;
  if (cls.InheritsFrom(TSeqCollection::Class()) || cls.InheritsFrom(THashTable::Class())) return Rule::List;
  if (cls.InheritsFrom(TCollection::Class())) return Rule::Apart;
  if (cls.InheritsFrom(TChain::Class())) return Rule::Chain;
  if (cls.InheritsFrom(THStack::Class())) return Rule::Stack;
  if (cls.InheritsFrom("TMultiGraph")) return Rule::Graphs;
  if (cls.InheritsFrom(TFolder::Class())) return Rule::Folder;
  for (const char *name : {"TPolyMarker", "TPolyMarker3D", "TPolyLine", "TPolyLine3D"})
    if (cls.InheritsFrom(name)) return Rule::Points;
  if (&cls == TGraph2D::Class()) return Rule::Points; // it has no Merge; those with errors have more than points
  return Rule::Method;
}

Rule ruleFor(TClass &cls) {
  static std::map<TClass *, Rule> known;
  auto [it, fresh] = known.try_emplace(&cls, Rule::Apart);
  if (fresh) it->second = ruleOf(cls);
  return it->second;
}

bool hasMerge(TClass &cls) {
  const Rule rule = ruleFor(cls);
  if (rule != Rule::Method && rule != Rule::Own) return rule != Rule::Apart;
  if (cls.GetMerge()) return true;
  TMethodCall call;
  call.InitWithPrototype(&cls, "Merge", "TCollection*");
  return call.IsValid();
}

/// Keeps ROOT from looking after the baskets of a tree in memory while it is filled: it would look for its file.
class Unflushed {
 public:
  explicit Unflushed(TObject &o) : tree_(dynamic_cast<TTree *>(&o)) {
    if (tree_ && (tree_->GetDirectory() || tree_->InheritsFrom(TChain::Class()))) tree_ = nullptr;
    if (!tree_) return;
    flush_ = tree_->GetAutoFlush();
    tree_->SetAutoFlush(0);
  }
  ~Unflushed() {
    if (tree_) tree_->SetAutoFlush(flush_);
  }
  Unflushed(const Unflushed &) = delete;
  Unflushed &operator=(const Unflushed &) = delete;

 private:
  TTree *tree_;
  Long64_t flush_ = 0;
};

// ROOT's Merge, wherever the class has it: in its dictionary or as a method that the interpreter knows.
bool callMerge(TObject &into, Objects &objects) {
  const Unflushed unflushed(into);
  TList others;
  // Lists delete objects with this bit, which drawn ones have, though they do not own them: also those inside ROOT.
  into.ResetBit(kCanDelete);
  for (auto &o : objects) {
    o->ResetBit(kCanDelete);
    others.Add(o.get());
  }
  TClass *cls = into.IsA();
  if (ROOT::MergeFunc_t merge = cls->GetMerge()) {
    TFileMergeInfo info(gROOT);
    const bool user = isUserClass(*cls); // may use it without a look; ROOT's classes would look for a file in it
    return merge(cls->DynamicCast(TObject::Class(), &into, false), &others, user ? &info : nullptr) >= 0;
  }
  TMethodCall call;
  call.InitWithPrototype(cls, "Merge", "TCollection*");
  if (!call.IsValid()) return false;
  Long_t result = 0;
  call.SetParam(reinterpret_cast<Long_t>(static_cast<TCollection *>(&others)));
  call.Execute(&into, result);
  return call.ReturnType() == TMethodCall::kLong ? result >= 0 : true;
}

bool mergeByMethod(TObject &into, Objects &others) {
  if (auto *h = dynamic_cast<TH1 *>(&into)) {
    keepWeights(*h, others);
    const AxesMerge how = mergeAxes(*h, others);
    if (how != AxesMerge::NotNeeded) return how == AxesMerge::Done;
  }
  return callMerge(into, others);
}

bool combineClones(TObject &into, Objects &others) {
  auto &array = static_cast<TClonesArray &>(into);
  for (auto &o : others) {
    auto &from = static_cast<TClonesArray &>(*o);
    if (from.GetEntriesFast() == 0) continue;
    if (array.GetClass() != from.GetClass()) return false;
    array.AbsorbObjects(&from);
  }
  return true;
}

// ROOT's own merges of these classes overwrite points. The methods that are called here are virtual or inline, so that
// the child needs no library of graphics for objects that it hardly ever sees.
template <class T, class Add>
bool appendPoints(TObject &into, Objects &others, const char *cls, Add add) {
  if (!into.InheritsFrom(cls)) return false;
  for (auto &o : others) {
    auto &from = static_cast<T &>(*o);
    for (int i = 0; i <= from.GetLastPoint(); ++i)
      add(static_cast<T &>(into), from, i);
  }
  return true;
}

bool combinePoints(TObject &into, Objects &others) {
  if (into.IsA() == TGraph2D::Class()) {
    auto &graph = static_cast<TGraph2D &>(into);
    std::vector<std::array<double, 3>> all;
    const auto take = [&all](const TGraph2D &g) {
      for (int i = 0; i < g.GetN(); ++i)
        all.push_back({g.GetX()[i], g.GetY()[i], g.GetZ()[i]});
    };
    take(graph);
    for (auto &o : others)
      take(static_cast<const TGraph2D &>(*o));
    // A graph that was read does not know for how many points it has room, and loses its own when it grows: so all are
    // set anew.
    for (size_t i = 0; i < all.size(); ++i)
      graph.SetPoint(static_cast<int>(i), all[i][0], all[i][1], all[i][2]);
    return true;
  }
  const auto flat = [](auto &to, auto &from, int i) { to.SetNextPoint(from.GetX()[i], from.GetY()[i]); };
  const auto deep = [](auto &to, auto &from, int i) {
    const Float_t *p = from.GetP() + 3 * i;
    to.SetNextPoint(p[0], p[1], p[2]);
  };
  return appendPoints<TPolyMarker>(into, others, "TPolyMarker", flat) ||
         appendPoints<TPolyLine>(into, others, "TPolyLine", flat) ||
         appendPoints<TPolyMarker3D>(into, others, "TPolyMarker3D", deep) ||
         appendPoints<TPolyLine3D>(into, others, "TPolyLine3D", deep);
}

// Generations add the same files to a chain as a rule.
bool combineChains(TObject &into, Objects &others) {
  auto &chain = static_cast<TChain &>(into);
  std::set<std::string> there;
  const auto key = [](TObject *e) { return std::string(e->GetTitle()) + '\n' + e->GetName(); };
  for (TObject *e : *chain.GetListOfFiles())
    there.insert(key(e));
  for (auto &o : others)
    for (TObject *e : *static_cast<TChain &>(*o).GetListOfFiles()) {
      auto &element = static_cast<TChainElement &>(*e);
      if (there.insert(key(e)).second) chain.AddFile(element.GetTitle(), element.GetEntries(), element.GetName());
    }
  return true;
}

/// The objects of a list by name and class, to be found quickly.
class Index {
 public:
  explicit Index(const TCollection &list) {
    for (TObject *o : list)
      if (o) add(*o);
  }
  void add(TObject &o) { objects_[key(o)].push_back(&o); }
  TObject *find(const TObject &like, size_t nth) const {
    const auto it = objects_.find(key(like));
    return it == objects_.end() || nth >= it->second.size() ? nullptr : it->second[nth];
  }
  static std::string key(const TObject &o) { return std::string(o.ClassName()) + '\n' + o.GetName(); }

 private:
  std::unordered_map<std::string, std::vector<TObject *>> objects_;
};

// An array's elements may be known by their places, and a generation may have filled a place that another has not.
void addElement(TCollection &list, TObject *o, int place) {
  auto *array = dynamic_cast<TObjArray *>(&list);
  if (array && place >= array->LowerBound() && (place > array->GetLast() || !array->At(place)))
    array->AddAtAndExpand(o, place);
  else
    list.Add(o);
}

} // namespace

bool isUserClass(const TClass &cls) {
  void *code = codeOf(cls);
  Dl_info info{};
  if (!code || ::dladdr(code, &info) == 0 || !info.dli_fname) return true;
  static std::map<std::string, bool> known;
  auto [it, fresh] = known.try_emplace(info.dli_fname, false);
  if (fresh) {
    char *file = ::realpath(info.dli_fname, nullptr), *lib = ::realpath(TROOT::GetLibDir().Data(), nullptr);
    it->second = !file || !lib || std::string(file).rfind(std::string(lib) + "/", 0) != 0;
    std::free(file);
    std::free(lib);
  }
  return it->second;
}

void Combiner::refuse(const std::string &path) {
  dirty_ |= refused_.insert(path).second;
}

std::string clipped(const std::string &name) {
  constexpr size_t most = 500;
  return name.size() <= most ? name : name.substr(0, most) + "...";
}

void Combiner::setApart(const std::string &path) {
  if (apart_.size() >= kMostNames) return;
  const std::string name = apart_.size() + 1 == kMostNames ? "and others" : clipped(path);
  if (known_.insert(name).second) apart_.push_back(name);
}

void Combiner::noteClass(const TObject &object, const std::string &path, bool inside) {
  classes_[path].insert(object.ClassName());
  if (!inside || ruleFor(*object.IsA()) != Rule::List) return;
  for (TObject *e : static_cast<const TCollection &>(object))
    if (e) noteClass(*e, path + "/" + e->GetName(), true);
}

bool Combiner::combine(TObject &into, Objects &others, const std::string &path) {
  if (refused_.count(path) > 0 || !hasMerge(*into.IsA())) return false;
  if (combineOnce(into, others, path)) return true;
  refuse(path);
  return false;
}

bool Combiner::combineOnce(TObject &into, Objects &others, const std::string &path) {
  guard_.enter(Phase::Merge); // progress: a merge of many objects is no stall
  switch (ruleFor(*into.IsA())) {
  case Rule::Apart:
    return false;
  case Rule::List:
    return combineLists(static_cast<TCollection &>(into), others, path);
  case Rule::Map:
    return combineMaps(static_cast<TMap &>(into), others, path);
  case Rule::Clones:
    return tallied(into, others, [&] { return combineClones(into, others); });
  case Rule::Chain:
    return combineChains(into, others);
  case Rule::Points:
    return combinePoints(into, others);
  case Rule::Stack:
    return combineParts(into, others, path, [](TObject &o) { return static_cast<THStack &>(o).GetHists(); });
  case Rule::Graphs:
    return combineParts(into, others, path, [](TObject &o) { return static_cast<TMultiGraph &>(o).GetListOfGraphs(); });
  case Rule::Folder:
    return combineParts(into, others, path, [](TObject &o) { return static_cast<TFolder &>(o).GetListOfFolders(); });
  case Rule::Same:
    return std::all_of(others.begin(), others.end(), [&](const auto &o) { return sameBytes(into, *o); });
  case Rule::Own:
    return combineTried(into, others, path);
  case Rule::Method:
    break;
  }
  return tallied(into, others, [&] { return mergeByMethod(into, others); });
}

// A Merge of the user's own may do anything: it is tried first where what it breaks costs its object the merge, and
// nothing else.
bool Combiner::combineTried(TObject &into, Objects &others, const std::string &path) {
  const auto merge = [&] { return tallied(into, others, [&] { return callMerge(into, others); }); };
  const std::string why = tried(merge);
  guard_.enter(Phase::Merge);
  if (why.empty()) return merge();
  std::fprintf(stderr, "Objects %s stay apart: the Merge of class %s %s\n", path.c_str(), into.ClassName(),
               why.c_str());
  return false;
}

bool Combiner::combineLists(TCollection &into, Objects &others, const std::string &path) {
  for (auto &other : others)
    combineElements(into, static_cast<TCollection &>(*other), path);
  return true;
}

bool Combiner::combineParts(TObject &into, Objects &others, const std::string &path,
                            const std::function<TCollection *(TObject &)> &listOf) {
  TCollection *mine = listOf(into);
  for (auto &other : others) {
    TCollection *its = listOf(*other);
    if (!its || its->IsEmpty()) continue;
    if (!mine) return false;
    combineElements(*mine, *its, path);
  }
  return true;
}

// Lists inside the output list merge by the names of their elements. An element that cannot be
// merged stays beside its namesake, and so does one that only some lists have.
void Combiner::combineElements(TCollection &into, TCollection &from, const std::string &path) {
  std::vector<std::pair<TObject *, int>> elements; // with their places
  if (auto *array = dynamic_cast<TObjArray *>(&from)) {
    for (int i = array->LowerBound(); i <= array->GetLast(); ++i)
      if (TObject *e = array->At(i)) elements.emplace_back(e, i);
  } else {
    for (TObject *e : from)
      elements.emplace_back(e, -1);
  }
  from.SetOwner(false); // TObjArray::Clear knows no "nodelete"
  from.Clear("nodelete");
  Index mine(into);
  std::map<std::string, size_t> seen;
  for (auto [e, place] : elements) {
    TObject *same = mine.find(*e, seen[Index::key(*e)]++);
    const std::string name = path + "/" + e->GetName();
    noteClass(*e, name, !same);
    Objects one;
    one.emplace_back(e);
    if (same && combine(*same, one, name)) continue;
    if (same) setApart(name);
    addElement(into, one[0].release(), place);
    if (!same) mine.add(*e);
  }
}

// A map has each key once: values of one key that do not merge have nowhere to stand side by side, so that the maps
// stay apart as a whole.
bool Combiner::combineMaps(TMap &into, Objects &others, const std::string &path) {
  for (auto &other : others) {
    auto &from = static_cast<TMap &>(*other);
    std::vector<std::pair<TObject *, TObject *>> pairs;
    TIter next(&from);
    while (TObject *key = next())
      pairs.emplace_back(key, from.GetValue(key));
    from.SetOwnerKeyValue(false, false);
    from.Clear();
    for (auto [key, value] : pairs) {
      auto *pair = static_cast<TPair *>(into.FindObject(key));
      if (!pair) {
        into.Add(key, value);
        continue;
      }
      TObject *mine = pair->Value();
      if (!mine && !value) continue;
      if (!mine || !value || mine->IsA() != value->IsA()) return false;
      if (!hasMerge(*mine->IsA()) && sameBytes(*mine, *value)) continue;
      Objects one;
      one.emplace_back(value);
      if (!combine(*mine, one, path + "/" + key->GetName())) return false;
    }
  }
  return true;
}

} // namespace dtpnode
