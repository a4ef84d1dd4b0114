#include "merge.h"

#include "feedback.h"
#include "limits.h"
#include "rootguard.h"

#include <TH1.h>
#include <TList.h>
#include <TNamed.h>
#include <TParameter.h>
#include <algorithm>
#include <dirent.h>
#include <sys/resource.h>
#include <tuple>
#include <unistd.h>

namespace dtpnode {

namespace {

// What is read at one time beside the object that it is merged into: few objects, and not many bytes of them.
constexpr size_t kAtOnce = 16;
constexpr uint64_t kBytesAtOnce = uint64_t{32} << 20;

size_t openNow() {
  size_t n = 0;
  if (DIR *dir = ::opendir("/proc/self/fd")) {
    while (::readdir(dir))
      ++n;
    ::closedir(dir);
  }
  return n;
}

void writeMerged(Merger &merger, const std::string &path, RootGuard &guard) {
  BlobWriter out(path);
  Merger::Group group;
  while (merger.next(group)) {
    uint32_t ordinal = group.ordinal;
    for (auto &o : group.objects)
      out.add(*o, group.name, ordinal++, group.apart);
    if (!group.files.records.empty()) merger.writeFiles(group.files, out);
    guard.enter(Phase::Write);
  }
  out.finish();
}

void addNames(std::vector<std::string> &to, const std::vector<std::string> &names) {
  for (const std::string &name : names)
    if (std::find(to.begin(), to.end(), name) == to.end()) to.push_back(name);
}

} // namespace

bool isOurs(const std::string &name) {
  return name == kUnits || name == kCanary || name == kMembers || name == kSkipped || name == kStatus ||
         name == kLeft || name == kLimits || name == kRefused || name == kChanged ||
         name == kUncalled;
}

Hints Hints::of(const nlohmann::json &request) {
  Hints out;
  out.strict = request.value("strict", false);
  const auto hints = request.find("hints");
  out.known = hints != request.end() && hints->is_binary();
  if (out.known) out.text.assign(hints->get_binary().begin(), hints->get_binary().end());
  return out;
}

Merger::Merger(const std::vector<std::string> &paths, RootGuard &guard, const Hints &hints, const Wanted *wanted)
    : guard_(guard), combiner_(guard) {
  TH1::AddDirectory(false);
  std::map<std::tuple<std::string, std::string, uint32_t>, size_t> index;
  for (size_t i = 0; i < paths.size(); ++i) {
    blobs_.emplace_back(paths[i]);
    if (!wanted) blobs_[i].checkFiles();
    for (Record r : blobs_[i].records()) {
      r.blob = i;
      if (wanted && !isOurs(r.name)) {
        if (r.file || !wanted->matches(r.name)) continue;
        if (r.length > wanted->most()) left_.insert(r.name);
        if (r.length > wanted->most()) continue;
      }
      if (!isOurs(r.name) && r.cls != kFileClass && r.cls != kPartClass) combiner_.addClass(r.name, r.cls);
      // What could not be merged once is never merged: all of a name share one group.
      auto key = std::make_tuple(r.name, r.cls, r.apart ? 0 : r.ordinal);
      auto [it, fresh] = index.emplace(key, groups_.size());
      if (fresh) groups_.emplace_back();
      groups_[it->second].push_back(std::move(r));
    }
  }
  announceLimits(hints);
  noteUneven();
}

// Where an object is of one class in some blobs and of another in others, each class is merged by itself.
void Merger::noteUneven() {
  std::map<std::string, std::map<size_t, std::set<std::string>>> classes;
  for (const std::vector<Record> &records : groups_)
    for (const Record &r : records)
      if (!isOurs(r.name) && !r.file) classes[r.name][r.blob].insert(r.cls);
  for (const auto &[name, of] : classes) {
    std::set<std::string> all;
    for (const auto &entry : of)
      all.insert(entry.second.begin(), entry.second.end());
    if (std::all_of(of.begin(), of.end(), [&](const auto &entry) { return entry.second.size() == all.size(); })) continue;
    std::string text;
    for (const std::string &cls : all)
      text += (text.empty() ? "" : " and ") + cls;
    combiner_.setApart(name + " (" + text + ")");
  }
}

// All blobs of a job say the same, unless somebody lies: where the job's description is not at hand, what most of them
// say counts. What cannot be read is nobody's vote.
void Merger::announceLimits(const Hints &hints) {
  LimitsFinder &finder = LimitsFinder::install();
  if (hints.known) return finder.announce(Announced(hints.text), hints.strict);
  std::map<std::string, size_t> votes;
  for (const BlobReader &blob : blobs_)
    for (const Record &r : blob.records()) {
      if (r.name != kLimits) continue;
      const std::unique_ptr<TObject> text = blob.read(r);
      try {
        Announced(text->GetTitle());
        ++votes[text->GetTitle()];
      } catch (const std::exception &) {
      }
      break;
    }
  const auto most = std::max_element(votes.begin(), votes.end(),
                                     [](const auto &a, const auto &b) { return a.second < b.second; });
  finder.announce(most == votes.end() ? Announced() : Announced(most->first));
}

bool Merger::next(Group &out) {
  if (at_ == groups_.size()) return false;
  const std::vector<Record> &records = groups_[at_++];
  out.name = records[0].name;
  out.ordinal = records[0].ordinal;
  out.objects.clear();
  out.files = {};
  guard_.enter(Phase::Merge); // progress: a merge of many objects is no stall
  if (mergedAsFiles(records)) {
    const bool apart = std::any_of(records.begin(), records.end(), [](const Record &r) { return r.apart; });
    out.files = {out.name, records[0].cls, apart, out.ordinal, records};
    return true;
  }
  out.apart =
      std::any_of(records.begin(), records.end(), [](const Record &r) { return r.apart; }) ||
      !mergeRecords(records, out.objects);
  // A merge that fails half way has spoilt its objects.
  if (out.apart) out.objects = readAll(records);
  note(out);
  return true;
}

std::vector<std::string> Merger::mixed() const {
  std::vector<std::string> out;
  for (const auto &[name, classes] : combiner_.classes()) {
    if (classes.size() < 2) continue;
    std::string all;
    for (const std::string &cls : classes)
      all += (all.empty() ? "" : " and ") + cls;
    if (out.size() < kMostNames) out.push_back(clipped(name + " (" + all + ")"));
  }
  return out;
}

void Merger::note(const Group &g) {
  if (g.apart) combiner_.setApart(g.name);
  if (g.apart || g.objects.empty()) return;
  auto *number = dynamic_cast<TParameter<Long64_t> *>(g.objects[0].get());
  if (number && g.name == kUnits) units_ = number->GetVal();
  if (number && g.name == kCanary) canary_ = static_cast<unsigned long long>(number->GetVal());
  if (g.name == kSkipped) skipped_.add(*g.objects[0]);
  if (g.name == kStatus) status_.read(*g.objects[0]);
  if (g.name == kLeft) noteTimes(*g.objects[0], leftFiles_);
  if (g.name == kChanged) noteTimes(*g.objects[0], changedFiles_);
  if (g.name == kUncalled) uncalled_ = g.objects[0]->GetTitle();
  if (g.name == kRefused) refused_.add(*g.objects[0]);
  auto *list = dynamic_cast<TList *>(g.objects[0].get());
  if (!list || g.name != kMembers) return;
  TIter next(list);
  while (TObject *o = next())
    members_[o->GetName()] = o->GetTitle();
}

Objects Merger::readAll(const std::vector<Record> &records) const {
  Objects out;
  for (const Record &r : records)
    out.push_back(readOne(r));
  return out;
}

// What cannot be combined has been spoilt when that is found, so that all of the name is read once more.
bool Merger::mergeRecords(const std::vector<Record> &records, Objects &out) {
  for (;;) {
    out.clear();
    combiner_.start();
    if (!mergeOnce(records, out)) return false;
    if (!combiner_.dirty()) return true;
  }
}

bool Merger::mergeOnce(const std::vector<Record> &records, Objects &out) {
  if (records[0].name == kMembers) {
    out.push_back(mostSay(records));
    return true;
  }
  out.push_back(readOne(records[0]));
  // The same in all generations that had limits announced.
  if (records[0].name == kLimits || records[0].name == kUncalled) return true;
  if (!isOurs(records[0].name)) combiner_.noteClass(*out[0], records[0].name, true);
  for (size_t at = 1; at < records.size();) {
    Objects others;
    for (uint64_t bytes = 0; at < records.size() && others.size() < kAtOnce && bytes < kBytesAtOnce; ++at) {
      others.push_back(readOne(records[at]));
      bytes += records[at].length;
    }
    if (!combiner_.combine(*out[0], others, records[0].name)) return false;
  }
  return true;
}

// Reads a record, and holds it against what else the list says: whoever has made it may lie.
std::unique_ptr<TObject> Merger::readOne(const Record &r) const {
  std::unique_ptr<TObject> object = blobs_[r.blob].read(r);
  const auto wrong = [&](const char *what) {
    return Failure("internal", "could not read object " + r.name + " of " + blobs_[r.blob].path() + ": " + what);
  };
  // Whoever looks for an object does so by its own name, and a list's parts are found by their records'.
  if (!isOurs(r.name) && object->InheritsFrom(TNamed::Class()) && !isUserClass(*object->IsA()) &&
      r.name != object->GetName())
    throw wrong("it has another name");
  if (!isSound(*object)) throw wrong("its axes are not those of its bins");
  if (r.name == kStatus) Status::bound(*object);
  if (r.name != kSkipped) return object;
  Skips skips;
  skips.add(*object);
  if (!skips.within(blobs_[r.blob].units()))
    throw wrong("it leaves out more entries than it counts");
  return object;
}

// A member of a selector points to one object in all generations that have filled it: what most say counts.
std::unique_ptr<TObject> Merger::mostSay(const std::vector<Record> &records) const {
  std::map<std::string, std::map<std::string, size_t>> votes;
  for (const Record &r : records) {
    const std::unique_ptr<TObject> object = readOne(r);
    const auto *list = dynamic_cast<TList *>(object.get());
    if (!list) continue;
    for (const TObject *o : *list)
      ++votes[o->GetName()][o->GetTitle()];
  }
  auto out = std::make_unique<TList>();
  out->SetOwner();
  for (const auto &[member, objects] : votes) {
    const auto most = std::max_element(objects.begin(), objects.end(),
                                       [](const auto &a, const auto &b) { return a.second < b.second; });
    out->Add(new TNamed(member.c_str(), most->first.c_str()));
  }
  return out;
}

size_t openAtOnce() {
  constexpr size_t most = 64, least = 2, spare = 32; // for what ROOT and user code open meanwhile
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return most;
  const size_t taken = openNow() + spare;
  return limit.rlim_cur <= taken + least ? least : std::min<size_t>(limit.rlim_cur - taken, most);
}

MergeTree::MergeTree(std::vector<std::string> paths, const std::string &beside, RootGuard &guard, const Hints &hints)
    : beside_(beside), guard_(guard), hints_(hints), paths_(std::move(paths)) {
  const size_t most = openAtOnce();
  try {
    while (paths_.size() > most) {
      std::vector<std::string> next;
      for (size_t at = 0; at < paths_.size(); at += most) {
        const size_t end = std::min(at + most, paths_.size());
        next.push_back(batch({paths_.begin() + static_cast<long>(at), paths_.begin() + static_cast<long>(end)}));
      }
      paths_ = std::move(next);
    }
  } catch (...) {
    for (const std::string &path : made_)
      ::unlink(path.c_str());
    throw;
  }
}

MergeTree::~MergeTree() {
  for (const std::string &path : made_)
    ::unlink(path.c_str());
}

std::string MergeTree::batch(const std::vector<std::string> &inputs) {
  if (inputs.size() == 1) return inputs[0];
  const std::string out =
      beside_ + ".tmp" + std::to_string(::getpid()) + "." + std::to_string(++serial_);
  Merger merger(inputs, guard_, hints_);
  writeMerged(merger, out, guard_);
  made_.push_back(out);
  addNames(apart_, merger.apart());
  for (const std::string &path : inputs)
    drop(path);
  return out;
}

void MergeTree::drop(const std::string &path) {
  auto it = std::find(made_.begin(), made_.end(), path);
  if (it == made_.end()) return; // an input, which stays
  ::unlink(path.c_str());
  made_.erase(it);
}

std::vector<std::string> MergeTree::apart(const Merger &last) const {
  std::vector<std::string> all = apart_;
  addNames(all, last.apart());
  return all;
}

nlohmann::json mergeTo(const nlohmann::json &request, RootGuard &guard) {
  const std::string path = request.at("path");
  const Hints hints = Hints::of(request);
  MergeTree tree(request.at("inputs"), path, guard, hints);
  Merger merger(tree.paths(), guard, hints);
  writeMerged(merger, path, guard);
  return {{"op", "sealed"},
          {"units", merger.units()},
          {"canary", merger.canary()},
          {"apart", tree.apart(merger)},
          {"odd", LimitsFinder::install().odd()},
          {"mixed", merger.mixed()}};
}

} // namespace dtpnode
