#include "results.h"

#include "kepttree.h"
#include "outputfile.h"
#include "rootguard.h"
#include "aside.h"

#include <TBufferFile.h>
#include <TChain.h>
#include <TFile.h>
#include <TFileCollection.h>
#include <TFileInfo.h>
#include <TList.h>
#include <TNamed.h>
#include <TROOT.h>
#include <TTree.h>
#include <TUrl.h>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <set>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace dtpnode {

using nlohmann::json;

namespace {

constexpr char kResultEnd[] = "DTPFILES";
constexpr size_t kMostOutputs = kMostFileRecords; // files of one job

std::string folderOf(const std::string &path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string baseOf(const std::string &path) {
  return path.substr(path.rfind('/') + 1);
}

void syncFolder(const std::string &path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0)
    throw Failure("disk", "could not sync " + path + ": " + std::strerror(errno));
}

bool makeFolders(const std::string &path) {
  for (size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at + 1);
    if (::mkdir(path.substr(0, at).c_str(), 0777) != 0 && errno != EEXIST) return false;
  }
  return true;
}

// name with "-k" before its ending.
std::string numbered(const std::string &name, const std::string &mark) {
  const size_t slash = name.rfind('/'), dot = name.rfind('.');
  const bool ending = dot != std::string::npos && (slash == std::string::npos || dot > slash + 1) && dot > 0;
  return ending ? name.substr(0, dot) + "-" + mark + name.substr(dot) : name + "-" + mark;
}

// The path without "." and "..", so that what is unpacked somewhere stays there.
std::string within(const std::string &path) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const std::string &part : parts)
    out += (out.empty() ? "" : "/") + part;
  return out;
}

std::string here() {
  char buffer[PATH_MAX];
  return ::getcwd(buffer, sizeof buffer) ? buffer : ".";
}

// The folder that a path leads to, links followed, as far as it exists.
std::string existing(std::string path) {
  char buffer[PATH_MAX];
  while (!::realpath(path.c_str(), buffer)) {
    if (path == "/" || path == ".") return "";
    path = folderOf(path);
  }
  return buffer;
}

bool isBelow(const std::string &path, const std::string &folder) {
  return path == folder || path.rfind(folder == "/" ? folder : folder + "/", 0) == 0;
}

bool isUTF8(const std::string &text) {
  try {
    json(text).dump();
    return true;
  } catch (const json::exception &) {
    return false;
  }
}

// No name of a hidden file, which a shell or a program might read at its start, and none that another host could not
// have, or would take for a path (exec.ReadResult refuses those): "_" stands for what cannot be.
std::string shown(std::string path) {
  const bool utf8 = isUTF8(path);
  for (size_t at = 0; at < path.size(); ++at) {
    const auto c = static_cast<unsigned char>(path[at]);
    const bool hides = c == '.' && (at == 0 || path[at - 1] == '/');
    if (hides || c == '\\' || c < ' ' || c == 0x7f || (c >= 0x80 && !utf8)) path[at] = '_';
  }
  return path;
}

constexpr char kEnding[] = ".root";
constexpr size_t kMostPart = 200, kMostName = 1000; // bytes of a name between slashes, and of all of it

// The first bytes of a text, which ends at a character.
std::string cut(const std::string &text, size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80)
    --most;
  return text.substr(0, most);
}

// The name of a ROOT file, as short as file systems want it. No other program takes what ends so for its own, such as a
// Makefile or a macro.
std::string fitting(const std::string &name) {
  const size_t ending = std::strlen(kEnding);
  const bool ends = name.size() > ending && name.compare(name.size() - ending, ending, kEnding) == 0;
  std::string rest = ends ? name.substr(0, name.size() - ending) : name, out;
  for (size_t at = 0; at <= rest.size();) {
    const size_t end = std::min(rest.find('/', at), rest.size());
    out += (out.empty() ? "" : "/") + cut(rest.substr(at, end - at), kMostPart);
    at = end + 1;
  }
  return (out.size() > kMostName ? baseOf(out) : out) + kEnding;
}

