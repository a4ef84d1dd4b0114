#include "inputlist.h"

#include "blob.h"
#include "input.h"
#include "number.h"
#include "rootguard.h"

#include <TBufferFile.h>
#include <TClass.h>
#include <TDirectory.h>
#include <TFile.h>
#include <TH1.h>
#include <TKey.h>
#include <TList.h>
#include <TTree.h>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <set>

namespace dtpnode {

using nlohmann::json;

InputSource InputSource::of(const json &request) {
  InputSource s;
  s.given = request.value("given", "");
  s.begun = request.value("input", "");
  return s;
}

namespace {

Failure notOfType(const std::string &name, const std::string &type, const std::string &value) {
  return Failure("code", "the parameter " + name + " is to be of type " + type + ", and its value \"" + value +
                             "\" is none");
}

/// Whether text is a decimal number, in which no other characters stand: not a name such as inf, nor 0x10.
bool isDecimal(const std::string &text) {
  return !text.empty() && text.find_first_not_of("0123456789+-.eE") == std::string::npos &&
         text.find_first_of("0123456789") != std::string::npos;
}

bool readReal(const std::string &text, double &out) {
  char *end = nullptr;
  errno = 0;
  out = std::strtod(text.c_str(), &end);
  return !text.empty() && *end == 0 && end != text.c_str() && !(errno == ERANGE && std::abs(out) > 1);
}

bool readWhole(const std::string &text, Long64_t &out) {
  char *end = nullptr;
  errno = 0;
  out = std::strtoll(text.c_str(), &end, 10);
  return !text.empty() && *end == 0 && end != text.c_str() && errno == 0;
}

/// The address that stands in lists: that of the first base.
template <typename First, typename... Others>
TObject *inList(Number<First, Others...> *n) {
  return static_cast<TParameter<First> *>(n);
}

bool isInt(Long64_t whole) {
  return whole >= std::numeric_limits<Int_t>::min() && whole <= std::numeric_limits<Int_t>::max();
}

/// A number in which a real type stands first, for code that casts to it in the style of C.
template <typename First, typename Other>
TObject *makeReal(const char *name, const std::string &text) {
  Long64_t whole = 0;
  double real = 0;
  if (readWhole(text, whole)) {
    if (whole == 0 || whole == 1)
      return inList(new Number<First, Other, Long64_t, Long_t, Int_t, Bool_t>(name, text.c_str(), whole));
    if (isInt(whole)) return inList(new Number<First, Other, Long64_t, Long_t, Int_t>(name, text.c_str(), whole));
    return inList(new Number<First, Other, Long64_t, Long_t>(name, text.c_str(), whole));
  }
  if (readReal(text, real)) return inList(new Number<First, Other>(name, text.c_str(), real));
  return nullptr;
}

TObject *makeNumber(const char *name, const std::string &text) {
  Long64_t whole = 0;
  double real = 0;
  if (readWhole(text, whole)) {
    if (whole == 0 || whole == 1)
      return inList(new Number<Long64_t, Long_t, Int_t, Bool_t, Double_t, Float_t>(name, text.c_str(), whole));
    if (isInt(whole))
      return inList(new Number<Long64_t, Long_t, Int_t, Double_t, Float_t>(name, text.c_str(), whole));
    return inList(new Number<Long64_t, Long_t, Double_t, Float_t>(name, text.c_str(), whole));
  }
  if (readReal(text, real)) return inList(new Number<Double_t, Float_t>(name, text.c_str(), real));
  return nullptr;
}

} // namespace

TObject *makeParameter(const std::string &name, const std::string &type, const std::string &value) {
  const char *n = name.c_str();
  if (type.empty() || type.rfind("first ", 0) == 0) {
    TObject *number = nullptr;
    if (isDecimal(value)) {
      if (type == "first double") number = makeReal<Double_t, Float_t>(n, value);
      else if (type == "first float") number = makeReal<Float_t, Double_t>(n, value);
      else number = makeNumber(n, value);
    }
    return number ? number : new TNamed(n, value.c_str());
  }
  if (type == "string") return new TNamed(n, value.c_str());
  if (type == "bool") {
    if (value != "0" && value != "1" && value != "true" && value != "false") throw notOfType(name, type, value);
    return new TParameter<Bool_t>(n, value == "1" || value == "true");
  }
  double real = 0;
  Long64_t whole = 0;
  if (type == "double" || type == "float") {
    if (!readReal(value, real)) throw notOfType(name, type, value);
    if (type == "double") return new TParameter<Double_t>(n, real);
    return new TParameter<Float_t>(n, static_cast<Float_t>(real));
  }
  if (!readWhole(value, whole)) throw notOfType(name, type, value);
  if (type == "long") return new TParameter<Long64_t>(n, whole);
  if (type == "int" && isInt(whole))
    return new TParameter<Int_t>(n, static_cast<Int_t>(whole));
  throw notOfType(name, type, value);
}

namespace {

/// A checksum of what an object would be written as. It tells whether Begin() has changed an object, which is no
/// place for an adversary.
uint64_t sumOf(const TObject &object) {
  TBufferFile buffer(TBuffer::kWrite, 64 << 10);
  buffer.WriteObjectAny(&object, object.IsA());
  const char *p = buffer.Buffer();
  uint64_t sum = 0xcbf29ce484222325;
  const auto add = [&sum](uint64_t v) { sum = (sum ^ v) * 0x100000001b3 ^ sum >> 29; };
  size_t n = static_cast<size_t>(buffer.Length());
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t v;
    std::memcpy(&v, p, 8);
    add(v);
  }
  for (; n > 0; --n, ++p)
    add(static_cast<unsigned char>(*p));
  for (const char *t = object.GetTitle(); *t; ++t) // of a Number, which is written as its first base
    add(static_cast<unsigned char>(*t));
  return sum;
}

/// Adds the objects of a blob, none if its path is empty.
void addGiven(const std::string &path, RootGuard &guard, std::vector<TObject *> &out) {
  if (path.empty()) return;
  BlobReader blob(path);
  for (const Record &r : blob.records()) {
    out.push_back(blob.read(r).release());
    guard.enter(Phase::Load); // progress: many objects are no stall
  }
}

} // namespace

