#include "friends.h"

#include "input.h"
#include "rootguard.h"

#include <TFile.h>
#include <TFriendElement.h>
#include <TList.h>
#include <TTreeFormula.h>
#include <cerrno>
#include <cstring>
#include <unistd.h>

namespace dtpnode {

namespace {

Failure friendFailure(const std::string &file, const std::string &why) {
  Failure f("open", why);
  f.step = "open";
  f.file = file;
  return f;
}

std::string folderWith(const std::string &path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::string nameOf(const Friend &f) { return f.alias.empty() ? f.tree : f.alias; }

/// The failure of a job whose friend is looked up by an expression that a tree cannot evaluate. ROOT prints an error,
/// and then reads the friend by the number of the entry, so that each stands beside a wrong one.
Failure keyFailure(const Friend &f, const std::string &key, const std::string &tree, const std::string &why) {
  Failure failure("code", "the friend " + nameOf(f) + " cannot be looked up by \"" + key +
                              "\", which cannot be used in " + tree + (why.empty() ? "" : ": " + why) +
                              ". --friend TREE[MAJOR,MINOR]=FILES takes expressions that both trees have");
  failure.step = "open";
  return failure;
}

/// Sees that a friend's file, with the tree in it, is the one that was planned.
void compareFriend(const Friend &f, const Friend::File &from, const TFile &file, const TTree &tree) {
  const std::string what = "the friend " + nameOf(f) + " in " + from.url + " has ";
  const std::string uuid = from.uuid.empty() ? "" : uuidOf(file);
  std::string why;
  if (tree.GetEntries() != from.entries)
    why = what + std::to_string(tree.GetEntries()) + " entries here, but " + std::to_string(from.entries) +
          " where it was planned";
  else if (uuid != from.uuid && !uuid.empty())
    why = what + "the UUID " + uuid + " here, but " + from.uuid +
          " where it was planned: it was written anew, with as many entries (--allow-copies if they are the same)";
  if (why.empty()) return;
  Failure failure = friendFailure(from.url, why);
  failure.error = kDiffers;
  throw failure;
}

/// Opens a friend's file, and says in a failure whose file it is. The tree in it is the one that was planned.
std::unique_ptr<TFile> openFriend(const Friend &f, const Friend::File &from, RootGuard &guard, TTree *&tree) {
  std::unique_ptr<TFile> file;
  std::string path = from.tree;
  try {
    file = openInput(from.url, guard);
    tree = findTree(*file, path, guard);
  } catch (Failure &failure) {
    failure.msg = "the friend " + nameOf(f) + " in " + from.url + " cannot be opened here: " + failure.msg;
    failure.file = from.url;
    throw;
  }
  compareFriend(f, from, *file, *tree);
  return file;
}

/// A friend in several files, which ROOT opens one by one when the job's entries come to them: long after all of them
/// were compared with what was planned. So each is compared once more then. ROOT would also go on beside a file that is
/// gone by then, with the values of the last one.
class FriendChain : public TChain {
 public:
  FriendChain(const Friend &what, RootGuard &guard) : TChain(what.tree.c_str()), what_(what), guard_(guard) {
    for (const Friend::File &file : what.files)
      AddFile(file.url.c_str(), file.entries, file.tree.c_str());
  }

  /// Throws a Failure as openFriend does it.
  Long64_t LoadTree(Long64_t entry) override {
    const Long64_t local = TChain::LoadTree(entry);
    if (local < 0 && entry >= 0 && entry < what_.entries()) {
      compared_ = -1;
      const Friend::File &from = fileOf(entry);
      TTree *tree = nullptr;
      openFriend(what_, from, guard_, tree); // says more of what is wrong
      throw friendFailure(from.url, "the friend " + nameOf(what_) + " in " + from.url +
                                        " cannot be opened here: its entry " + std::to_string(entry) +
                                        " could not be found");
    }
    const int number = GetTreeNumber();
    if (local < 0 || number < 0 || number == compared_ || !GetFile() || !GetTree()) return local;
    compared_ = -1;
    compareFriend(what_, fileOf(GetTreeOffset()[number]), *GetFile(), *GetTree()); // a TChain leaves out empty files
    compared_ = number;
    return local;
  }

 private:
  /// The file that has an entry.
  const Friend::File &fileOf(long long entry) const {
    for (const Friend::File &file : what_.files) {
      if (entry < file.entries) return file;
      entry -= file.entries;
    }
    return what_.files.back();
  }

  const Friend &what_;
  RootGuard &guard_;
  int compared_ = -1; // the file that was compared last, by its number; -1 for none
};

} // namespace

bool PacketChain::moveTo(const std::string &file, const std::string &tree, long long start, long long entries,
                         int friends) {
  TObject *told = GetNotify();
  SetNotify(nullptr);
  while (countFriends(*this) > friends) {
    auto *element = static_cast<TFriendElement *>(GetListOfFriends()->Last());
    TTree *of = element->GetTree();
    const int before = countFriends(*this);
    if (of) RemoveFriend(of);
    if (countFriends(*this) == before) GetListOfFriends()->Remove(element);
  }
  start_ = start;
  entries_ = entries;
  fFiles->Delete();
  fNtrees = 0;
  fEntries = 0;
  fTreeNumber = -1; // what is open is closed by LoadTree()
  if (start > 0) AddFile("before.root", start, tree.c_str()); // never opened
  AddFile(file.c_str(), entries, tree.c_str());
  try {
    const bool ok = TChain::LoadTree(start) >= 0 && GetTree();
    SetNotify(told);
    return ok;
  } catch (...) { // a friend is not what was planned
    SetNotify(told);
    throw;
  }
}

bool PacketChain::evaluates(const std::string &expression, TTree &besides) {
  TFriendLock lock(&besides, kFindLeaf | kFindBranch | kGetBranch | kGetLeaf);
  return TTreeFormula("key", expression.c_str(), this).GetNdim() > 0;
}

Friends::Friends(const Selection &selection, RootGuard &guard) {
  for (const Friend &f : selection.friends()) {
    Open o{&f, nullptr, nullptr, nullptr};
    if (f.files.size() == 1) {
      o.file = openFriend(f, f.files[0], guard, o.tree);
    } else {
      for (const Friend::File &file : f.files)
        openFriend(f, file, guard, o.tree); // ROOT says less of what it cannot open, and when it is too late
      o.chain = std::make_unique<FriendChain>(f, guard);
      o.tree = o.chain.get();
    }
    if (!f.key.empty()) {
      guard.clear();
      o.tree->BuildIndex(f.key[0].c_str(), f.key.size() > 1 ? f.key[1].c_str() : "0");
      if (!o.tree->GetTreeIndex() && f.entries() > 0)
        throw keyFailure(f, f.key[0] + (f.key.size() > 1 ? "," + f.key[1] : ""), "its tree " + f.tree,
                         guard.firstError());
    }
    open_.push_back(std::move(o));
  }
}

Friends::~Friends() = default;

void Friends::addTo(TChain &chain) const {
  for (const Open &o : open_)
    chain.AddFriend(o.tree, o.what->alias.c_str());
}

void Friends::checkKeys(PacketChain &chain, RootGuard &guard) const {
  for (const Open &o : open_) {
    if (!o.tree->GetTreeIndex()) continue; // it has no entries
    for (const std::string &key : o.what->key) {
      guard.clear();
      const bool known = chain.evaluates(key, *o.tree);
      const std::string why = guard.firstError();
      guard.clear();
      if (!known) throw keyFailure(*o.what, key, std::string("the job's tree ") + chain.GetTree()->GetName(), why);
    }
  }
}

void Friends::readEnds(TChain &chain, long long number) const {
  for (const Open &o : open_) {
    const long long n = o.what->entries();
    if (!o.what->key.empty() || o.tree->GetTreeIndex() || n == 0 || number < n) continue;
    const long long last = o.tree->LoadTree(n - 1);
    if (last < 0) continue;
    chain.LoadTree(number); // sets the addresses of the friend's tree, and its entry to none
    o.tree->GetTree()->GetEntry(last);
  }
}

void findStoredFriends(TTree &tree, const std::string &url, const std::string &home) {
  TList *friends = tree.GetListOfFriends();
  if (!friends) return;
  TIter next(friends);
  while (auto *element = static_cast<TFriendElement *>(next())) {
    const std::string name = element->GetTitle();
    if (name.empty() || name.find(':') != std::string::npos) continue;
    const bool whole = name[0] == '/';
    bool found = whole && ::access(name.c_str(), R_OK) == 0;
    for (const std::string &dir : {home, folderWith(url)}) {
      const std::string path = dir + "/" + name;
      if (whole || found || dir.empty() || dir.find("://") != std::string::npos || ::access(path.c_str(), R_OK) != 0)
        continue;
      element->SetTitle(path.c_str());
      found = true;
    }
    if (found) continue;
    Failure f = friendFailure(name, "the tree in " + url + " has the friend " + element->GetName() + " in " + name +
                                        (whole ? ", which cannot be read here"
                                               : ", which is neither in the folder that the job was submitted from nor "
                                                 "beside the tree's file"));
    f.error = ENOENT;
    throw f;
  }
}

bool friendsOfItsOwn(const TTree &tree, int first, long long entries) {
  for (int i = first; i < countFriends(tree); ++i) {
    TTree *of = static_cast<TFriendElement *>(tree.GetListOfFriends()->At(i))->GetTree();
    if (!of || of->GetEntries() != entries) return false;
  }
  return true;
}

bool readByNumber(const TTree &tree, int first) {
  for (int i = first; i < countFriends(tree); ++i) {
    TTree *of = static_cast<TFriendElement *>(tree.GetListOfFriends()->At(i))->GetTree();
    if (of && !of->GetTreeIndex()) return true;
  }
  return false;
}

int countFriends(const TTree &tree) {
  TList *friends = tree.GetListOfFriends();
  return friends ? friends->GetSize() : 0;
}

} // namespace dtpnode
