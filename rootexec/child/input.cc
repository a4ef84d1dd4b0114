#include "input.h"

#include "channel.h"
#include "rootguard.h"

#include <TBranch.h>
#include <TDirectory.h>
#include <TEntryList.h>
#include <TError.h>
#include <TFile.h>
#include <TKey.h>
#include <TROOT.h>
#include <TTree.h>
#include <TTreeCache.h>
#include <TVirtualMutex.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dtpnode {

namespace {

Failure openFailure(const std::string &url, const std::string &why) {
  Failure f("open", why);
  f.step = "open";
  f.file = url;
  return f;
}

/// The path of a local file; empty if url is none.
std::string localPath(const std::string &url) {
  if (url.rfind("file://", 0) == 0) return url.substr(7);
  if (url.rfind("file:/", 0) == 0) return url.substr(5);
  return url.find("://") == std::string::npos ? url : "";
}

/// Opens a local file, for the operating system says more plainly than ROOT why one cannot be read.
Fd openLocal(const std::string &url, const std::string &path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)); // a pipe would wait for its writer
  if (fd.get() < 0) {
    const int error = errno;
    Failure f = openFailure(url, std::strerror(error));
    f.error = error;
    throw f;
  }
  struct stat st{};
  if (::fstat(fd.get(), &st) != 0) throw openFailure(url, std::strerror(errno));
  if (S_ISDIR(st.st_mode)) throw openFailure(url, "is a directory");
  if (!S_ISREG(st.st_mode)) throw openFailure(url, "is no regular file, but a pipe, a socket or a device");
  if (st.st_size == 0) throw openFailure(url, "the file is empty");
  char magic[4] = {};
  if (::pread(fd.get(), magic, sizeof magic, 0) != sizeof magic ||
      std::memcmp(magic, "root", 4) != 0)
    throw openFailure(url, "not a ROOT file");
  return fd;
}

/// Whether ROOT takes path for what it is. To ROOT a name may be a URL with options, the member of an
/// archive, a list of names, or have variables and patterns of the shell in it, and then it opens
/// another file without a word.
bool isPlain(const std::string &path) {
  return path.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+=,@%") ==
         std::string::npos;
}

/// The name under which this process can open again what it has open as fd.
std::string descriptorName(const Fd &fd) { return "/dev/fd/" + std::to_string(fd.get()); }

/// Gives file the name path, by which user code knows it.
void rename(TFile &file, const std::string &path) {
  R__LOCKGUARD(gROOTMutex);
  gROOT->GetListOfFiles()->Remove(&file); // may be found there by its name
  file.SetName(path.c_str());
  gROOT->GetListOfFiles()->Add(&file);
}

/// Whether ROOT has opened the file that fd is. Classes of plugins have no descriptor.
bool isSame(const TFile &file, const Fd &fd) {
  struct stat mine{}, its{};
  if (file.GetFd() < 0 || ::fstat(fd.get(), &mine) != 0 || ::fstat(file.GetFd(), &its) != 0)
    return file.IsA() != TFile::Class();
  return mine.st_dev == its.st_dev && mine.st_ino == its.st_ino;
}

void replaceAll(std::string &text, const std::string &from, const std::string &to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

void listTrees(TDirectory &dir, const std::string &prefix, int depth,
               std::vector<std::string> &out) {
  TIter next(dir.GetListOfKeys());
  while (auto *key = static_cast<TKey *>(next())) {
    const std::string name = prefix + key->GetName();
    TClass *cls = TClass::GetClass(key->GetClassName());
    if (!cls) continue;
    if (cls->InheritsFrom(TTree::Class())) {
      if (out.empty() || out.back() != name) out.push_back(name); // cycles follow each other
    } else if (depth < 4 && cls->InheritsFrom(TDirectory::Class())) {
      if (TDirectory *sub = dir.GetDirectory(key->GetName()))
        listTrees(*sub, name + "/", depth + 1, out);
    }
  }
}

/// The class of what has that path in a file, empty if there is nothing.
std::string classAt(TFile &file, const std::string &path) {
  const size_t slash = path.rfind('/');
  TDirectory *dir = slash == std::string::npos ? &file : file.GetDirectory(path.substr(0, slash).c_str());
  const TKey *key = dir ? dir->GetKey(slash == std::string::npos ? path.c_str() : path.c_str() + slash + 1) : nullptr;
  return key ? key->GetClassName() : "";
}

std::string join(const std::vector<std::string> &names) {
  constexpr size_t kShown = 20;
  std::string out;
  for (size_t i = 0; i < names.size() && i < kShown; ++i)
    out += (i ? ", " : "") + names[i];
  if (names.size() > kShown) out += ", ...";
  return out;
}

} // namespace