GivenInput::GivenInput(const json &params, const std::string &given, RootGuard &guard)
    : params_(params), list_(new TList) {
  for (const json &p : params_)
    objects_.push_back(makeParameter(p.at("name"), p.value("type", ""), p.at("value")));
  addGiven(given, guard, objects_);
  for (TObject *o : objects_) {
    list_->Add(o);
    sums_.push_back(sumOf(*o));
    guard.enter(Phase::Load);
  }
}

void GivenInput::write(const std::string &path, RootGuard &guard) const {
  std::map<const TObject *, size_t> index;
  for (size_t i = 0; i < objects_.size(); ++i)
    index[objects_[i]] = i;
  guard.clear();
  BlobWriter blob(path);
  TIter next(list_);
  for (uint32_t n = 0; TObject *o = next(); ++n) {
    guard.enter(Phase::Begin);
    const auto it = index.find(o);
    if (it == index.end() || sumOf(*o) != sums_[it->second]) {
      blob.add(*o, o->GetName(), n, false);
    } else if (it->second >= params_.size()) {
      const auto at = static_cast<Long64_t>(it->second - params_.size());
      blob.add(TParameter<Long64_t>(kGivenObject, at), kGivenObject, n, false);
    } else {
      const json &p = params_[it->second];
      const std::string text = p.at("name").get<std::string>() + '\n' + p.value("type", "") + '\n' +
                               p.at("value").get<std::string>();
      blob.add(TNamed(kGivenParameter, text.c_str()), kGivenParameter, n, false);
    }
    // What a list holds that has no dictionary is left out with an error, and then it would be lacking elsewhere.
    if (guard.firstError().empty()) continue;
    Failure f("code", std::string("could not hand ") + o->GetName() + " of fInput (" + o->ClassName() +
                          ") to the other processes: " + guard.firstError());
    f.step = "Begin";
    throw f;
  }
  blob.finish();
}

TList *readInput(const InputSource &source, RootGuard &guard) {
  auto *list = new TList;
  if (source.begun.empty()) return list;
  std::vector<TObject *> given;
  addGiven(source.given, guard, given);
  BlobReader blob(source.begun);
  for (const Record &r : blob.records()) {
    std::unique_ptr<TObject> object = blob.read(r);
    guard.enter(Phase::Load);
    if (r.name == kGivenParameter) {
      const std::string text = object->GetTitle();
      const size_t type = text.find('\n') + 1, value = text.find('\n', type) + 1;
      list->Add(makeParameter(text.substr(0, type - 1), text.substr(type, value - type - 1), text.substr(value)));
      continue;
    }
    if (r.name != kGivenObject) {
      list->Add(object.release());
      continue;
    }
    const auto *at = dynamic_cast<const TParameter<Long64_t> *>(object.get());
    if (!at || at->GetVal() < 0 || static_cast<size_t>(at->GetVal()) >= given.size())
      throw Failure("internal", "fInput refers to an object that was not given");
    list->Add(given[static_cast<size_t>(at->GetVal())]);
  }
  return list;
}

