#include "client.h"

#include "inputlist.h"
#include "merge.h"
#include "random.h"
#include "selector.h"
#include "world.h"

#include <TChain.h>
#include <TDirectory.h>
#include <TFile.h>
#include <TH1.h>
#include <TList.h>
#include <TNamed.h>
#include <TParameter.h>
#include <TROOT.h>
#include <TSelector.h>
#include <TSystem.h>
#include <TTree.h>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace dtpnode {

using nlohmann::json;

namespace {

Failure writeFailure(const std::string &path, const RootGuard &guard, const std::string &why) {
  std::string reason = guard.diskFull() ? "no space left on the disk" : why;
  if (!guard.diskFull() && !guard.firstError().empty()) reason = guard.firstError();
  Failure f("disk", "could not write " + path + ": " + reason);
  f.step = "write";
  return f;
}

void syncPath(const std::string &path, int flags) {
  Fd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0)
    throw Failure("disk", "could not sync " + path + ": " + std::strerror(errno));
}

std::string folderOf(const std::string &path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// A file that is removed again unless it was renamed.
struct TempFile {
  std::string path;
  bool keep = false;
  ~TempFile() {
    if (!keep) ::unlink(path.c_str());
  }
};

/// The tree that an object is. A chain, which is one to C++, is a list of files that has no baskets of its own.
TTree *treeOf(TObject &o) {
  return o.InheritsFrom(TChain::Class()) ? nullptr : dynamic_cast<TTree *>(&o);
}

bool writeObject(TFile &file, TObject &o) {
  if (TTree *tree = treeOf(o)) {
    tree->SetDirectory(&file); // its baskets move into the file
    const bool ok = tree->Write() > 0;
    tree->SetDirectory(nullptr);
    return ok;
  }
  return file.WriteTObject(&o, o.GetName()) > 0;
}

/// What an output list holds, for one who does not write it.
json objectsOf(const TList &list) {
  constexpr size_t most = 1000;
  json out = json::array();
  TIter next(&list);
  while (TObject *o = next()) {
    double entries = -1;
    if (auto *h = dynamic_cast<TH1 *>(o)) entries = h->GetEntries();
    if (TTree *tree = treeOf(*o)) entries = static_cast<double>(tree->GetEntries());
    if (out.size() < most)
      out.push_back({{"name", o->GetName()}, {"class", o->ClassName()}, {"entries", entries}});
  }
  return out;
}

/// Adds to the output of a PROOF session what its Terminate, in the user's process, has to know besides.
void addForSession(TList &output, const std::map<std::string, std::string> &members, long long units,
                   long long status) {
  auto *bound = new TList;
  bound->SetName("PROOF_SessionMembers");
  for (const auto &[member, object] : members)
    bound->Add(new TNamed(member.c_str(), object.c_str()));
  output.Add(bound);
  auto *info = new TList;
  info->SetName("PROOF_SessionInfo");
  info->Add(new TParameter<Long64_t>("entries", units));
  info->Add(new TParameter<Long64_t>("status", status));
  output.Add(info);
}

} // namespace

Client::Client(Channel &channel, RootGuard &guard, const SelectorClass &cls)
    : channel_(channel), guard_(guard), class_(cls) {}

int Client::run() {
  answer(channel_, guard_, [&](const json &request) { return handle(request); }, [] { return false; });
  return 0;
}

json Client::handle(const json &request) {
  const std::string op = request["op"];
  if (op == "start" && !selector_) return start(request);
  if (op == "finish" && selector_) return finish(request, true);
  if (op == "save" && !selector_) return save(request);
  throw Failure("internal", "client asked for " + op + " out of turn");
}

json Client::start(const json &request) {
  const std::string dir = request.value("dir", "");
  if (!dir.empty() && !gSystem->ChangeDirectory(dir.c_str()))
    throw Failure("disk", "could not enter " + dir + ": " + std::strerror(errno));
  for (const std::string &variable : request.value("env", std::vector<std::string>{})) {
    const size_t eq = variable.find('=');
    if (eq != std::string::npos)
      ::setenv(variable.substr(0, eq).c_str(), variable.c_str() + eq + 1, 1);
  }
  const json params = request.value("params", json::array());
  std::unique_ptr<GivenInput> input;
  guard_.run(Phase::Load, [&] { input = std::make_unique<GivenInput>(params, request.value("given", ""), guard_); });
  input_ = input->list();
  if (const auto seed = request.find("seed"); seed != request.end() && seed->is_number()) {
    random_ = installStreams(seed->get<uint64_t>());
    random_->enter(StreamRandom::kBegin);
  }
  enterUserWorld();
  session_ = request.value("session", false);
  guard_.run(Phase::Construct, [&] { selector_ = class_.make(); });
  guard_.run(Phase::Begin, [&] {
    if (session_) return; // Begin has run there
    selector_->SetInputList(input->list());
    selector_->SetOption(request.value("option", "").c_str());
    selector_->Begin(nullptr);
  });
  if (selector_->GetAbort() != TSelector::kContinue) {
    Failure f("abort", "the selector called Abort() in Begin" + guard_.abortReason());
    f.step = "Begin";
    throw f;
  }
  const std::string path = request.value("path", "");
  const int objects = input->list()->GetSize();
  if (!path.empty() && objects > 0) guard_.run(Phase::Begin, [&] { input->write(path, guard_); });
  return {{"op", "begun"}, {"objects", objects}};
}

