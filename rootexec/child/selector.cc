#include "selector.h"

#include "guard.h"

#include <TBaseClass.h>
#include <TClass.h>
#include <TClassTable.h>
#include <TDataMember.h>
#include <TInterpreter.h>
#include <TList.h>
#include <TMethod.h>
#include <TSelector.h>
#include <TSystem.h>
#include <set>

namespace dtpnode {

namespace {

std::set<std::string> knownClasses() {
  std::set<std::string> names;
  TClassTable::Init();
  while (const char *name = TClassTable::Next())
    names.insert(name);
  return names;
}

// The selectors that came with the library, to help who misspelt one.
std::string selectorsSince(const std::set<std::string> &before) {
  std::string out;
  for (const std::string &name : knownClasses()) {
    if (before.count(name)) continue;
    TClass *c = TClass::GetClass(name.c_str(), true, true);
    if (!c || !c->InheritsFrom(TSelector::Class())) continue;
    out += (out.empty() ? "" : ", ") + name;
  }
  return out;
}

} // namespace

SelectorClass::SelectorClass(const std::string &so, const std::string &dir,
                             const std::string &name) {
  const std::set<std::string> before = knownClasses();
  // The dictionary names the sources by their base name; they lie beside the library wherever that
  // was unpacked.
  gInterpreter->AddIncludePath(dir.c_str());
  if (gSystem->Load(so.c_str()) < 0) throw Failure("code", "could not load library");
  class_ = TClass::GetClass(name.c_str(), true, true);
  if (!class_ || !class_->IsLoaded()) {
    std::string there = selectorsSince(before);
    throw Failure("code", "no class " + name + " in the library" +
                              (there.empty() ? "; no class there derives from TSelector"
                                             : "; the selectors there are: " + there));
  }
  if (!class_->InheritsFrom(TSelector::Class()))
    throw Failure("code", "class " + name + " does not derive from TSelector");
  if (class_->Property() & kIsAbstract)
    throw Failure("code", "class " + name +
                              " is abstract: it lacks an implementation of a virtual function");
  if (!class_->HasDefaultConstructor())
    throw Failure("code",
                  "class " + name + " has no constructor that can be called without arguments");
  selectorOffset_ = class_->GetBaseClassOffset(TSelector::Class());
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
