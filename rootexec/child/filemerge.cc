#include "filemerge.h"

#include "rootguard.h"

#include <TClass.h>
#include <TFile.h>
#include <TFileMergeInfo.h>
#include <TFileMerger.h>
#include <TKey.h>
#include <TList.h>
#include <TMemFile.h>
#include <TProcessID.h>
#include <TROOT.h>
#include <TTree.h>
#include <cstring>

namespace dtpnode {

namespace {

// ROOT's own test of whether TFileMerger has a way to merge a class.
bool canMerge(TClass &cls) {
  return cls.GetMerge() || cls.InheritsFrom(TDirectory::Class()) ||
         (cls.IsTObject() && (cls.GetMethodWithPrototype("Merge", "TCollection*,TFileMergeInfo*") ||
                              cls.GetMethodWithPrototype("Merge", "TCollection*")));
}

void lookAt(TDirectory &dir, const std::string &path, FileContent &out) {
  std::string last;
  TIter next(dir.GetListOfKeys()); // of one name the highest cycle comes first
  while (auto *key = static_cast<TKey *>(next())) {
    if (last == key->GetName() || std::strcmp(key->GetClassName(), "TProcessID") == 0) continue;
    last = key->GetName();
    const std::string at = path.empty() ? last : path + "/" + last;
    TClass *cls = TClass::GetClass(key->GetClassName(), true, true);
    out.keys.insert(at);
    if (!cls || !canMerge(*cls)) {
      out.unmergeable.insert(at + " (" + key->GetClassName() + ")");
    } else if (cls->InheritsFrom(TDirectory::Class())) {
      if (auto *sub = dir.GetDirectory(key->GetName())) lookAt(*sub, at, out);
    } else if (cls->InheritsFrom(TTree::Class())) {
      if (auto *tree = dir.Get<TTree>(key->GetName())) {
        out.trees[at] = tree->GetEntries();
        delete tree;
      }
    }
  }
}

// Why the merged file lacks something of the files it was made of, empty if it does not.
std::string lacking(const FileContent &merged, const FileContent &all) {
  for (const std::string &key : all.keys)
    if (!merged.keys.count(key)) return key + " is not in the merged file";
  for (const auto &[path, entries] : all.trees) {
    const auto it = merged.trees.find(path);
    const long long got = it == merged.trees.end() ? 0 : it->second;
    if (got != entries)
      return "the tree " + path + " has " + std::to_string(entries) + " entries in them, and " + std::to_string(got) +
             " after the merge";
  }
  return "";
}

void failIfFull(RootGuard &guard) {
  if (!guard.diskFull()) return;
  Failure f("disk", "could not merge output files: no space left on the disk");
  f.step = "merge";
  throw f;
}

} // namespace

FileContent contentOf(TDirectory &dir) {
  TDirectory::TContext keepDirectory;
  FileContent out;
  lookAt(dir, "", out);
  return out;
}

std::string joinFiles(const std::vector<Span> &from, int fd, uint64_t offset, uint64_t &used,
                      std::set<std::string> &unmergeable, RootGuard &guard) {
  TDirectory::TContext keepDirectory;
  guard.clear();
  FileContent all;
  TFileMerger merger(false, false);
  merger.SetPrintLevel(0);
  merger.SetMaxOpenedFiles(static_cast<int>(from.size()) + 2); // none is opened anew: they have no names
  std::vector<std::unique_ptr<TFile>> inputs;
  for (const Span &span : from) {
    inputs.push_back(std::make_unique<SpanFile>(span));
    TFile &file = *inputs.back();
    if (file.IsZombie() || file.TestBit(TFile::kRecovered)) return "one of them is damaged";
    const FileContent content = contentOf(file);
    for (const auto &[path, entries] : content.trees)
      all.trees[path] += entries;
    all.keys.insert(content.keys.begin(), content.keys.end());
    all.unmergeable.insert(content.unmergeable.begin(), content.unmergeable.end());
    guard.enter(Phase::Merge);
  }
  const auto length = std::make_shared<uint64_t>(0);
  auto out = std::make_unique<SpanFile>(fd, offset, inputs[0]->GetCompressionSettings(), length);
  if (out->IsZombie() || !merger.OutputFile(std::move(out))) {
    failIfFull(guard);
    return "could not write the merged file";
  }
  for (auto &file : inputs)
    if (!merger.AddFile(file.get(), false)) return "one of them cannot be read";
  const bool merged = merger.Merge();
  guard.enter(Phase::Merge);
  failIfFull(guard);
  // TFileMerger goes on after errors, with a part of what it should have merged.
  if (!guard.firstError().empty()) return guard.firstError();
  if (!merged) return "TFileMerger cannot merge them";
  used = *length;
  SpanFile check(Span{fd, offset, used});
  if (check.IsZombie()) return "the merged file cannot be read";
  if (std::string why = lacking(contentOf(check), all); !why.empty()) return why;
  unmergeable.insert(all.unmergeable.begin(), all.unmergeable.end());
  return "";
}

LargeTree::LargeTree(const Span &span, const std::string &name) : file_(std::make_unique<SpanFile>(span)) {
  if (!file_->IsZombie()) tree_ = file_->Get<TTree>(name.c_str());
  if (!tree_) throw Failure("internal", "could not read the tree " + name + " of an output");
}

// Baskets are copied from files alone, so that a tree without one gets one in memory.
LargeTree::LargeTree(std::unique_ptr<TTree> tree) {
  static int serial = 0;
  TDirectory::TContext keepDirectory;
  const std::string name = "tree-" + std::to_string(++serial) + ".root";
  file_ = std::make_unique<TMemFile>(name.c_str(), "CREATE");
  tree_ = tree.release();
  tree_->SetDirectory(file_.get());
  file_->cd();
  tree_->Write();
  file_->WriteStreamerInfo();
}

LargeTree::~LargeTree() = default;
LargeTree::LargeTree(LargeTree &&) noexcept = default;

TTree *joinTrees(std::vector<LargeTree> &from, TFile &to, RootGuard &guard) {
  TDirectory::TContext keepDirectory;
  guard.clear();
  long long entries = 0;
  TList others;
  for (size_t i = 0; i < from.size(); ++i) {
    entries += from[i].tree().GetEntries();
    if (i > 0) others.Add(&from[i].tree());
  }
  TFileMergeInfo info(&to);
  info.fOptions = "fast";
  to.cd();
  TTree &tree = from[0].tree();
  // The clone is in the file, and takes the place of the tree: TTree::Merge does that for the first of a merge.
  const Long64_t got = tree.Merge(&others, &info);
  guard.enter(Phase::Merge);
  if (got >= 0) tree.Write(nullptr, TObject::kOverwrite);
  failIfFull(guard);
  TTree *merged = &tree;
  const bool whole = got >= 0 && merged->GetEntries() == entries && !to.TestBit(TFile::kWriteError);
  return whole && guard.firstError().empty() ? merged : nullptr;
}

} // namespace dtpnode
