#include "localfiles.h"

#include "guard.h"
#include "outputfile.h"

#include <TBasket.h>
#include <TBranch.h>
#include <TBuffer.h>
#include <TChain.h>
#include <TCollection.h>
#include <TError.h>
#include <TFile.h>
#include <TLeaf.h>
#include <TList.h>
#include <TMemFile.h>
#include <TObjArray.h>
#include <TParameter.h>
#include <TROOT.h>
#include <TTree.h>
#include <TUrl.h>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dtpnode {

namespace {

constexpr const char *kOwnPrefix = ".dtpnode-";
constexpr size_t kMostFiles = 20000; // looked at in one folder, with all below it
constexpr size_t kMostNamed = 50;    // of other files that a generation leaves
constexpr Long64_t kSpillAt = 8 << 20; // bytes of a tree, before compression

Failure folderFailure(const std::string &path, const std::string &why) {
  Failure f("disk", "could not keep " + path + ", which the selector has written: " + why);
  f.step = "SlaveTerminate";
  return f;
}

bool startsAsROOTFile(const std::string &path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char magic[4];
  return fd.get() >= 0 && ::pread(fd.get(), magic, sizeof magic, 0) == sizeof magic &&
         std::memcmp(magic, "root", sizeof magic) == 0;
}

// The bytes of a ROOT file's UUID, which it gets when it is made, and keeps when something is added to it; empty for
// what is no ROOT file.
std::string uuidIn(const std::string &path) {
  constexpr uint32_t large = 1000000; // added to the version of a file with pointers of 8 bytes
  constexpr size_t size = 16, at = 47, atInLarge = 59;
  unsigned char head[atInLarge + size];
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0 || ::pread(fd.get(), head, sizeof head, 0) != sizeof head || std::memcmp(head, "root", 4) != 0)
    return "";
  const uint32_t version = uint32_t{head[4]} << 24 | uint32_t{head[5]} << 16 | uint32_t{head[6]} << 8 | head[7];
  return {reinterpret_cast<const char *>(head) + (version < large ? at : atInLarge), size};
}

std::string realPath(const std::string &path) {
  char buffer[PATH_MAX];
  return ::realpath(path.c_str(), buffer) ? buffer : "";
}

// ROOT makes these itself, for classes without a dictionary.
bool isScaffold(const std::string &name) {
  return name.rfind(kOwnPrefix, 0) == 0 || name.rfind("AutoDict_", 0) == 0;
}

bool isSound(const Span &span) {
  SpanFile file(span);
  return !file.IsZombie() && !file.TestBit(TFile::kRecovered);
}

} // namespace

bool fillsMemory(TTree &tree) {
  // A chain, which is a tree to C++, is a list of files that has no baskets of its own.
  if (tree.InheritsFrom(TChain::Class()) || tree.GetCurrentFile() || tree.GetEntries() == 0) return false;
  Long64_t bytes = 0;
  TIter leaves(tree.GetListOfLeaves());
  const TBranch *last = nullptr;
  while (TObject *leaf = leaves()) {
    TBranch *branch = static_cast<TLeaf *>(leaf)->GetBranch();
    if (branch == last) continue;
    last = branch;
    TIter baskets(branch->GetListOfBaskets());
    while (TObject *basket = baskets())
      if (TBuffer *buffer = static_cast<TBasket *>(basket)->GetBufferRef()) bytes += buffer->BufferSize();
    if (bytes > kSpillAt) return true;
  }
  return false;
}

void refuseDirectories(const TCollection &output) {
  for (TObject *o : output) {
    if (!o) continue;
    if (o->InheritsFrom(TDirectory::Class()))
      throw Failure("code", std::string("the output list has \"") + o->GetName() + "\" of class " + o->ClassName() +
                                ", which cannot be merged: add what is in it to the output list, or a TList or TFolder "
                                "of it; for a file with folders use TProofOutputFile, or open a TFile in SlaveBegin "
                                "and leave it out of the list");
    // Other collections, such as TRefArray, hold what may be the property of anybody.
    if (o->InheritsFrom(TList::Class()) || o->InheritsFrom(TObjArray::Class()))
      refuseDirectories(static_cast<TCollection &>(*o));
  }
}

void giveDirectories(const TCollection &output) {
  for (TObject *o : output) {
    if (!o) continue;
    if (auto *tree = dynamic_cast<TTree *>(o)) {
      if (!tree->GetDirectory() && !tree->InheritsFrom(TChain::Class())) tree->SetDirectory(gROOT);
    } else if (o->InheritsFrom(TList::Class()) || o->InheritsFrom(TObjArray::Class())) {
      giveDirectories(static_cast<TCollection &>(*o));
    }
  }
}