// Writes the merged output as it was before Terminate(), which had crashed in another process.
json Client::save(const json &request) {
  guard_.run(Phase::Construct, [&] { selector_ = class_.make(); });
  return finish(request, false);
}

json Client::finish(const json &request, bool terminate) {
  const std::string path = request.at("path");
  json reply{{"op", "finished"}};
  long long status = 0;
  guard_.run(Phase::Merge, [&] {
    const std::vector<std::string> partials = request.at("partials");
    MergeTree tree(partials, path.empty() && !partials.empty() ? partials[0] : path, guard_);
    Merger merger(tree.paths(), guard_);
    TList &output = *selector_->GetOutputList();
    Merger::Group group;
    while (merger.next(group)) {
      if (isOurs(group.name)) continue;
      for (size_t i = 0; i < group.objects.size(); ++i) {
        TObject *o = group.objects[i].release();
        if (output.FindObject(o->GetName()))
          apart_.push_back(o);
        else
          output.Add(o);
      }
    }
    class_.bind(*selector_, output, merger.members());
    reply["units"] = merger.units();
    reply["canary"] = merger.canary();
    reply["apart"] = tree.apart(merger);
    merger.skipped().tell(reply);
    status = merger.statusFrom(selector_->GetStatus());
    if (session_) addForSession(output, merger.members(), merger.units(), status);
  });
  if (terminate && !session_) this->terminate(reply, request.value("canvases", std::vector<std::string>{}), status);
  if (path.empty()) reply["objects"] = objectsOf(*selector_->GetOutputList());
  int keys = 0;
  if (!path.empty()) guard_.run(Phase::Write, [&] { keys = writeOutput(path); });
  reply["keys"] = keys;
  return reply;
}

// Terminate finds what it would in a process that had done all. What it prints and draws is the user's.
void Client::terminate(json &reply, const std::vector<std::string> &formats, long long status) {
  if (random_) random_->enter(StreamRandom::kTerminate);
  enterUserWorld();
  std::vector<std::string> failed;
  guard_.run(Phase::Terminate, [&] {
    selector_->SetInputList(input_);
    if (status != selector_->GetStatus()) selector_->SetStatus(status);
    selector_->Terminate();
    reply["canvases"] = saveCanvases(formats, failed);
  });
  reply["unsaved"] = failed;
}

int Client::writeOutput(const std::string &path) {
  TDirectory::TContext keepDirectory;
  guard_.clear();
  // ROOT takes a path for a URL: a # in it would cut it. So it sees a name of ours, in a folder
  // that the system has entered.
  const std::string name = ".dtpnode-" + std::to_string(::getpid()) + ".root";
  TempFile temp{folderOf(path) + "/" + name};
  if (!gSystem->ChangeDirectory(folderOf(path).c_str()))
    throw writeFailure(path, guard_, std::strerror(errno));
  std::unique_ptr<TFile> file(TFile::Open(name.c_str(), "RECREATE"));
  if (!file || file->IsZombie()) throw writeFailure(path, guard_, "could not create it");
  std::vector<TObject *> all;
  TIter next(selector_->GetOutputList());
  while (TObject *o = next())
    all.push_back(o);
  all.insert(all.end(), apart_.begin(), apart_.end());
  int keys = 0;
  for (TObject *o : all) {
    if (!writeObject(*file, *o) || file->TestBit(TFile::kWriteError))
      throw writeFailure(path, guard_, std::string("could not write object ") + o->GetName());
    ++keys;
    guard_.enter(Phase::Write);
  }
  file->Close();
  if (file->TestBit(TFile::kWriteError) || guard_.diskFull())
    throw writeFailure(path, guard_, "write error");
  syncPath(temp.path, O_RDWR);
  if (::rename(temp.path.c_str(), path.c_str()) != 0)
    throw writeFailure(path, guard_, std::strerror(errno));
  temp.keep = true;
  syncPath(folderOf(path), O_RDONLY | O_DIRECTORY);
  return keys;
}

} // namespace dtpnode