std::unique_ptr<TFile> openInput(const std::string &url, RootGuard &guard) {
  const std::string path = localPath(url);
  const bool local = !path.empty(), plain = !local || isPlain(path);
  Fd fd = local ? openLocal(url, path) : Fd();
  const std::string name = !local ? url : plain ? path : descriptorName(fd);
  TDirectory::TContext keepDirectory;
  guard.clear();
  std::unique_ptr<TFile> file(TFile::Open(name.c_str(), "READ"));
  std::string why = guard.firstError();
  if (file && !file->IsZombie() && !file->TestBit(TFile::kRecovered)) {
    if (local && !isSame(*file, fd))
      throw openFailure(url, "ROOT takes the name for that of another file, or the file was replaced; rename it");
    if (!plain) rename(*file, path);
    return file;
  }
  if (why.empty()) why = "not a ROOT file";
  if (!plain) replaceAll(why, name, path);
  if (why.find("runcated") != std::string::npos || why.find("keys") != std::string::npos)
    why = "the file is truncated or was not closed properly (" + why + "); copy or write it again";
  Failure f = openFailure(url, why);
  if (!local && (!file || file->IsZombie())) f.error = kUnopened;
  throw f;
}

std::string uuidOf(const TFile &file) {
  constexpr int since = 40000; // ROOT 4.00/00, long after files got one
  if (file.GetVersion() % 1000000 < since) return "";
  return file.GetUUID().AsString();
}

TTree *findTree(TFile &file, std::string &path, RootGuard &guard) {
  TDirectory::TContext keepDirectory;
  guard.clear();
  std::vector<std::string> trees;
  if (path.empty()) {
    listTrees(file, "", 0, trees);
    if (trees.size() == 1) path = trees[0];
  }
  // Get() takes for a TObject what is of another class, such as an RNTuple.
  TTree *tree = path.empty() ? nullptr : static_cast<TTree *>(file.GetObjectChecked(path.c_str(), TTree::Class()));
  if (tree) return tree;
  if (trees.empty()) listTrees(file, "", 0, trees);
  Failure f("schema", "");
  f.step = "open";
  f.file = file.GetName();
  const std::string other = classAt(file, path);
  if (!other.empty()) {
    f.msg = "\"" + path + "\" in the file is of the class " + other + ", and a selector reads a TTree";
    if (other.find("RNTuple") != std::string::npos) f.msg += "; RDataFrame reads an RNTuple, and can write it as one";
    if (!trees.empty()) f.msg += "; there is: " + join(trees);
  } else if (trees.empty())
    f.msg = "no tree in the file";
  else if (path.empty()) {
    f.kind = "ambiguous";
    f.msg = "more than one tree in the file, name one of: " + join(trees);
  } else
    f.msg = "no tree \"" + path + "\" in the file; there is: " + join(trees);
  if (!guard.firstError().empty()) f.msg += " (" + guard.firstError() + ")";
  throw f;
}

Input::Input() = default;
Input::Input(Input &&) noexcept = default;
Input::~Input() = default;

TTree *Input::shown() const { return chain ? chain : tree; }

TFile &Input::reads() const { return chain && chain->GetFile() ? *chain->GetFile() : *file; }

long long Input::entries() const { return chosen ? chosen->size() : own->GetEntries(); }

long long Input::load(long long entry) {
  if (!chain) return tree->LoadTree(entry);
  const long long local = chain->LoadTree(chain->start() + entry);
  tree = chain->GetTree(); // another object once user code has given the chain a friend
  return local;
}

void Inputs::setSelection(const std::string &path, const std::string &home) {
  if (!path.empty()) selection_ = Selection(path);
  chained_ = !selection_.friends().empty();
  home_ = home;
}