namespace {

/// Collects objects of one file.
class Collector {
 public:
  Collector(BlobWriter &blob, RootGuard &guard, std::string file)
      : blob_(blob), guard_(guard), file_(std::move(file)) {}

  void all(TDirectory &dir) {
    std::set<std::string> seen;
    TIter next(dir.GetListOfKeys());
    while (auto *key = static_cast<TKey *>(next()))
      if (seen.insert(key->GetName()).second) add(read(*key, "")); // the newest cycle comes first
  }
  void one(TDirectory &file, const std::string &name) {
    TDirectory *dir = &file;
    const size_t slash = name.rfind('/');
    if (slash != std::string::npos) dir = file.GetDirectory(name.substr(0, slash).c_str());
    TKey *key = dir ? dir->GetKey(name.substr(slash == std::string::npos ? 0 : slash + 1).c_str()) : nullptr;
    if (!key) throw failure("there is no object " + name + thereIs(file));
    add(read(*key, slash == std::string::npos ? "" : name.substr(0, slash + 1)));
  }
  int objects() const { return objects_; }

 private:
  Failure failure(const std::string &why) const {
    Failure f("code", "could not use the objects of " + file_ + " as input: " + why);
    f.step = "--input";
    f.file = file_;
    return f;
  }

  // The objects at the top of the file, the first ones of many, to end a message.
  static std::string thereIs(TDirectory &dir) {
    constexpr size_t most = 20;
    std::set<std::string> names;
    TIter next(dir.GetListOfKeys());
    while (auto *key = static_cast<TKey *>(next()))
      names.insert(std::string(key->GetName()) + " (" + key->GetClassName() + ")");
    std::string text;
    size_t n = 0;
    for (const std::string &name : names) {
      if (n++ == most) return text + ", ...";
      text += (n == 1 ? "; there is: " : ", ") + name;
    }
    return text;
  }

  std::unique_ptr<TObject> read(TKey &key, const std::string &prefix) {
    const std::string name = prefix + key.GetName();
    TClass *cls = TClass::GetClass(key.GetClassName());
    if (!cls || !cls->IsLoaded())
      throw failure(name + " is of class " + key.GetClassName() +
                    ", of which no dictionary is loaded: include its header in the selector");
    if (cls->InheritsFrom(TTree::Class()))
      throw failure(name + " is a tree: --files reads trees; name the other objects, as FILE:name,name");
    if (!cls->InheritsFrom(TObject::Class()))
      throw failure(name + " is of class " + key.GetClassName() +
                    ", which does not derive from TObject, and so cannot be in fInput");
    guard_.enter(Phase::Load);
    std::unique_ptr<TObject> object;
    if (cls->InheritsFrom(TDirectory::Class())) {
      object = folder(key, name);
    } else {
      object.reset(key.ReadObj());
      if (auto *h = dynamic_cast<TH1 *>(object.get())) h->SetDirectory(nullptr);
    }
    if (!object || !guard_.firstError().empty())
      throw failure("could not read " + name + (guard_.firstError().empty() ? "" : ": " + guard_.firstError()));
    return object;
  }

  std::unique_ptr<TObject> folder(TKey &key, const std::string &name) {
    auto list = std::make_unique<TList>();
    list->SetName(key.GetName());
    list->SetOwner();
    auto *dir = static_cast<TDirectory *>(key.ReadObj());
    if (!dir) throw failure("could not read folder " + name);
    std::set<std::string> seen;
    TIter next(dir->GetListOfKeys());
    while (auto *inner = static_cast<TKey *>(next()))
      if (seen.insert(inner->GetName()).second) list->Add(read(*inner, name + "/").release());
    return list;
  }

  void add(const std::unique_ptr<TObject> &object) {
    blob_.add(*object, object->GetName(), static_cast<uint32_t>(objects_++), false);
    if (!guard_.firstError().empty()) throw failure(guard_.firstError());
  }

  BlobWriter &blob_;
  RootGuard &guard_;
  const std::string file_;
  int objects_ = 0;
};

} // namespace

json collectObjects(const json &files, const std::string &path, RootGuard &guard) {
  TH1::AddDirectory(false);
  BlobWriter blob(path);
  int objects = 0;
  for (const json &f : files) {
    const std::string name = f.at("path");
    std::unique_ptr<TFile> file = openInput(name, guard);
    guard.clear();
    Collector collector(blob, guard, name);
    const std::vector<std::string> names = f.value("names", std::vector<std::string>{});
    if (names.empty()) collector.all(*file);
    for (const std::string &n : names)
      collector.one(*file, n);
    objects += collector.objects();
  }
  blob.finish();
  return {{"op", "collected"}, {"objects", objects}};
}

} // namespace dtpnode
