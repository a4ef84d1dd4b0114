#include "client.h"

#include "axes.h"
#include "drawn.h"
#include "inputlist.h"
#include "limits.h"
#include "merge.h"
#include "proof.h"
#include "random.h"
#include "results.h"
#include "selector.h"
#include "world.h"

#include <TChain.h>
#include <TDirectory.h>
#include <TFile.h>
#include <TH1.h>
#include <THashList.h>
#include <TList.h>
#include <TNamed.h>
#include <TParameter.h>
#include <TROOT.h>
#include <TSelector.h>
#include <TSystem.h>
#include <TTree.h>
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <set>
#include <unistd.h>
#include <unordered_map>

namespace dtpnode {

using nlohmann::json;

namespace {

/// The tree that an object is. A chain, which is one to C++, is a list of files that has no baskets of its own.
TTree *treeOf(TObject &o) {
  return o.InheritsFrom(TChain::Class()) ? nullptr : dynamic_cast<TTree *>(&o);
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

/// Files of the folders of generations, with how many generations had such a one.
json named(const std::map<std::string, long long> &files) {
  json out = json::array();
  for (const auto &[name, times] : files)
    out.push_back({{"name", name}, {"times", times}});
  return out;
}

/// Says what has become of the files that the job has brought along, where processes have changed them.
void noteChanged(const std::map<std::string, long long> &files, json &notes) {
  if (files.empty()) return;
  constexpr size_t most = 5;
  std::string all;
  size_t n = 0;
  for (const auto &[name, times] : files) {
    if (n == most) {
      all += ", ...";
      break;
    }
    all += (n++ ? ", " : "") + (name.empty() ? "others" : name.substr(0, 200)) + " (in " + std::to_string(times) +
           (times == 1 ? " process)" : " processes)");
  }
  notes.push_back("not kept, what was changed in files that came along with the job: " + all +
                  ". Each process had a copy of its own, and merged, what was in the file before would count once for "
                  "each of them. Write a new file (\"RECREATE\", another name), or add what is new to fOutput, and "
                  "bring it into the file in Terminate");
}

/// Says which method of the selector was not called. method is a word of other nodes.
void noteUncalled(const std::string &method, json &notes) {
  if (method == "Process")
    notes.push_back("Process() was never called: Version() is 0, as it is where a selector has none of its own, and "
                    "for that ROOT calls ProcessCut() and ProcessFill(). Have Version() return 2");
  if (method == "SlaveBegin")
    notes.push_back("SlaveBegin() and SlaveTerminate() were never called: Version() is 0, for which processes call "
                    "Begin() and Terminate(), as PROOF's workers did. Have Version() return 2");
}

/// Adds to the output of a PROOF session what its Terminate, in the user's process, has to know besides.
void addForSession(TList &output, const std::map<std::string, std::string> &members, long long units,
                   long long status, const std::set<std::string> &apart) {
  auto *bound = new TList;
  bound->SetName("PROOF_SessionMembers");
  for (const auto &[member, object] : members)
    bound->Add(new TNamed(member.c_str(), object.c_str()));
  output.Add(bound);
  auto *info = new TList;
  info->SetName("PROOF_SessionInfo");
  info->Add(new TParameter<Long64_t>("entries", units));
  info->Add(new TParameter<Long64_t>("status", status));
  for (const std::string &name : apart)
    info->Add(new TNamed("apart", name.c_str()));
  output.Add(info);
}

/// Says which histograms may have other bins than a process alone would have given them.
void tellOwnLimits(const std::vector<std::string> &names) {
  if (names.empty()) return;
  constexpr size_t most = 20;
  std::string all;
  for (size_t i = 0; i < names.size() && i < most; ++i)
    all += (i ? ", " : "") + names[i];
  if (names.size() > most) all += ", ...";
  std::printf("Not from the job's first entries, as one process would, but from the first that each process had, are "
              "the limits of: %s. Their bins depend on who ran what; give these histograms limits of their own if they "
              "must not.\n",
              all.c_str());
  std::fflush(stdout);
}

/// Says what Terminate finds of objects that nobody can merge.
void tellApart(const std::set<std::string> &names) {
  if (names.empty()) return;
  constexpr size_t most = 20;
  std::string all;
  size_t n = 0;
  for (const std::string &name : names) {
    if (n++ == most) {
      all += ", ...";
      break;
    }
    all += (n > 1 ? ", " : "") + clipped(name);
  }
  std::printf("Not merged are: %s. Terminate finds one of each by its name, which counts a part of the job, and all of "
              "them in a loop over fOutput.\n",
              all.c_str());
  std::fflush(stdout);
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
    enterProofClient(*input->list(), nullptr);
    selector_->SetInputList(input->list());
    selector_->SetOption(request.value("option", "").c_str());
    selector_->Begin(nullptr);
  });
  where_.emplace(); // a file that Begin has opened is where Terminate writes
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
  const std::vector<std::string> partials = request.at("partials");
  const std::string beside = path.empty() && !partials.empty() ? partials[0] : path;
  Results results(path, beside, guard_);
  std::unique_ptr<MergeTree> tree;
  std::unique_ptr<Merger> merger;
  TList &output = *selector_->GetOutputList();
  // What Begin has put there, as selectors of version 0 do, gives way to what the workers have filled.
  std::set<TObject *> begun;
  std::unordered_map<std::string, TObject *> byName; // what a list finds by a name, which it would look through for it
  for (TObject *o : output) {
    begun.insert(o);
    byName.emplace(o->GetName(), o);
  }
  Hints hints = Hints::of(request);
  const bool refusesOdd = hints.strict;
  hints.strict = false; // that all histograms have other limits is the code's doing
  guard_.run(Phase::Merge, [&] {
    tree = std::make_unique<MergeTree>(partials, beside, guard_, hints);
    merger = std::make_unique<Merger>(tree->paths(), guard_, hints);
    Merger::Group group;
    while (merger->next(group)) {
      if (isOurs(group.name)) continue;
      if (!group.files.records.empty()) results.take(*merger, group.files, output, apart_);
      if (!group.files.records.empty() && Merger::hasTrees(group.files))
        byName.emplace(group.name, output.FindObject(group.name.c_str()));
      for (size_t i = 0; i < group.objects.size(); ++i) {
        TObject *o = group.objects[i].release();
        TObject *&same = byName[o->GetName()];
        if (same && begun.erase(same) > 0 && same->IsA() == o->IsA()) {
          output.Remove(same); // it stays alive: members may point to it
          same = nullptr;
        }
        if (same) {
          apart_.push_back(o);
        } else {
          same = terminate && !session_ ? Results::keepInMemory(o) : o;
          output.Add(same);
        }
      }
    }
    const auto behind = std::stable_partition(apart_.begin(), apart_.end(), [&](const TObject *o) {
      return !merger->refused().has(o->GetName());
    });
    before_.assign(behind, apart_.end());
    apart_.erase(behind, apart_.end());
    if (const auto &odd = LimitsFinder::install().odd(); refusesOdd && !odd.empty()) {
      Failure f("internal", *odd.begin() + " has not the limits in all outputs that were announced to all processes");
      f.step = "compare";
      throw f;
    }
    results.place(*merger, output,
                  {terminate, request.value("away", false), request.value("outputs", ""),
                   request.value("inputs", std::vector<std::string>{}), request.value("mark", "1")});
    const std::set<std::string> unmerged = listApart(output);
    tellOwnLimits(finishAxes(output));
    if (terminate && !session_) tellApart(unmerged);
    LimitsFinder::remove(); // what the user does next is not of a generation
    class_.bind(*selector_, output, merger->members());
    if (const auto drawn = merger->members().find(kDrawn); drawn != merger->members().end())
      selector_->SetObject(output.FindObject(drawn->second.c_str()));
    reply["units"] = merger->units();
    reply["canary"] = merger->canary();
    merger->skipped().tell(reply);
    status = merger->statusFrom(selector_->GetStatus());
    if (session_) addForSession(output, merger->members(), merger->units(), status, unmerged);
  });
  if (terminate && !session_) this->terminate(reply, request, status);
  if (path.empty()) reply["objects"] = objectsOf(*selector_->GetOutputList());
  int keys = 0;
  if (!path.empty()) guard_.run(Phase::Write, [&] { keys = results.write(*merger, outputs()); });
  reply["keys"] = keys;
  reply["apart"] = tree->apart(*merger);
  reply["files"] = results.told();
  reply["left"] = named(merger->leftFiles());
  reply["notes"] = merger->refused().notes();
  noteChanged(merger->changedFiles(), reply["notes"]);
  noteUncalled(merger->uncalled(), reply["notes"]);
  return reply;
}

// Puts what cannot be merged into the output, where Terminate finds one object of each process, as PROOF's list of
// outputs had them: for a list of ROOT's selectors a name stands for one object, so that it is gone round. Trees stay
// beside it, since they are of a file. Returns the names.
std::set<std::string> Client::listApart(TList &output) {
  std::set<std::string> names;
  std::vector<TObject *> trees;
  auto *hashed = dynamic_cast<THashList *>(&output);
  for (TObject *o : apart_) {
    if (!hashed || treeOf(*o)) {
      trees.push_back(o);
      continue;
    }
    names.insert(o->GetName());
    hashed->THashList::AddLast(o);
  }
  apart_ = trees;
  return names;
}

// Terminate finds what it would in a process that had done all. What it prints and draws is the user's.
void Client::terminate(json &reply, const json &request, long long status) {
  if (random_) random_->enter(StreamRandom::kTerminate);
  enterUserWorld();
  where_.reset(); // goes back, if the directory still exists
  if (!gDirectory) gROOT->cd();
  std::vector<std::string> failed;
  guard_.run(Phase::Terminate, [&] {
    selector_->SetInputList(input_);
    enterProofClient(*input_, selector_->GetOutputList());
    if (status != selector_->GetStatus()) selector_->SetStatus(status);
    selector_->Terminate();
    if (selector_->GetAbort() != TSelector::kContinue) {
      Failure f("abort", "the selector called Abort()" + guard_.abortReason());
      f.step = phaseName(Phase::Terminate);
      throw f;
    }
    reply["canvases"] = saveCanvases(request.value("canvases", std::vector<std::string>{}),
                                     request.value("inputs", std::vector<std::string>{}), failed);
    leaveProofClient();
  });
  reply["unsaved"] = failed;
}

std::vector<TObject *> Client::outputs() const {
  std::vector<TObject *> all = before_; // ROOT reads the last that was written of a name
  TIter next(selector_->GetOutputList());
  while (TObject *o = next())
    all.push_back(o);
  all.insert(all.end(), apart_.begin(), apart_.end());
  return all;
}

} // namespace dtpnode