Input &Inputs::get(const std::string &url, const std::string &path, long long start, bool &opened) {
  opened = false;
  for (auto it = open_.begin(); it != open_.end(); ++it) {
    if (it->url != url || it->path != path || it->start != start) continue;
    open_.splice(open_.begin(), open_, it);
    return open_.front();
  }
  Input in;
  in.url = url;
  in.path = path;
  in.start = start;
  in.file = openInput(url, guard_);
  std::string found = path;
  in.tree = in.own = findTree(*in.file, found, guard_);
  findStoredFriends(*in.tree, url, home_);
  selection_.setAliases(*in.tree);
  if (selection_.chooses()) in.chosen = selection_.of(url, path);
  // As a TChain a tree knows the names of branches of stored friends, too.
  if (countFriends(*in.tree) > 0) chained_ = true;
  if (!chained_ && in.chosen) {
    TDirectory::TContext keepDirectory(nullptr);
    in.list = std::make_unique<TEntryList>("chosen", "");
    in.chosen->fill(*in.list);
    in.tree->SetEntryList(in.list.get());
  }
  opened = true;
  open_.push_front(std::move(in));
  // The selector still looks at the one that was in front, now second: never closed here.
  if (open_.size() > kOpenFiles) {
    if (at_ == &open_.back()) at_ = nullptr;
    open_.pop_back();
  }
  return open_.front();
}

void Inputs::show() {
  if (!chained_ || open_.empty() || at_ == &open_.front()) return;
  Input &in = open_.front();
  if (!friends_ && !selection_.friends().empty()) friends_ = std::make_unique<Friends>(selection_, guard_);
  if (!chain_) {
    chain_ = std::make_unique<PacketChain>(in.path.c_str());
    if (friends_) friends_->addTo(*chain_);
    selection_.setAliases(*chain_);
  }
  const std::string local = localPath(in.url);
  const bool plain = local.empty() || isPlain(local);
  const std::string name = local.empty() ? in.url
                           : plain      ? local
                                        : "/dev/fd/" + std::to_string(in.file->GetFd());
  TDirectory::TContext keepDirectory;
  guard_.clear();
  at_ = nullptr;
  const int given = friends_ ? friends_->size() : 0;
  if (!chain_->moveTo(name, in.path, alone_ ? 0 : in.start, in.own->GetEntries(), given))
    throw openFailure(in.url, "it could not be opened as a chain: " + guard_.firstError());
  at_ = &in;
  in.chain = chain_.get();
  in.tree = chain_->GetTree();
  if (!plain) rename(*chain_->GetFile(), local);
  selection_.setAliases(*in.tree); // selectors make formulas of it, too
  if (friends_) friends_->checkKeys(*chain_, guard_);
  if (in.tree->GetListOfFriends()) findStoredFriends(*in.tree, in.url, home_);
}

void Inputs::chainFront(bool alone) {
  chained_ = true;
  alone_ = alone;
  at_ = nullptr;
  show();
}

void Inputs::prepareCache(Input &in, long long first) {
  if (in.chain) return; // ROOT's own
  TTree &tree = *in.tree;
  const long long entries = tree.GetEntries();
  TTreeCache *cache = tree.GetReadCache(in.file.get());
  if (in.cacheFirst < 0) {
    in.cacheFirst = first;
    if (!cache) {
      tree.EnableCache();
      cache = tree.GetReadCache(in.file.get());
    }
    if (!cache) return;
    // To the end of the tree, not of the packet: the next packet most likely follows, and its
    // baskets must be neither fetched twice nor one by one.
    cache->SetEntryRange(first, entries);
    // That this file lacks a branch which was read of another is no error of the selector's, and is not printed as one.
    const Int_t level = gErrorIgnoreLevel;
    gErrorIgnoreLevel = kFatal;
    for (const std::string &name : branches_)
      tree.AddBranchToCache(name.c_str(), false);
    gErrorIgnoreLevel = level;
    if (!branches_.empty()) tree.StopCacheLearningPhase();
  } else if (cache && first < in.cacheFirst) {
    in.cacheFirst = 0;
    cache->SetEntryRange(0, entries);
  }
}

void Inputs::shrinkOthers() {
  for (Input &in : open_) {
    if (&in == &open_.front() || in.cacheFirst < 0) continue;
    // SetCacheSize(0) would be taken for the user's wish, and the tree not get another cache.
    if (TTreeCache *cache = in.tree->GetReadCache(in.file.get())) {
      cache->WaitFinishPrefetch();
      in.file->SetCacheRead(nullptr, in.tree, TFile::kDoNotDisconnect);
      delete cache;
    }
    in.tree->DropBaskets();
    in.cacheFirst = -1;
  }
}

void Inputs::learn(const Input &in) {
  if (!branches_.empty() || in.chain) return;
  TTreeCache *cache = in.tree->GetReadCache(in.file.get());
  if (!cache || cache->IsLearning() || !cache->GetCachedBranches()) return;
  TIter next(cache->GetCachedBranches());
  while (auto *branch = static_cast<TBranch *>(next()))
    branches_.emplace_back(branch->GetFullName().Data());
}

} // namespace dtpnode