bool isFolder(const std::string &path) {
  struct stat st{};
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

// The attribute of files that a job wrote. Its value says which jobs may replace the file, those with the same mark, as
// long as nobody has changed it: size and time stand behind the mark (exec/placed.go).
constexpr char kOutputMark[] = "user.dtpnode.output";

std::string stamped(const std::string &mark, const struct stat &st) {
  const long long ns = static_cast<long long>(st.st_mtim.tv_sec) * 1'000'000'000 + st.st_mtim.tv_nsec;
  return mark + " " + std::to_string(st.st_size) + " " + std::to_string(ns);
}

bool setMark(int fd, const std::string &mark) {
  struct stat st{};
  if (::fstat(fd, &st) != 0) return false;
  const std::string value = stamped(mark, st);
  return ::fsetxattr(fd, kOutputMark, value.data(), value.size(), 0) == 0;
}

std::string markAt(const std::string &path) {
  char value[200];
  const ssize_t n = ::getxattr(path.c_str(), kOutputMark, value, sizeof value);
  return n > 0 ? std::string(value, static_cast<size_t>(n)) : "";
}

// Gives what is at path another name unless a job with that mark has written it, and returns that name.
std::string spare(const std::string &path, const std::string &mark) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0 || markAt(path) == stamped(mark, st)) return "";
  for (int i = 1;; ++i) {
    const std::string other = numbered(path, i == 1 ? "before" : "before-" + std::to_string(i));
    if (nameAnew(path, other)) return other;
    if (errno == EEXIST && i < 10000) continue;
    throw Failure("disk", "could not write " + path + ": there is a file of that name, which could not be given " +
                              "another: " + std::strerror(errno));
  }
}

