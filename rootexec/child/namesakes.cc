#include "namesakes.h"

#include "blob.h"

#include <TClass.h>
#include <TDirectory.h>
#include <TList.h>
#include <TParameter.h>
#include <TROOT.h>
#include <TSelector.h>
#include <TSelectorList.h>

namespace dtpnode {

namespace {

constexpr size_t kMostKept = 1000; // objects of one process
constexpr size_t kMostTold = 100;  // names

// The mark before a name in the list that a blob has: 'k' for what was kept, 'l' for what was lost.
constexpr char kKeptMark = 'k', kLostMark = 'l';

/// The list of a selector. ROOT's says what it refuses; this one notes it, too.
class OutputList : public TSelectorList {
 public:
  explicit OutputList(Namesakes &told) : told_(told) {}

  void AddFirst(TObject *o) override { take(o, [&] { TSelectorList::AddFirst(o); }); }
  void AddFirst(TObject *o, Option_t *opt) override { take(o, [&] { TSelectorList::AddFirst(o, opt); }); }
  void AddLast(TObject *o) override { take(o, [&] { TSelectorList::AddLast(o); }); }
  void AddLast(TObject *o, Option_t *opt) override { take(o, [&] { TSelectorList::AddLast(o, opt); }); }
  void AddAt(TObject *o, Int_t at) override { take(o, [&] { TSelectorList::AddAt(o, at); }); }
  void AddAfter(const TObject *at, TObject *o) override { take(o, [&] { TSelectorList::AddAfter(at, o); }); }
  void AddAfter(TObjLink *at, TObject *o) override { take(o, [&] { TSelectorList::AddAfter(at, o); }); }
  void AddBefore(const TObject *at, TObject *o) override { take(o, [&] { TSelectorList::AddBefore(at, o); }); }
  void AddBefore(TObjLink *at, TObject *o) override { take(o, [&] { TSelectorList::AddBefore(at, o); }); }

 private:
  template <class Add>
  void take(TObject *o, Add add) {
    const TObject *same = o ? FindObject(o->GetName()) : nullptr;
    add();
    if (same && same != o) told_.refused(*o);
  }

  Namesakes &told_;
};

// A selector's list is a member that only it may set.
struct OutputAccess : TSelector {
  static auto list() { return &OutputAccess::fOutput; }
};

TList *listOf(const std::map<std::string, long long> &names, char mark, TList *out) {
  for (const auto &[name, times] : names)
    out->Add(new TParameter<Long64_t>((mark + name).c_str(), times, mark == kKeptMark ? 'M' : '+'));
  return out;
}

void countUp(std::map<std::string, long long> &names, const std::string &name) {
  if (names.size() < kMostTold || names.count(name) > 0) ++names[name];
}

std::string quoted(const std::map<std::string, long long> &names) {
  constexpr size_t most = 5;
  std::string out;
  size_t n = 0;
  for (const auto &[name, times] : names) {
    if (n == most) return out + ", ...";
    out += (n++ ? ", \"" : "\"") + name.substr(0, 80) + "\" (" + std::to_string(times) + ")";
  }
  return out;
}

} // namespace

Namesakes::Namesakes() : kept_(new TList) {
  gROOT->GetListOfCleanups()->Add(kept_);
}

void Namesakes::watch(TSelector &selector) {
  TSelectorList *&list = selector.*OutputAccess::list();
  auto *mine = new OutputList(*this);
  if (list) {
    mine->SetName(list->GetName());
    mine->SetOwner(list->IsOwner());
    for (TObject *o : *list)
      mine->Add(o);
    list->Clear("nodelete"); // it stays, for code that has asked for it in its constructor
  }
  list = mine;
}

void Namesakes::refused(TObject &object) {
  if (kept_->FindObject(&object)) return; // added again
  const std::string name = object.GetName();
  const bool kept = keeping_ && kept_->GetSize() < static_cast<int>(kMostKept) &&
                    (places_.size() < kMostTold || places_.count(name) > 0) &&
                    !object.InheritsFrom(TDirectory::Class());
  if (!kept) return countUp(lost_, name);
  object.SetBit(kMustCleanup);
  kept_->Add(&object);
  ++places_[name];
}

std::vector<TObject *> Namesakes::kept() const {
  std::vector<TObject *> out;
  for (TObject *o : *kept_)
    out.push_back(o);
  return out;
}

void Namesakes::write(BlobWriter &out) const {
  if (places_.empty() && lost_.empty()) return;
  TList list;
  list.SetOwner();
  listOf(places_, kKeptMark, &list);
  listOf(lost_, kLostMark, &list);
  out.add(list, kRefused, 0, false);
}

void Refused::add(const TObject &object) {
  const auto *list = dynamic_cast<const TList *>(&object);
  if (!list) return;
  for (TObject *o : *list) {
    const auto *times = dynamic_cast<TParameter<Long64_t> *>(o);
    const std::string name = o ? o->GetName() : "";
    if (!times || name.empty() || times->GetVal() <= 0) continue;
    auto &names = name[0] == kKeptMark ? places_ : lost_;
    if (names.size() < kMostTold) names[name.substr(1)] = times->GetVal();
  }
}

nlohmann::json Refused::notes() const {
  nlohmann::json out = nlohmann::json::array();
  if (!places_.empty())
    out.push_back("fOutput takes one object of a name, and the selector has added others under names that were " +
                  std::string("taken: ") + quoted(places_) + ". ROOT drops them; here they are merged by their place, and are in the output " +
                  "file beside the first one, as earlier cycles (NAME;1, ...), while NAME alone, and Terminate's " +
                  "FindObject, mean the first. Give each object a name of its own");
  if (!lost_.empty())
    out.push_back("fOutput takes one object of a name, and has refused others that were added in Init or Process, " +
                  std::string("with what they count: ") + quoted(lost_) +
                  ". Add each object once, in SlaveBegin, under a name of its own");
  return out;
}

} // namespace dtpnode