void LocalFiles::begin() {
  dir_ = realPath(".");
  before_.clear();
  uuids_.clear();
  long long passedOver = 0;
  for (const std::string &path : walk(before_, passedOver))
    if (const std::string uuid = uuidIn(dir_ + "/" + path); !uuid.empty()) uuids_[path] = uuid;
}

// Lists the regular files below the folder, in the order of their names, and what each is. passedOver counts the files
// beyond kMostFiles, and the folders that cannot be read.
std::vector<std::string> LocalFiles::walk(std::map<std::string, Seen> &found, long long &passedOver) const {
  std::vector<std::string> folders{""};
  while (!folders.empty() && !dir_.empty()) {
    const std::string at = folders.back();
    folders.pop_back();
    DIR *dir = ::opendir((dir_ + "/" + at).c_str());
    if (!dir) {
      ++passedOver;
      continue;
    }
    while (const dirent *e = ::readdir(dir)) {
      const std::string name = e->d_name, path = at.empty() ? name : at + "/" + name;
      struct stat st{};
      if (name == "." || name == ".." || ::lstat((dir_ + "/" + path).c_str(), &st) != 0) continue;
      if (S_ISDIR(st.st_mode)) folders.push_back(path);
      if (!S_ISREG(st.st_mode)) continue;
      if (found.size() == kMostFiles) {
        ++passedOver;
        continue;
      }
      found[path] = {st.st_ino, static_cast<unsigned long long>(st.st_size), st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
    }
    ::closedir(dir);
  }
  std::vector<std::string> paths;
  for (const auto &entry : found)
    paths.push_back(entry.first);
  return paths;
}

// The path within the folder, empty for one that is not below it.
std::string LocalFiles::inside(const std::string &path) const {
  const std::string real = dir_.empty() ? "" : realPath(path);
  return !real.empty() && real.rfind(dir_ + "/", 0) == 0 ? real.substr(dir_.size() + 1) : "";
}

void LocalFiles::spill(const TList &output) {
  giveDirectories(output);
  TIter next(&output);
  while (TObject *o = next()) {
    auto *tree = dynamic_cast<TTree *>(o);
    if (!tree || !fillsMemory(*tree) || spilled(*tree)) continue;
    const std::string path = dir_ + "/" + kOwnPrefix + "tree-" + std::to_string(spilled_.size()) + ".root";
    Spilled s{tree, Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)), nullptr,
              std::make_shared<uint64_t>(0)};
    if (s.fd.get() < 0) throw folderFailure(path, std::strerror(errno));
    TDirectory::TContext keepDirectory;
    constexpr int compression = ROOT::RCompressionSetting::EDefaults::kUseCompiledDefault;
    s.file = std::make_unique<SpanFile>(s.fd.get(), 0, compression, s.used);
    gROOT->GetListOfFiles()->Remove(s.file.get());
    tree->SetDirectory(s.file.get());
    tree->FlushBaskets();
    spilled_.push_back(std::move(s));
  }
}

LocalFiles::Spilled *LocalFiles::spilled(const TObject &object) {
  for (Spilled &s : spilled_)
    if (s.tree == &object && s.tree->GetDirectory() == s.file.get()) return &s;
  return nullptr;
}

// The files in the folder that are open for writing. Of two that were opened at one path, the first has lost its name
// and is none of them.
std::vector<TFile *> LocalFiles::openHere() const {
  std::vector<TFile *> out;
  TIter next(gROOT->GetListOfFiles());
  while (TObject *o = next()) {
    auto *file = dynamic_cast<TFile *>(o);
    if (!file || !file->IsOpen() || !file->IsWritable() || file->InheritsFrom(TMemFile::Class())) continue;
    const std::string path = file->GetEndpointUrl()->GetFile();
    struct stat open{}, named{};
    if (inside(path).empty() || ::fstat(file->GetFd(), &open) != 0 || ::stat(path.c_str(), &named) != 0) continue;
    if (open.st_dev == named.st_dev && open.st_ino == named.st_ino) out.push_back(file);
  }
  return out;
}

void LocalFiles::warnOfOthers() const {
  TIter next(gROOT->GetListOfFiles());
  while (TObject *o = next()) {
    auto *file = dynamic_cast<TFile *>(o);
    if (!file || !file->IsOpen() || !file->IsWritable() || file->InheritsFrom(TMemFile::Class())) continue;
    const std::string path = file->GetEndpointUrl()->GetFile();
    struct stat st{};
    if (dir_.empty() || ::stat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) || !inside(path).empty()) continue;
    Warning("dtpnode",
            "%s is not in the working folder: all processes of the job write to this one file, each over the others, "
            "and it is no output. Open it by a name without a folder, or with a TProofOutputFile: then it is merged",
            path.c_str());
  }
}

