// What Merger does with records that are files, and with trees that would fill memory.
#include "merge.h"

#include "rootguard.h"

#include <TChain.h>
#include <TClass.h>
#include <TFile.h>
#include <TList.h>
#include <TParameter.h>
#include <TTree.h>
#include <algorithm>
#include <cerrno>
#include <cstring>

namespace dtpnode {

namespace {

constexpr uint64_t kTreesInMemory = 16 << 20; // bytes of all trees of one name that are merged without a file
// Parts of a data set become fewer than generations were: files are merged up to so many bytes.
constexpr uint64_t kPartBytes = 256 << 20;
constexpr size_t kMostLeft = 100; // of other files, by name

} // namespace

bool Merger::mergedAsFiles(const std::vector<Record> &records) {
  uint64_t bytes = 0;
  for (const Record &r : records) {
    if (r.file) return true;
    bytes += r.length;
  }
  if (bytes <= kTreesInMemory) return false;
  TClass *cls = TClass::GetClass(records[0].cls.c_str(), true, true);
  return cls && cls->InheritsFrom(TTree::Class()) && !cls->InheritsFrom(TChain::Class());
}

void Merger::noteApart(const std::string &name) {
  combiner_.setApart(name);
}

std::vector<std::vector<Record>> Merger::packs(const FileGroup &group) {
  std::vector<std::vector<Record>> out;
  if (group.cls == kFileClass && !group.apart) return {group.records};
  uint64_t bytes = 0;
  for (const Record &r : group.records) {
    const bool fits = group.cls == kPartClass && !out.empty() && bytes + r.length <= kPartBytes;
    if (!fits) {
      out.emplace_back();
      bytes = 0;
    }
    bytes += r.length;
    out.back().push_back(r);
  }
  return out;
}

bool Merger::writePack(const FileGroup &group, const std::vector<Record> &pack, int fd, uint64_t offset, uint64_t &used,
                       std::string &why) {
  if (pack.size() == 1) {
    used = pack[0].length;
    if (copySpan(span(pack[0]), fd, offset)) return true;
    throw Failure("disk", std::string("could not copy ") + group.name + ": " + std::strerror(errno));
  }
  std::vector<Span> spans;
  for (const Record &r : pack)
    spans.push_back(span(r));
  std::set<std::string> unmergeable;
  why = joinFiles(spans, fd, offset, used, unmergeable, guard_);
  if (!why.empty()) return false;
  for (const std::string &key : unmergeable)
    noteApart(group.name + "/" + key);
  return true;
}

LargeTree Merger::openTree(const Record &r) const {
  if (r.file) return LargeTree(span(r), r.name);
  std::unique_ptr<TObject> object = readOne(r);
  auto *tree = dynamic_cast<TTree *>(object.get());
  if (!tree) throw Failure("internal", "could not read the tree " + r.name + " of an output");
  object.release();
  return LargeTree(std::unique_ptr<TTree>(tree));
}

TTree *Merger::writeTree(const std::vector<Record> &records, TFile &to) {
  std::vector<LargeTree> trees;
  for (const Record &r : records)
    trees.push_back(openTree(r));
  return joinTrees(trees, to, guard_);
}

void Merger::writeFiles(const FileGroup &group, BlobWriter &out) {
  uint32_t ordinal = group.ordinal;
  if (hasTrees(group)) {
    if (!group.apart && group.records.size() > 1) {
      const Span to = out.beginFile(group.name, group.cls, ordinal, false);
      const auto used = std::make_shared<uint64_t>(0);
      bool merged = false;
      {
        SpanFile file(to.fd, to.offset, compressionOf(group.records), used);
        merged = writeTree(group.records, file) != nullptr;
        file.Close();
        merged = merged && !file.TestBit(TFile::kWriteError);
      }
      if (merged) return out.endFile(*used);
      out.dropFile();
    }
    const bool apart = group.records.size() > 1;
    if (apart) noteApart(group.name);
    for (const Record &r : group.records) {
      if (r.file)
        out.addFile(span(r), group.name, group.cls, ordinal++, apart);
      else
        out.add(*readOne(r), group.name, ordinal++, apart);
      guard_.enter(Phase::Write);
    }
    return;
  }
  for (const std::vector<Record> &pack : packs(group)) {
    const bool parts = group.cls == kPartClass;
    const Span to = out.beginFile(group.name, group.cls, ordinal, group.apart || parts);
    uint64_t used = 0;
    std::string why;
    if (writePack(group, pack, to.fd, to.offset, used, why)) {
      out.endFile(used);
      ++ordinal;
      continue;
    }
    out.dropFile();
    noteApart(group.name + " (" + why + ")");
    for (const Record &r : pack)
      out.addFile(span(r), group.name, group.cls, ordinal++, true);
  }
}

int Merger::compressionOf(const std::vector<Record> &records) const {
  for (const Record &r : records)
    if (r.file) return SpanFile(span(r)).GetCompressionSettings();
  return ROOT::RCompressionSetting::EDefaults::kUseCompiledDefault;
}

// Names that differ from generation to generation would become more without end.
void Merger::noteTimes(TObject &object, std::map<std::string, long long> &files) {
  auto *list = dynamic_cast<TList *>(&object);
  if (!list) return;
  TIter next(list);
  while (TObject *o = next()) {
    auto *times = dynamic_cast<TParameter<Long64_t> *>(o);
    if (!times) continue;
    const std::string name = times->GetName();
    files[files.size() < kMostLeft || files.count(name) ? name : ""] += times->GetVal();
  }
  list->SetOwner();
  list->Clear();
  for (const auto &[name, times] : files)
    list->Add(new TParameter<Long64_t>(name.c_str(), times, '+'));
}

} // namespace dtpnode
