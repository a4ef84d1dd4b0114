#include "selector.h"

#include "code.h"
#include "guard.h"

#include <TBaseClass.h>
#include <TClass.h>
#include <TClassTable.h>
#include <TDataMember.h>
#include <TInterpreter.h>
#include <TList.h>
#include <TMethod.h>
#include <TNtuple.h>
#include <TNtupleD.h>
#include <TROOT.h>
#include <TSelector.h>
#include <TSystem.h>
#include <TTree.h>
#include <algorithm>
#include <cstring>
#include <set>
#include <sys/uio.h>
#include <unistd.h>

namespace dtpnode {

namespace {

std::set<std::string> knownClasses() {
  std::set<std::string> names;
  TClassTable::Init();
  while (const char *name = TClassTable::Next())
    names.insert(name);
  return names;
}

// Whether a base of a class, or one of theirs, has no dictionary: what it derives from is unknown to ROOT.
bool hasHiddenBase(TClass &c) {
  TIter bases(c.GetListOfBases());
  while (auto *base = static_cast<TBaseClass *>(bases())) {
    TClass *b = base->GetClassPointer();
    if (!b || !b->HasDictionary() || hasHiddenBase(*b)) return true;
  }
  return false;
}

// Where TSelector is in an object of the class, -1 if it is no selector. A base that has no dictionary, such as an
// instance of a template, hides from ROOT what it derives from itself; the interpreter knows from the headers.
long offsetOfSelector(TClass &c) {
  if (c.InheritsFrom(TSelector::Class())) return c.GetBaseClassOffset(TSelector::Class());
  if (!hasHiddenBase(c)) return -1;
  const std::string name = c.GetName();
  auto error = TInterpreter::kNoError;
  const auto derives =
      gInterpreter->Calc(("(Long_t)std::is_base_of<TSelector, " + name + ">::value").c_str(), &error);
  if (error != TInterpreter::kNoError || derives != 1) return -1;
  constexpr long somewhere = 0x1000;
  const auto at = gInterpreter->Calc(
      ("(Long_t)static_cast<TSelector *>((" + name + " *)" + std::to_string(somewhere) + ")").c_str(), &error);
  return error == TInterpreter::kNoError ? static_cast<long>(at) - somewhere : -1;
}

// The selectors that came with the code, but for those that are there as bases of others.
std::vector<std::string> selectorsSince(const std::set<std::string> &before) {
  std::vector<TClass *> all;
  for (const std::string &name : knownClasses()) {
    if (before.count(name)) continue;
    TClass *c = TClass::GetClass(name.c_str(), true, true);
    if (c && offsetOfSelector(*c) >= 0) all.push_back(c);
  }
  std::vector<std::string> out;
  for (TClass *c : all)
    if (std::none_of(all.begin(), all.end(), [c](TClass *other) { return other != c && other->InheritsFrom(c); }))
      out.push_back(c->GetName());
  return out;
}

// The class of that name, or the only selector where none is named, or the one that has the name in a namespace:
// sources are named after the class alone. there are the selectors that came with the code, if they had to be looked at.
TClass *findSelector(const std::string &name, bool interpreted, const std::set<std::string> &before,
                     std::vector<std::string> &there) {
  TClass *c = name.empty() ? nullptr : TClass::GetClass(name.c_str(), true, true);
  if (c && (c->IsLoaded() || (interpreted && c->GetState() == TClass::kInterpreted))) return c;
  there = selectorsSince(before);
  if (name.empty()) return there.size() == 1 ? TClass::GetClass(there[0].c_str(), true, true) : nullptr;
  std::vector<std::string> scoped;
  const std::string end = "::" + name;
  for (const std::string &other : there)
    if (other.size() > end.size() && other.compare(other.size() - end.size(), end.size(), end) == 0)
      scoped.push_back(other);
  return scoped.size() == 1 ? TClass::GetClass(scoped[0].c_str(), true, true) : nullptr;
}

// The table of virtual functions of the object at an address, which may be any: null if there is nothing to read.
const void *tableAt(const void *address) {
  const void *table = nullptr;
  iovec to{&table, sizeof table}, from{const_cast<void *>(address), sizeof table};
  return ::process_vm_readv(::getpid(), &to, 1, &from, 1, 0) == sizeof table ? table : nullptr;
}

// Whether a tree that lives is at an address. One that was deleted has the table of a base class, or what came after it.
bool isTreeAt(const void *address) {
  static const auto *const tree = new TTree; // never deleted: processes end without ROOT's leave
  static const auto *const ntuple = new TNtuple;
  static const auto *const ntupleD = new TNtupleD;
  if (!address) return false;
  const void *table = tableAt(address);
  return table && (table == tableAt(tree) || table == tableAt(ntuple) || table == tableAt(ntupleD));
}

std::string listed(const std::vector<std::string> &names) {
  std::string out;
  for (const std::string &name : names)
    out += (out.empty() ? "" : ", ") + name;
  return out;
}

// Has ROOT's interpreter take a source, as root -l 'X.C' does.
void interpret(const std::string &macro) {
  Int_t error = 0;
  if (gROOT->LoadMacro(macro.c_str(), &error) < 0 || error != 0)
    throw Failure("code", "ROOT's interpreter does not take the source either");
}

} // namespace

SelectorClass::SelectorClass(const nlohmann::json &load) {
  const std::string so = load.at("so"), macro = load.at("macro"), name = load.at("class");
  const std::set<std::string> before = knownClasses();
  // The dictionary names the sources by their base name; they lie beside the library wherever that
  // was unpacked.
  gInterpreter->AddIncludePath(std::string(load.at("dir")).c_str());
  const nlohmann::json &code = load.at("code");
  loadCode(code);
  if (!so.empty()) loadLibrary(so);
  for (const std::string &source : load.value("macros", std::vector<std::string>{}))
    interpret(source);
  if (!macro.empty()) interpret(macro);
  std::vector<std::string> libraries = librariesOf(code);
  if (!so.empty()) libraries.push_back(so);
  if (!load.value("lacking", false)) requireSymbols(libraries);
  std::vector<std::string> there;
  class_ = findSelector(name, !macro.empty(), before, there);
  if (!class_) {
    const std::string where = so.empty() && macro.empty() ? "libraries" : "code";
    throw Failure("code", (name.empty() ? "no selector" : "no class " + name) + " in the " + where +
                              (there.empty() ? "; no class there derives from TSelector"
                                             : "; the selectors there are: " + listed(there) +
                                                   "; name one with --class"));
  }
  selectorOffset_ = offsetOfSelector(*class_);
  if (selectorOffset_ < 0)
    throw Failure("code", "class " + name + " does not derive from TSelector");
  if (class_->Property() & kIsAbstract)
    throw Failure("code", "class " + name +
                              " is abstract: it lacks an implementation of a virtual function");
  if (!class_->HasDefaultConstructor())
    throw Failure("code",
                  "class " + name + " has no constructor that can be called without arguments");
  collectMembers(class_, 0);
}

TSelector *SelectorClass::make() const {
  void *object = class_->New();
  if (!object)
    throw Failure("code", std::string("could not make an object of class ") + class_->GetName());
  return reinterpret_cast<TSelector *>(static_cast<char *>(object) + selectorOffset_);
}

bool SelectorClass::overrides(const char *name) const {
  TMethod *method = class_->GetMethodAllAny(name);
  return method && method->GetClass() && method->GetClass() != TSelector::Class() &&
         method->GetClass()->InheritsFrom(TSelector::Class());
}

void SelectorClass::collectMembers(TClass *cls, long offset) {
  TIter bases(cls->GetListOfBases());
  while (auto *base = static_cast<TBaseClass *>(bases())) {
    TClass *b = base->GetClassPointer();
    if (b && b != TSelector::Class() && base->GetDelta() >= 0)
      collectMembers(b, offset + base->GetDelta());
  }
  TIter next(cls->GetListOfDataMembers());
  while (auto *dm = static_cast<TDataMember *>(next())) {
    std::string full = dm->GetFullTypeName();
    if (!dm->IsaPointer() || dm->IsBasic() || dm->GetArrayDim() > 1 || (dm->Property() & kIsStatic))
      continue;
    if (full.find('*') != full.size() - 1) continue; // TH1F**
    TClass *mc = TClass::GetClass(dm->GetTypeName(), true, true);
    if (!mc || !mc->InheritsFrom(TObject::Class())) continue;
    const long base = mc->GetBaseClassOffset(TObject::Class());
    if (base < 0) continue;
    const int count = dm->GetArrayDim() == 1 ? dm->GetMaxIndex(0) : 0;
    for (int i = 0; i < std::max(count, 1); ++i) {
      std::string name = dm->GetName();
      if (count) name += "[" + std::to_string(i) + "]";
      members_.push_back({name, mc, offset + dm->GetOffset() + i * long{sizeof(void *)}, base});
    }
  }
}

TObject **SelectorClass::slot(const TSelector &s, const Member &m) const {
  char *start = reinterpret_cast<char *>(const_cast<TSelector *>(&s)) - selectorOffset_;
  return reinterpret_cast<TObject **>(start + m.offset);
}

bool SelectorClass::pointsAt(const TSelector &s, const TObject *object) const {
  for (const Member &m : members_) {
    const char *p = reinterpret_cast<const char *>(*slot(s, m));
    if (p && p + m.baseOffset == reinterpret_cast<const char *>(object)) return true;
  }
  return false;
}

std::vector<TTree *> SelectorClass::looseTrees(const TSelector &s) const {
  std::vector<TTree *> out;
  for (const Member &m : members_) {
    if (!m.cls->InheritsFrom(TTree::Class())) continue;
    void *p = *slot(s, m);
    if (!isTreeAt(p)) continue;
    auto *tree = static_cast<TTree *>(p);
    if (!tree->GetDirectory()) out.push_back(tree);
  }
  return out;
}

std::map<std::string, std::string> SelectorClass::membersIn(const TSelector &s,
                                                            const TList &list) const {
  std::map<const void *, std::string> objects;
  TIter next(&list);
  while (TObject *o = next())
    objects.emplace(o, o->GetName());
  std::map<std::string, std::string> out;
  for (const Member &m : members_) {
    const char *p = reinterpret_cast<const char *>(*slot(s, m));
    if (!p) continue;
    auto it = objects.find(p + m.baseOffset); // compared, never followed: it may dangle
    if (it != objects.end()) out[m.name] = it->second;
  }
  return out;
}

void SelectorClass::bind(TSelector &s, const TList &list,
                         const std::map<std::string, std::string> &bound) const {
  for (const Member &m : members_) {
    auto it = bound.find(m.name);
    TObject *o = list.FindObject(it != bound.end() ? it->second.c_str() : m.name.c_str());
    if (!o || !o->InheritsFrom(m.cls)) continue;
    *slot(s, m) = reinterpret_cast<TObject *>(reinterpret_cast<char *>(o) - m.baseOffset);
  }
}

} // namespace dtpnode