void LocalFiles::flush() {
  TDirectory::TContext keepDirectory;
  for (TFile *file : openHere()) {
    // What has been written already gets no second cycle.
    file->Write(nullptr, TObject::kOverwrite);
    if (file->TestBit(TFile::kWriteError)) throw folderFailure(file->GetName(), "write error");
  }
}

void LocalFiles::addObjects(BlobWriter &out, const TList &output, const std::vector<TObject *> &parts,
                            const std::vector<TObject *> &behind) {
  refuseDirectories(output);
  std::map<std::pair<std::string, std::string>, uint32_t> seen;
  TIter next(&output);
  while (TObject *o = next())
    addObject(out, *o, seen[{o->GetName(), o->ClassName()}]++);
  for (TObject *o : behind)
    addObject(out, *o, seen[{o->GetName(), o->ClassName()}]++);
  for (TObject *o : parts)
    addObject(out, *o, 0);
}

void LocalFiles::addObject(BlobWriter &out, TObject &object, uint32_t ordinal) {
  OutputFile file;
  if (describeOutputFile(object, file)) {
    const std::string path = inside(file.path);
    if (!path.empty()) classes_[path] = file.dataset.empty() ? kFileClass : kPartClass;
    placeOutputFile(object, path, "");
  }
  if (Spilled *s = spilled(object))
    addSpilled(out, *s, ordinal);
  else
    out.add(object, object.GetName(), ordinal, false);
}

void LocalFiles::addSpilled(BlobWriter &out, Spilled &s, uint32_t ordinal) {
  const std::string name = s.tree->GetName(), cls = s.tree->ClassName();
  TDirectory::TContext keepDirectory;
  s.file->cd();
  const bool ok = s.tree->Write(nullptr, TObject::kOverwrite) > 0;
  s.tree->SetDirectory(nullptr); // user code may still hold it
  s.file->Close();
  if (!ok || s.file->TestBit(TFile::kWriteError)) throw folderFailure("the tree " + name, "write error");
  out.addFile({s.fd.get(), 0, *s.used}, name, cls, ordinal, false);
}

void LocalFiles::note(std::map<std::string, long long> &files, const std::string &name) {
  ++files[files.size() < kMostNamed || files.count(name) ? name : ""];
}

void LocalFiles::writeTimes(BlobWriter &out, const std::map<std::string, long long> &files, const char *record) {
  if (files.empty()) return;
  TList list;
  list.SetOwner();
  for (const auto &[name, times] : files)
    list.Add(new TParameter<Long64_t>(name.c_str(), times, '+'));
  out.add(list, record, 0, false);
}

void LocalFiles::addFiles(BlobWriter &out) {
  std::vector<TFile *> open = openHere();
  for (TFile *file : open)
    file->Close("nodelete");
  std::map<std::string, Seen> now;
  long long passedOver = 0;
  for (const std::string &path : walk(now, passedOver)) {
    const Seen &seen = now[path];
    const auto was = before_.find(path);
    const bool shipped = was != before_.end();
    if (shipped && was->second.inode == seen.inode && was->second.size == seen.size &&
        was->second.seconds == seen.seconds && was->second.nanoseconds == seen.nanoseconds)
      continue;
    if (isScaffold(path.substr(path.rfind('/') + 1))) continue;
    const std::string full = dir_ + "/" + path;
    Fd fd(::open(full.c_str(), O_RDONLY | O_CLOEXEC));
    const Span span{fd.get(), 0, seen.size};
    // A file that was shipped is the same in each generation, which a merge would count as often as there are some. One
    // that was written anew in its place has another UUID, and is output.
    const bool added = shipped && (uuids_.count(path) == 0 || uuidIn(full) == uuids_[path]);
    if (added || fd.get() < 0 || !startsAsROOTFile(full) || !isSound(span)) {
      note(added ? changed_ : left_, path);
      continue;
    }
    const auto cls = classes_.find(path);
    out.addFile(span, path, cls == classes_.end() ? kFileClass : cls->second, 0, false);
  }
  if (passedOver > 0) left_[""] += passedOver;
  writeTimes(out, left_, kLeft);
  writeTimes(out, changed_, kChanged);
}

} // namespace dtpnode