bool sameFile(const std::string &a, const std::string &b) {
  struct stat x{}, y{};
  return ::stat(a.c_str(), &x) == 0 && ::stat(b.c_str(), &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

bool writeFully(int fd, const std::string &text, uint64_t at) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = ::pwrite(fd, text.data() + done, text.size() - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

std::string bigEndian(uint64_t v) {
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8)
    out += static_cast<char>(v >> shift);
  return out;
}

} // namespace

Results::Results(std::string path, std::string beside, RootGuard &guard)
    : path_(std::move(path)), beside_(std::move(beside)), guard_(guard) {}

Results::~Results() {
  if (!temp_.empty()) ::unlink(temp_.c_str());
}

Failure Results::failure(const std::string &why) const {
  std::string reason = guard_.diskFull() ? "no space left on the disk" : why;
  if (!guard_.diskFull() && !guard_.firstError().empty()) reason = guard_.firstError();
  Failure f("disk", "could not write " + (path_.empty() ? "the output" : path_) + ": " + reason);
  f.step = "write";
  return f;
}

// The file that becomes the result. It is open from the first large tree on until the objects are written beside it, so
// that Terminate reads the trees where they stay.
TFile &Results::main() {
  if (main_) return *main_;
  guard_.clear();
  const std::string folder = path_.empty() ? folderOf(beside_) : folderOf(path_);
  temp_ = folder + "/.dtpnode-" + std::to_string(::getpid()) + ".root";
  fd_ = Fd(::open(temp_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (fd_.get() < 0) {
    const int why = errno;
    temp_.clear();
    throw failure(std::strerror(why));
  }
  TDirectory::TContext keepDirectory;
  main_ = std::make_unique<SpanFile>(fd_.get(), 0, ROOT::RCompressionSetting::EDefaults::kUseCompiledDefault, used_);
  if (main_->IsZombie()) throw failure("could not create it");
  gROOT->GetListOfFiles()->Remove(main_.get()); // it is nobody's to close
  return *main_;
}

// A tree in memory would move its rows to a file that Terminate puts it in, and the result would have none.
TObject *Results::keepInMemory(TObject *object) {
  std::unique_ptr<TTree> kept = newKeptTree(object->ClassName());
  if (!kept || static_cast<TTree *>(object)->GetDirectory()) return object;
  TBufferFile buffer(TBuffer::kWrite);
  buffer.MapObject(object);
  object->Streamer(buffer);
  buffer.SetReadMode();
  buffer.ResetMap();
  buffer.SetBufferOffset(0);
  buffer.MapObject(kept.get());
  kept->Streamer(buffer);
  delete object;
  return kept.release();
}

// Terminate takes a tree of the output for one in memory, and may write it to a file of its own.
TTree *Results::keep(TTree *tree) {
  const std::string name = tree->GetName();
  delete tree;
  TDirectory::TContext keepDirectory;
  TKey *key = main().GetKey(name.c_str());
  tree = key ? readKeptTree(*key) : nullptr;
  if (!tree) throw failure("could not read the tree " + name);
  return tree;
}

void Results::take(Merger &merger, const Merger::FileGroup &group, TList &output, std::vector<TObject *> &apart) {
  if (!Merger::hasTrees(group)) {
    waiting_.push_back(group);
    return;
  }
  const auto add = [&](TTree *tree) {
    if (output.FindObject(tree->GetName())) {
      apart.push_back(tree);
    } else {
      output.Add(keep(tree));
    }
  };
  if (!group.apart)
    if (TTree *tree = merger.writeTree(group.records, main())) return add(tree);
  if (!group.apart) merger.noteApart(group.name);
  TDirectory::TContext keepDirectory;
  main().Delete((group.name + ";*").c_str());
  for (const Record &r : group.records) {
    TTree *tree = merger.writeTree({r}, main());
    if (!tree) throw failure("could not write the tree " + group.name);
    add(tree);
  }
}

void Results::place(Merger &merger, TList &output, const Places &places) {
  std::vector<std::pair<TObject *, OutputFile>> objects;
  TIter next(&output);
  while (TObject *o = next()) {
    OutputFile file;
    if (!describeOutputFile(*o, file)) continue;
    objects.emplace_back(o, file);
    wanted_[file.path] = {file.name, file.dataset, file.registers, file.overwrites};
  }
  if (!places.write) return; // the files go straight into the result
  if (!places.dir.empty() && !places.away && !makeFolders(places.dir))
    throw failure("could not make the folder " + places.dir + " of the output files: " + std::strerror(errno));
  root_ = places.dir.empty() || places.away ? here() : existing(places.dir);
  placed_ = true;
  mark_ = places.mark;
  eachFile(merger, places, [&](File &file, const Merger::FileGroup &group, const std::vector<Record> &pack,
                               std::string &why) { return placeFile(merger, file, group, pack, why); });
  for (auto &[object, file] : objects) {
    if (!file.dataset.empty()) {
      collect(*object, file.dataset, output);
      continue;
    }
    for (const File &f : files_)
      if (f.record == file.path) {
        placeOutputFile(*object, f.path, f.path);
        break;
      }
  }
}

// Calls write for each file that there shall be. Where it says that files cannot be merged, each becomes one itself.
void Results::eachFile(Merger &merger, const Places &places, const Write &write) {
  for (const Merger::FileGroup &group : waiting_) {
    const auto it = wanted_.find(group.name);
    Wanted wanted = it == wanted_.end() ? Wanted{} : it->second;
    if (wanted.name.empty()) wanted.name = group.name;
    size_t number = 0;
    const auto next = [&](const std::vector<Record> &pack, std::string &why) {
      if (files_.size() == kMostOutputs)
        throw Failure("code", "the selector has written more than " + std::to_string(kMostOutputs) +
                                  " output files, the last one " + clipped(wanted.name));
      File file;
      file.record = group.name;
      file.dataset = wanted.dataset;
      file.registers = wanted.registers;
      file.replaces = wanted.replaces;
      if (!why.empty()) file.note = "not merged with the others: " + why;
      if (group.apart && group.cls == kFileClass) file.note = "not merged with the others, since that failed";
      name(file, wanted, number, places);
      if (!write(file, group, pack, why)) return false;
      files_.push_back(std::move(file));
      ++number;
      return true;
    };
    for (const std::vector<Record> &pack : Merger::packs(group)) {
      std::string why;
      if (next(pack, why)) continue;
      merger.noteApart(group.name);
      for (const Record &r : pack)
        next({r}, why);
    }
  }
}

void Results::name(File &file, const Wanted &wanted, size_t number, const Places &places) const {
  const std::string root = root_.empty() ? here() : root_;
  std::string path = wanted.name;
  for (const char *side : {"client:", "master:"})
    if (path.rfind(side, 0) == 0) path = path.substr(std::strlen(side));
  if (path.rfind("file:", 0) == 0) {
    path = TUrl(path.c_str()).GetFile();
  } else if (path.find("://") != std::string::npos) {
    file.note = "not copied to " + path + ": the name comes from the nodes that worked, so copy it there yourself";
    path = baseOf(TUrl(path.c_str()).GetFile());
  }
  if (number > 0 || !wanted.dataset.empty()) path = numbered(path, std::to_string(number + 1));
  // Names come from the nodes that worked, so that none leads out of the folder of the job, or of the one that its user
  // has named.
  const std::string asked = path;
  const bool absolute = path.rfind('/', 0) == 0;
  if (absolute && !places.away) {
    std::string there = folderOf(path), rest = "/" + baseOf(path); // what is there, and what is to be made
    while (there != "/" && ::access(there.c_str(), F_OK) != 0) {
      rest = "/" + baseOf(there) + rest;
      there = folderOf(there);
    }
    there = existing(there);
    if (isBelow(there, root)) path = (there + rest).substr(root == "/" ? 1 : root.size() + 1);
  }
  file.name = shown(path.rfind('/', 0) == 0 ? baseOf(path) : within(path));
  file.name = file.name.empty() ? "output.root" : fitting(file.name);
  const auto any = [&](auto is) { return std::any_of(files_.begin(), files_.end(), is); };
  // Neither is a file a folder of another, nor are there two of one name.
  if (any([&](const File &f) { return f.name != file.name && isBelow(file.name, f.name); }))
    file.name = baseOf(file.name);
  const std::string first = file.name;
  for (int i = 2; any([&](const File &f) { return isBelow(f.name, file.name); }); ++i)
    file.name = numbered(first, "of-" + std::to_string(i));
  if (!places.write) return;
  if (!isBelow(existing(root + "/" + folderOf(file.name)), root)) file.name = baseOf(file.name); // through a link
  file.path = root + "/" + file.name;
  if (!places.away && file.path != asked && within(asked) != file.name && file.note.empty())
    file.note = "not written to " + asked + ", which is outside of " +
                (places.dir.empty() ? "the folder of the job (--output-dir names another)" : root) +
                ", hidden, too long, no name that all hosts can have, or does not end in .root";
  for (const std::string &input : places.inputs)
    if (file.path == input || sameFile(file.path, input)) {
      file.path = numbered(file.path, "merged");
      file.note = "not written to " + input + ", which is an input of the job";
      break;
    }
}

// Makes the folder that a file comes to, and returns it. Where something else is in the way, the file gets another name.
std::string Results::makeRoom(File &file) const {
  const std::string folder = folderOf(file.path);
  if (makeFolders(folder) && isFolder(folder) && !isFolder(file.path)) return folder;
  file.note += (file.note.empty() ? "not written to " : "; nor to ") + file.path + ", since something else is in the way";
  const std::string first = baseOf(file.name);
  const auto taken = [&](const File &f) { return isBelow(f.name, file.name); };
  file.name = first;
  file.path = root_ + "/" + file.name;
  for (int i = 2; std::any_of(files_.begin(), files_.end(), taken) || ::access(file.path.c_str(), F_OK) == 0; ++i) {
    file.name = numbered(first, "of-" + std::to_string(i));
    file.path = root_ + "/" + file.name;
  }
  return root_;
}

bool Results::placeFile(Merger &merger, File &file, const Merger::FileGroup &group, const std::vector<Record> &pack,
                        std::string &why) {
  guard_.clear(); // what was met before is no reason for what fails now
  const std::string folder = makeRoom(file);
  const std::string temp = folder + "/.dtpnode-" + std::to_string(::getpid()) + ".output.root";
  Fd fd(::open(temp.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (fd.get() < 0) throw failure("could not write " + file.path + ": " + std::strerror(errno));
  try {
    if (!merger.writePack(group, pack, fd.get(), 0, file.size, why)) {
      ::unlink(temp.c_str());
      return false;
    }
    describe(file, {fd.get(), 0, file.size});
    const bool marked = setMark(fd.get(), mark_);
    const std::string before = sameContent(fd.get(), file.path) ? "" : spare(file.path, mark_);
    if (!before.empty())
      file.note += (file.note.empty() ? "" : "; ") + ("what was there is " + baseOf(before) + " now") +
                   (marked ? "" : ", since this file system keeps no mark of what a job wrote");
    if (::fsync(fd.get()) != 0 || ::rename(temp.c_str(), file.path.c_str()) != 0)
      throw failure("could not write " + file.path + ": " + std::strerror(errno));
  } catch (Failure &f) {
    ::unlink(temp.c_str());
    // Which of the disks is full only the folder says: the result is elsewhere, and so is what is merged.
    const bool full = guard_.diskFull() || f.msg.find("No space left") != std::string::npos ||
                      f.msg.find("Disk quota") != std::string::npos;
    if (f.kind == "disk" && full)
      f.msg = "could not write the output file " + file.path + ": no space left on the disk of " + folder;
    throw;
  } catch (...) {
    ::unlink(temp.c_str());
    throw;
  }
  syncFolder(folder);
  return true;
}

void Results::describe(File &file, const Span &span) const {
  constexpr size_t most = 20; // trees told of one file
  SpanFile in(span);
  if (in.IsZombie()) return;
  for (const auto &[path, entries] : contentOf(in).trees)
    if (file.trees.size() < most) file.trees.push_back({{"name", path}, {"entries", entries}});
  guard_.clear(); // a file that ROOT cannot read is delivered as it is
}

// The files of a data set, in place of the object that stood for one of them on each side.
void Results::collect(TObject &object, const std::string &dataset, TList &output) {
  TFileCollection *files = takeFileCollection(object);
  if (!files) files = new TFileCollection(dataset.c_str());
  std::string tree = TString(files->GetDefaultTreeName()).Strip(TString::kLeading, '/').Data();
  for (const File &file : files_)
    if (tree.empty() && file.dataset == dataset && !file.trees.empty()) tree = file.trees[0].at("name");
  if (!tree.empty()) files->SetDefaultTreeName(("/" + tree).c_str());
  for (File &file : files_) {
    if (file.dataset != dataset) continue;
    file.tree = tree;
    auto *info = new TFileInfo(("file://" + file.path).c_str(), static_cast<Long64_t>(file.size));
    for (const auto &tree : file.trees) {
      auto *meta = new TFileInfoMeta(("/" + tree.at("name").get<std::string>()).c_str(), "TTree",
                                     tree.at("entries").get<Long64_t>());
      info->AddMetaData(meta);
    }
    files->Add(info);
  }
  files->Update();
  output.Remove(&object);
  output.Add(files);
}

namespace {

void move(TTree &tree, TDirectory *dir) {
  if (auto *kept = dynamic_cast<KeptTree *>(&tree))
    kept->moveTo(dir);
  else
    tree.SetDirectory(dir);
}

} // namespace

// Trees that Terminate has renamed, or taken out of the output, are in the file from before.
void Results::dropOthers(TFile &file, const std::vector<TObject *> &objects) {
  std::set<std::string> gone;
  for (const TObject *key : *file.GetListOfKeys())
    gone.insert(key->GetName());
  for (const TObject *o : objects)
    gone.erase(o->GetName());
  for (const std::string &name : gone)
    file.Delete((name + ";*").c_str());
}

int Results::write(Merger &merger, const std::vector<TObject *> &objects) {
  TDirectory::TContext keepDirectory;
  guard_.clear(); // what main() meets when it begins the file is told, too
  TFile &file = main();
  int keys = 0;
  dropOthers(file, objects);
  for (TObject *o : objects) {
    // A chain is a tree to C++, and has no baskets of its own.
    auto *tree = o->InheritsFrom(TChain::Class()) ? nullptr : dynamic_cast<TTree *>(o);
    bool ok = false;
    if (tree) {
      move(*tree, &file); // and its baskets
      file.cd();
      ok = tree->Write(nullptr, TObject::kOverwrite) > 0;
      move(*tree, nullptr);
    } else {
      ok = file.WriteTObject(o, o->GetName()) > 0;
    }
    if (!ok || file.TestBit(TFile::kWriteError))
      throw failure(std::string("could not write object ") + o->GetName());
    ++keys;
    guard_.enter(Phase::Write);
  }
  file.Close();
  if (file.TestBit(TFile::kWriteError) || guard_.diskFull()) throw failure("write error");
  append(merger);
  if (path_.empty()) return keys;
  if (::fsync(fd_.get()) != 0 || ::rename(temp_.c_str(), path_.c_str()) != 0) throw failure(std::strerror(errno));
  temp_.clear();
  syncFolder(folderOf(path_));
  return keys;
}

// Puts the output files behind the output list.
void Results::append(Merger &merger) {
  const uint64_t mainSize = *used_;
  if (placed_) {
    for (File &file : files_)
      copyIn(file);
  } else {
    eachFile(merger, {}, [&](File &file, const Merger::FileGroup &group, const std::vector<Record> &pack,
                             std::string &why) {
      file.offset = *used_;
      if (!merger.writePack(group, pack, fd_.get(), file.offset, file.size, why)) return false;
      describe(file, {fd_.get(), file.offset, file.size});
      *used_ += file.size;
      return true;
    });
  }
  if (files_.empty()) return;
  json index = json::array();
  for (const File &file : files_)
    if (file.size > 0) index.push_back({{"name", file.name}, {"offset", file.offset}, {"size", file.size}});
  // What a merge that failed has left behind the files goes.
  if (::ftruncate(fd_.get(), static_cast<off_t>(*used_)) != 0) throw failure(std::strerror(errno));
  const std::string text = index.dump(-1, ' ', false, json::error_handler_t::replace);
  const std::string end = text + bigEndian(text.size()) + bigEndian(mainSize) + kResultEnd;
  if (!writeFully(fd_.get(), end, *used_)) throw failure(std::strerror(errno));
}

// Copies an output file as it is now, for Terminate may have changed it.
void Results::copyIn(File &file) {
  Fd fd(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st{};
  if (fd.get() < 0 || ::fstat(fd.get(), &st) != 0) {
    file.size = 0;
    file.note = "Terminate has removed it";
    return;
  }
  file.offset = *used_;
  file.size = static_cast<uint64_t>(st.st_size);
  if (!path_.empty() && !copySpan({fd.get(), 0, file.size}, fd_.get(), file.offset))
    throw failure(std::strerror(errno));
  *used_ += file.size;
  if (markAt(file.path).rfind(mark_ + " ", 0) == 0) setMark(fd.get(), mark_); // Terminate may change it, and is the job's
  guard_.enter(Phase::Write);
}

json Results::told() const {
  constexpr size_t most = 1000; // files told of
  json out = json::array();
  std::set<std::string> cut, said; // data sets with files that are not told of
  for (size_t i = most; i < files_.size(); ++i)
    cut.insert(files_[i].dataset);
  for (File file : files_) {
    if (out.size() == most) break;
    if (file.registers && cut.count(file.dataset)) {
      file.registers = false;
      if (said.insert(file.dataset).second)
        file.note += std::string(file.note.empty() ? "" : "; ") + "not registered: the job has written " +
                     std::to_string(files_.size()) + " files, and registers 1000 at most; use `dtpnode dataset add`";
    }
    out.push_back({{"name", file.name}, {"path", file.path},   {"dataset", file.dataset}, {"note", file.note},
                   {"size", file.size}, {"trees", file.trees}, {"tree", file.tree}, {"register", file.registers},
                   {"replace", file.replaces}});
  }
  return out;
}

} // namespace dtpnode
